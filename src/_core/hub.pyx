"""The hub; hub.pxd has the overview."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp

from .clock cimport monotonic_seconds
from .encode cimport frame_of_publication
from .fanout cimport Fanout
from .history cimport History
from .index cimport Filter, Index, Probe
from .latest cimport Cursor, LatestTable, Values
from .outbox cimport Outbox
from .pacer cimport Pacer
from .posting cimport Posting
from .publication cimport MetricMask, Publication, publication_of
from .throttle cimport is_throttled
from .types cimport NoResult
from .wire cimport CHANNEL_COUNT, Channel, ErrorCode

from .publication import PublicationError
from secrets import token_hex as _token_hex


@cython.final
cdef class Hub(Fanout):
    """Connections, their subscriptions, and what is published to them.

    Args:
        schedule: called with a function that must run at the end of this turn of the event loop (call_soon).
        now: monotonic seconds.
        delay: called with a function that must run later, at the end of an interval in which data is gathered; None:
            data goes out with the turn.
        tick: resolution of the connections' timers, in seconds.
        names: distinct names of metrics, severities, types and statuses that subscriptions may use at a time.
        max_payload: bytes of a data message as JSON; 0: no bound.
        max_backlog: bytes that may wait for all blocked connections together; 0: no bound.
        max_latest: bytes of a channel's newest values; 0: no bound.
        history: messages of a channel that are kept for recovery; 0: none.
        history_size: bytes that they may take; 0: no bound.
        history_age: seconds that they are kept; 0: no bound.
        epoch: what tells this process's offsets from another one's; None: made up.
    """

    def __init__(self, schedule, double now, *, delay=None, double tick=0.05, Py_ssize_t names=65536,
                 Py_ssize_t max_payload=0, uint64_t max_backlog=0, Py_ssize_t max_latest=0, Py_ssize_t history=0,
                 Py_ssize_t history_size=0, double history_age=0, str epoch=None):
        Fanout.__init__(self, schedule, now, delay=delay, tick=tick, max_backlog=max_backlog)
        self.index = Index(names)
        self.pacer = Pacer(self, self.index, now)
        self.epoch = epoch if epoch is not None else _token_hex(8)
        self.latest = [None if channel == Channel.ALERTS else LatestTable(max_latest)
                       for channel in range(CHANNEL_COUNT)]
        self.histories = [History(history, max_bytes=history_size, max_age=history_age) for _ in range(CHANNEL_COUNT)]
        self._frames = []
        self._more_frames = {}
        self.max_payload = max_payload

    def __dealloc__(self):
        free(self._plans)

    cdef LatestTable table_of(self, int channel):
        """Return the newest values or states of a channel; None: it has none."""
        return <LatestTable>self.latest[channel]

    cdef History history_of(self, int channel):
        """Return the last publications of a channel."""
        return <History>self.histories[channel]

    cdef bytes frame_for(self, Publication publication, const Projection *projection, uint64_t offset):
        """Return the frame of a projection of the publication at hand, encoded at the first call."""
        cdef Py_ssize_t i, known = len(self._frames)
        cdef bytes frame
        cdef object key = None
        for i in range(known):
            if memcmp(&self._projections[i], projection, sizeof(Projection)) == 0:
                return <bytes>self._frames[i]
        if known == SEARCHED_VARIANTS:
            key = PyBytes_FromStringAndSize(<const char *>projection, sizeof(Projection))
            if key in self._more_frames:
                return <bytes>self._more_frames[key]
        frame = frame_of_publication(publication, &projection.mask, offset if projection.with_offset else 0)
        if key is None:
            self._projections[known] = projection[0]
            self._frames.append(frame)
        else:
            self._more_frames[key] = frame
        return frame

    cdef NoResult plan(self, Publication publication, Posting posting, const Probe *probe,
                       uint64_t offset) except NoResult.EXC:
        """Work out what the posting's connections get. All that can fail fails here, before anybody got anything."""
        cdef uint32_t i, terms
        cdef Projection projection
        cdef bytes frame
        cdef Filter filter
        cdef Plan *plan
        cdef Py_ssize_t capacity = self._planned + posting.count
        if capacity > self._plans_capacity:
            plan = <Plan *>realloc(self._plans, capacity * 2 * sizeof(Plan))
            if plan == NULL:
                raise MemoryError
            self._plans = plan
            self._plans_capacity = capacity * 2
        for i in range(posting.count):
            filter = <Filter>posting.groups[i].filter
            terms = self.index.matches(filter, probe, &projection.mask)
            if terms:
                plan = &self._plans[self._planned]
                plan.frame = NULL
                if not is_throttled(&filter.pace):
                    projection.with_offset = filter.recovers
                    frame = self.frame_for(publication, &projection, offset)
                    plan.frame = <PyObject *>frame
                plan.filter = <PyObject *>filter
                plan.slots = &posting.groups[i].slots
                plan.terms = terms
                self._planned += 1
        return NoResult.OK

    cdef NoResult forget(self, Values values, const MetricMask *metrics, double now) except NoResult.EXC:
        """Serve everybody who is owed something of a device that is about to be forgotten: of these metrics, or all."""
        cdef Cursor cursor
        if metrics == NULL:
            self.pacer.let_go(values, now)
        else:
            self.pacer.hurry(values, metrics, now)
        for cursor in list(self.table_of(values.channel).cursors):
            (<Outbox>cursor.owner).on_forgotten(values, metrics)
        return NoResult.OK

    cdef Values store(self, Publication publication, uint64_t offset, double now):
        """Note a publication's values, if its channel has newest ones, and keep the bound on them."""
        cdef LatestTable table = self.table_of(publication.channel)
        cdef Values values, oldest
        cdef MetricMask displaced
        if table is None:
            return None
        if publication.count == 0:
            values = table.store_event(publication, offset, now)
        else:
            values = table.find(publication.device)
            if values is not None and values.displaced_by(publication, &displaced):
                self.forget(values, &displaced, now)
            values = table.store(publication, offset, now)
        oldest = table.excess(values)
        while oldest is not None:
            self.forget(oldest, NULL, now)
            table.remove(oldest)
            oldest = table.excess(values)
        return values

    cdef uint64_t publish_publication(self, Publication publication, double now) except? 0xFFFFFFFFFFFFFFFF:
        """Queue a publication for everybody who is subscribed to it; return how many subscriptions matched."""
        cdef Probe probe
        cdef uint64_t matched = 0
        cdef bint shadowed = False, mark, skip
        cdef Py_ssize_t i, at_device
        cdef Posting posting = None
        cdef int channel = publication.channel
        cdef History history = self.history_of(channel)
        cdef uint64_t offset = history.last + 1
        cdef Py_ssize_t size
        cdef Values values
        cdef Plan *plan
        # Its tables are in use: what a value's own Python code or `schedule` calls must not change them.
        if self._publishing:
            raise RuntimeError("publish() within publish()")
        self._publishing = True
        try:
            size = publication.finish()
            if self.max_payload and size > self.max_payload:
                raise PublicationError(ErrorCode.MESSAGE_TOO_LARGE,
                                       f"a data message has at most {self.max_payload} bytes")
            self.index.prepare(publication, &probe)
            self.publication += 1
            self._planned = 0
            if publication.device is not None:
                posting = self.index.find(channel, publication.device)
            if posting is not None:
                shadowed = posting.shadowed > 0
                self.plan(publication, posting, &probe, offset)
            at_device = self._planned
            self.plan(publication, self.index.find_all(channel), &probe, offset)
            values = self.store(publication, offset, now)
            history.append(publication, size, now)
            for i in range(self._planned):
                plan = &self._plans[i]
                mark = shadowed and i < at_device
                skip = shadowed and i >= at_device
                if plan.frame != NULL:
                    matched += plan.terms * self.deliver(plan.frame, plan.slots, channel, mark, skip)
                    continue
                if mark:
                    self.mark(plan.slots)
                matched += plan.terms * self.pacer.offer(<Filter>plan.filter, plan.slots, values, i >= at_device,
                                                         skip, now)
        finally:
            self._publishing = False
            self._frames.clear()
            self._more_frames.clear()
        self.counters[channel].publications += 1
        self.counters[channel].matched += matched
        return matched

    def publish(self, message, now=None):
        """Queue a data message for everybody who is subscribed to it.

        Args:
            message: a data message (protocol.md, section 3); what is missing and can be known is filled in.
            now: monotonic seconds; None: the clock's.

        Returns:
            How many subscriptions matched.

        Raises:
            PublicationError: the message is none, or too large; it has the wire's code, and nobody got anything.
        """
        return self.publish_publication(publication_of(message), monotonic_seconds() if now is None else now)

    @property
    def tick(self):
        """Seconds until advance() should be called again."""
        return self.pacer.wheel.tick if self.pacer.wheel.armed else self.wheel.tick

    def advance(self, double now):
        """Let the timers fire that are due at `now` (monotonic seconds)."""
        cdef int64_t slot
        self.pacer.advance(now)
        if self.turn.backlog > self.max_backlog:
            self.relieve()
        slot = self.wheel.pop_due(now)
        while slot >= 0:
            outbox = self._outboxes[slot]
            if outbox is not None:
                try:
                    (<Outbox>outbox).on_timer(now)
                except Exception as error:      # the others are not to suffer from it
                    (<Outbox>outbox).on_broken(error)
            slot = self.wheel.pop_due(now)
