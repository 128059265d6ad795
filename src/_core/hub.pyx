"""The hub; hub.pxd has the overview."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memset

from .buffer cimport ByteBuffer, buffer_free
from .clock cimport monotonic_seconds
from .encode cimport frame_of_publication
from .fanout cimport Fanout
from .history cimport History
from .inbox cimport Budget
from .index cimport Filter, Index, Probe
from .lanes cimport PARTITIONS, Lanes, partition_of
from .latest cimport Cursor, LatestTable, Values
from .outbox cimport Outbox
from .packet cimport LatestDump, PacketReader, packet_read, packet_write
from .pacer cimport Pacer
from .posting cimport Group, Posting, posting_groups
from .publication cimport MetricMask, Publication, publication_of
from .throttle cimport is_throttled
from .types cimport NoResult, vfast_guard
from .wire cimport CHANNEL_COUNT, Channel, ErrorCode

from .packet import PacketError as _PacketError
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
        shared: what is published comes from a log that is shared with other nodes.
        budget: seconds that input may take in one turn of the event loop; 0: no bound.
    """

    def __init__(self, schedule, double now, *, delay=None, double tick=0.05, Py_ssize_t names=65536,
                 Py_ssize_t max_payload=0, uint64_t max_backlog=0, Py_ssize_t max_latest=0, Py_ssize_t history=0,
                 Py_ssize_t history_size=0, double history_age=0, str epoch=None, bint shared=False,
                 double budget=0):
        Fanout.__init__(self, schedule, now, delay=delay, tick=tick, max_backlog=max_backlog)
        self.index = Index(names)
        if shared:
            self.lanes = self.index.lanes = Lanes()
        self.pacer = Pacer(self, self.index, now)
        self.budget = Budget(self.turn, budget)
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

    cdef NoResult plan(self, Publication publication, Posting *posting, const Probe *probe,
                       uint64_t offset) except NoResult.EXC:
        """Work out what the posting's connections get. All that can fail fails here, before anybody got anything."""
        cdef uint32_t i, terms
        cdef Projection projection
        cdef bytes frame
        cdef Filter filter
        cdef Plan *plan
        cdef Group *groups = posting_groups(posting)
        cdef Py_ssize_t capacity = self._planned + posting.count
        if capacity > self._plans_capacity:
            plan = <Plan *>realloc(self._plans, capacity * 2 * sizeof(Plan))
            if plan == NULL:
                raise MemoryError
            self._plans = plan
            self._plans_capacity = capacity * 2
        for i in range(posting.count):
            filter = <Filter>groups[i].filter
            terms = self.index.matches(filter, probe, &projection.mask)
            if terms:
                plan = &self._plans[self._planned]
                plan.frame = NULL
                if not is_throttled(&filter.pace):
                    projection.with_offset = filter.recovers
                    frame = self.frame_for(publication, &projection, offset)
                    plan.frame = <PyObject *>frame
                plan.filter = <PyObject *>filter
                plan.slots = &groups[i].slots
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

    cdef Py_ssize_t measure(self, Publication publication) except -1:
        """Serialise all of a publication; return the bytes of the message as JSON. PublicationError: too many."""
        cdef Py_ssize_t size = publication.finish()
        if self.max_payload and size > self.max_payload:
            raise PublicationError(ErrorCode.MESSAGE_TOO_LARGE, f"a data message has at most {self.max_payload} bytes")
        return size

    cdef Values store(self, Publication publication, double now):
        """Take a publication in: note its values, if its channel has newest ones, and keep the bound on them."""
        cdef LatestTable table = self.table_of(publication.channel)
        cdef uint64_t number = self.taken[publication.channel] + 1
        cdef Values values, oldest
        cdef MetricMask displaced
        if table is None:
            return None
        if publication.count == 0:
            values = table.store_event(publication, number, now)
        else:
            values = table.find(publication.device)
            if values is not None and values.displaced_by(publication, &displaced):
                self.forget(values, &displaced, now)
            values = table.store(publication, number, now)
        oldest = table.excess(values)
        while oldest is not None:
            self.forget(oldest, NULL, now)
            table.remove(oldest)
            oldest = table.excess(values)
        return values

    cdef uint64_t publish_publication(self, Publication publication, uint64_t offset,
                                      double now) except? 0xFFFFFFFFFFFFFFFF:
        """Queue a publication for everybody who is subscribed to it; return how many subscriptions matched."""
        cdef Probe probe
        cdef uint64_t matched = 0
        cdef bint shadowed = False, mark, skip
        cdef Py_ssize_t i, at_device
        cdef Posting *posting = NULL
        cdef int channel = publication.channel
        cdef Py_ssize_t size
        cdef Values values
        cdef Plan *plan
        # Its tables are in use: what a value's own Python code or `schedule` calls must not change them.
        if self._publishing:
            raise RuntimeError("publish() within publish()")
        self._publishing = True
        try:
            # What has come from the log was measured by the node that published it.
            size = self.measure(publication) if self.lanes is None else publication.finish()
            self.index.prepare(publication, &probe)
            self.publication += 1
            self.published_at = now
            self._planned = 0
            if publication.device is not None:
                posting = self.index.find(channel, publication.device)
            if posting != NULL:
                shadowed = posting.shadowed > 0
                self.plan(publication, posting, &probe, offset)
            at_device = self._planned
            self.plan(publication, self.index.find_all(channel), &probe, offset)
            values = self.store(publication, now)
            self.taken[channel] += 1
            if offset:
                self.history_of(channel).append(publication, offset, size, now)
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
            self.published_at = 0
            self._frames.clear()
            self._more_frames.clear()
        self.counters[channel].publications += 1
        self.counters[channel].matched += matched
        return matched

    def publish(self, message, now=None):
        """Queue a data message for everybody who is subscribed to it on this node, whatever the others do.

        Args:
            message: a data message (protocol.md, section 3); what is missing and can be known is filled in.
            now: monotonic seconds; None: the clock's.

        Returns:
            How many subscriptions matched.

        Raises:
            PublicationError: the message is none, or too large; it has the wire's code, and nobody got anything.
        """
        cdef Publication publication = publication_of(message)
        cdef uint64_t offset = 0
        if self.lanes is None:
            offset = self.history_of(publication.channel).last + 1
        else:
            self.measure(publication)
        return self.publish_publication(publication, offset, monotonic_seconds() if now is None else now)

    # With a log that several nodes share.

    def pack(self, message):
        """Return the lane of a data message, and it as a packet for the log (packet.pxd).

        Raises:
            PublicationError: the message is none, or too large; it has the wire's code.
        """
        cdef Publication publication = publication_of(message)
        cdef ByteBuffer out
        self.measure(publication)
        memset(&out, 0, sizeof(out))
        try:
            packet_write(&out, publication)
            return (publication.channel * PARTITIONS + partition_of(publication.device),
                    PyBytes_FromStringAndSize(out.data, out.size))
        finally:
            buffer_free(&out)

    def receive(self, bytes packets not None, uint64_t offset, now=None, *, bint delivered=False):
        """Queue what has come from the log for everybody who is subscribed to it.

        Args:
            packets: of one lane.
            offset: of the first one; the others' follow. 0: they have none, for the log is away; until `rejoin_log`
                nobody can recover in their partitions, since they would be missing.
            now: monotonic seconds; None: the clock's.
            delivered: it was queued before, without an offset, and is only kept for recovery.

        Returns:
            How many subscriptions matched.

        Raises:
            PacketError: something in it is no packet; what stands before it has been delivered.
        """
        cdef double time = monotonic_seconds() if now is None else now
        cdef PacketReader reader
        cdef Publication publication
        cdef History history
        cdef uint64_t matched = 0
        reader.data = PyBytes_AS_STRING(packets)
        reader.size = PyBytes_GET_SIZE(packets)
        while reader.size:
            publication = packet_read(&reader)
            history = self.history_of(publication.channel)
            if offset and offset <= history.last:
                raise _PacketError("a packet is older than what has come")
            if delivered:
                history.append(publication, offset, publication.finish(), time)
            else:
                matched += self.publish_publication(publication, offset, time)
            if offset:
                offset += 1
            else:
                history.apart |= (<uint64_t>1) << partition_of(publication.device)
        return matched

    @property
    def log_position(self):
        """The offset up to which everything has come from the log, as far as it is followed."""
        return max([history.last for history in self.histories])

    def begin_log(self, str epoch not None, uint64_t offset):
        """Begin with another log, or with one that has lost what it had: offsets up to now mean nothing any more."""
        cdef int channel
        self.epoch = epoch
        for channel in range(CHANNEL_COUNT):
            self.history_of(channel).begin(offset)

    def rejoin_log(self):
        """Note that everything has come from the log that was delivered without an offset before."""
        cdef int channel
        for channel in range(CHANNEL_COUNT):
            self.history_of(channel).apart = 0

    def advance_log(self, uint64_t offset):
        """Note that everything up to an offset has come from the log, as far as it is followed."""
        cdef int channel
        for channel in range(CHANNEL_COUNT):
            self.history_of(channel).advance(offset)

    def absorb(self, list entries not None, *, bint newest, now=None):
        """Take in what came before, without delivering it to anybody.

        Args:
            entries: (packets, offset of their first one), of one lane, in order.
            newest: they are newest values (dump) and no history.
            now: monotonic seconds; None: the clock's.

        Raises:
            PacketError: something in it is no packet; nothing of the history was taken.
        """
        cdef double time = monotonic_seconds() if now is None else now
        cdef PacketReader reader
        cdef Publication publication = None
        cdef list publications = [], offsets = []
        cdef bytes packets
        cdef uint64_t offset
        for packets, offset in entries:
            reader.data = PyBytes_AS_STRING(packets)
            reader.size = PyBytes_GET_SIZE(packets)
            while reader.size:
                publication = packet_read(&reader)
                publication.finish()
                if newest:
                    self.store(publication, time)
                    self.taken[publication.channel] += 1
                publications.append(publication)
                offsets.append(offset)
                offset += 1
        if publications and not newest:
            self.history_of(publication.channel).merge(publications, offsets, time)

    def dump(self, lanes):
        """Return a LatestDump of these lanes, for a node that begins to follow them."""
        return LatestDump(self.latest, lanes)

    def resync(self, lanes):
        """Tell the clients that something of these lanes was missed, and send them the newest values again."""
        cdef uint64_t partitions[CHANNEL_COUNT]
        cdef int channel
        memset(partitions, 0, sizeof(partitions))
        for lane in lanes:
            partitions[<int>lane // PARTITIONS] |= (<uint64_t>1) << (<int>lane % PARTITIONS)
        for outbox in list(self._outboxes):
            for channel in range(CHANNEL_COUNT):
                if outbox is not None and partitions[channel]:
                    (<Outbox>outbox).on_missed(channel, partitions[channel])

    @property
    def tick(self):
        """Seconds until advance() should be called again."""
        return self.pacer.wheel.tick if self.pacer.wheel.armed else self.wheel.tick

    def advance(self, double now):
        """Let the timers fire that are due at `now` (monotonic seconds)."""
        cdef int64_t slot
        self.pacer.advance(now)
        if vfast_guard(b"queue.all-later", self.turn.backlog > self.max_backlog):
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
