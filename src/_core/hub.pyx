"""The hub; hub.pxd has the overview."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memset

from .bitset cimport SlotCursor, slotset_next, slotset_start
from .encode cimport frame_of_publication, payload_size
from .index cimport Filter, Index, Posting, Probe
from .outbox cimport Outbox, Turn
from .publication cimport MetricMask, Publication, publication_of
from .queue cimport OutQueue, queue_push
from .types cimport NoResult, slot_t, vfast_invariant, vfast_prefetch
from .wheel cimport TimerWheel
from .wire cimport ErrorCode

from .publication import PublicationError
from .wire import CHANNEL_NAMES as _CHANNEL_NAMES


@cython.final
cdef class Hub:
    """Connections, their subscriptions, and what is published to them.

    Args:
        schedule: called with a function that must run at the end of this turn of the event loop (call_soon).
        now: monotonic seconds.
        delay: called with a function that must run later, at the end of an interval in which data is gathered; None:
            data goes out with the turn.
        tick: resolution of the connections' timers, in seconds.
        names: distinct names of metrics, severities, types and statuses that subscriptions may use at a time.
        max_payload: bytes of an encoded publication; 0: no bound.
    """

    def __init__(self, schedule, double now, *, delay=None, double tick=0.05, Py_ssize_t names=65536,
                 Py_ssize_t max_payload=0):
        self.index = Index(names)
        self.wheel = TimerWheel(tick, now)
        self.turn = Turn(schedule, delay)
        self._outboxes = []
        self._free = []
        self._frames = []
        self._more_frames = {}
        self.max_payload = max_payload

    def __dealloc__(self):
        free(self._plans)
        free(self._queues)
        free(self._marks)

    cdef NoResult reserve(self, Py_ssize_t capacity) except NoResult.EXC:
        cdef void *memory
        capacity = max(capacity, self._capacity * 2, 64)
        memory = realloc(self._queues, capacity * sizeof(OutQueue *))
        if memory == NULL:
            raise MemoryError
        self._queues = <OutQueue **>memory
        memory = realloc(self._marks, capacity * sizeof(uint64_t))
        if memory == NULL:
            raise MemoryError
        self._marks = <uint64_t *>memory
        memset(self._marks + self._capacity, 0, (capacity - self._capacity) * sizeof(uint64_t))
        self._capacity = capacity
        return NoResult.OK

    cdef slot_t attach(self, Outbox outbox) except? 0xFFFFFFFF:
        """Give a connection its slot: one that is free again, else a new one."""
        cdef slot_t slot
        if self._free:
            slot = self._free.pop()
            self._outboxes[slot] = outbox
        else:
            slot = <slot_t>len(self._outboxes)
            if slot >= self._capacity:
                self.reserve(<Py_ssize_t>slot + 1)
            self._outboxes.append(outbox)
        vfast_invariant(outbox.queue.head == outbox.queue.tail)
        self._queues[slot] = &outbox.queue
        outbox.turn = self.turn
        self.attached += 1
        return slot

    cdef NoResult detach(self, slot_t slot) except NoResult.EXC:
        """Take a connection's slot back; its subscriptions must be gone."""
        vfast_invariant(self._queues[slot] != NULL)
        vfast_invariant(self._queues[slot].shut)
        vfast_invariant(self._queues[slot].head == self._queues[slot].tail)
        self.wheel.clear_timer(slot)
        self._queues[slot] = NULL
        self._outboxes[slot] = None
        self._free.append(slot)
        return NoResult.OK

    cdef bytes frame_for(self, Publication publication, const MetricMask *mask):
        """Return the frame of a projection of the publication at hand, encoded at the first call."""
        cdef Py_ssize_t i, known = len(self._frames)
        cdef bytes frame
        cdef object key = None
        for i in range(known):
            if memcmp(&self._masks[i], mask, sizeof(MetricMask)) == 0:
                return <bytes>self._frames[i]
        if known == SEARCHED_VARIANTS:
            key = PyBytes_FromStringAndSize(<const char *>mask, sizeof(MetricMask))
            if key in self._more_frames:
                return <bytes>self._more_frames[key]
        frame = frame_of_publication(publication, mask)
        if self.max_payload and payload_size(frame) > self.max_payload:
            raise PublicationError(ErrorCode.MESSAGE_TOO_LARGE, f"a data message has at most {self.max_payload} bytes")
        if key is None:
            self._masks[known] = mask[0]
            self._frames.append(frame)
        else:
            self._more_frames[key] = frame
        return frame

    cdef NoResult plan(self, Publication publication, Posting posting, const Probe *probe) except NoResult.EXC:
        """Work out what the posting's connections get. All that can fail fails here, before anybody got anything."""
        cdef uint32_t i, terms
        cdef MetricMask mask
        cdef bytes frame
        cdef Plan *plan
        cdef Py_ssize_t capacity = self._planned + posting.count
        if capacity > self._plans_capacity:
            plan = <Plan *>realloc(self._plans, capacity * 2 * sizeof(Plan))
            if plan == NULL:
                raise MemoryError
            self._plans = plan
            self._plans_capacity = capacity * 2
        for i in range(posting.count):
            terms = self.index.matches(<Filter>posting.groups[i].filter, probe, &mask)
            if terms:
                plan = &self._plans[self._planned]
                frame = self.frame_for(publication, &mask)
                plan.frame = <PyObject *>frame
                plan.slots = &posting.groups[i].slots
                plan.terms = terms
                self._planned += 1
        return NoResult.OK

    cdef uint64_t deliver(self, const Plan *plan, int channel, bint mark, bint skip) except? 0xFFFFFFFFFFFFFFFF:
        """Queue a plan's frame for its connections; return how many subscriptions matched.

        mark: note who got it; skip: leave out who is noted.
        """
        cdef uint64_t reached = 0, queued = 0
        cdef Py_ssize_t size = PyBytes_GET_SIZE(<object>plan.frame)
        cdef SlotCursor cursor
        cdef slot_t slot = 0
        cdef OutQueue *queue
        cdef OutQueue *run[RUN]
        cdef int i, count = 1
        slotset_start(plan.slots, &cursor)
        while count:
            # The queues of a run of slots are fetched from memory side by side, not one after the other.
            count = 0
            while count < RUN and slotset_next(plan.slots, &cursor, &slot):
                if mark:
                    self._marks[slot] = self._publication
                elif skip and self._marks[slot] == self._publication:
                    continue
                vfast_invariant(slot < <size_t>self._capacity)
                vfast_invariant(self._queues[slot] != NULL)
                run[count] = self._queues[slot]
                vfast_prefetch(run[count])
                count += 1
            for i in range(count):
                vfast_prefetch(run[i].entries + run[i].tail)
            reached += count
            for i in range(count):
                queue = run[i]
                if queue.shut or queue.overflowed:
                    continue
                queued += 1
                queue.messages_out += 1
                queue_push(queue, plan.frame, size, 0)
                if queue.limit and queue.bytes > queue.limit:
                    # Much in one turn is no sign of a slow reader: the kernel is asked first.
                    if not queue.blocked:
                        (<Outbox>queue.owner).flush()
                    if queue.bytes <= queue.limit:
                        continue
                    queue.overflowed = True
                elif queue.blocked:
                    continue
                self.turn.add_data(queue)
        self.counters[channel].deliveries += queued
        self.counters[channel].bytes += queued * size
        return reached * plan.terms

    cdef uint64_t publish_publication(self, Publication publication) except? 0xFFFFFFFFFFFFFFFF:
        """Queue a publication for everybody who is subscribed to it; return how many subscriptions matched."""
        cdef Probe probe
        cdef uint64_t matched = 0
        cdef bint shadowed = False
        cdef Py_ssize_t i, at_device
        cdef Posting posting = None
        cdef int channel = publication.channel
        # Its tables are in use: what a value's own Python code or `schedule` calls must not change them.
        if self._publishing:
            raise RuntimeError("publish() within publish()")
        self._publishing = True
        try:
            self.index.prepare(publication, &probe)
            self._publication += 1
            self._planned = 0
            if publication.device is not None:
                posting = self.index.find(channel, publication.device)
            if posting is not None:
                shadowed = posting.shadowed > 0
                self.plan(publication, posting, &probe)
            at_device = self._planned
            self.plan(publication, self.index.find_all(channel), &probe)
            for i in range(self._planned):
                matched += self.deliver(&self._plans[i], channel, shadowed and i < at_device, shadowed)
        finally:
            self._publishing = False
            self._frames.clear()
            self._more_frames.clear()
        self.counters[channel].publications += 1
        self.counters[channel].matched += matched
        return matched

    def publish(self, message):
        """Queue a data message for everybody who is subscribed to it.

        Args:
            message: a data message (protocol.md, section 3); what is missing and can be known is filled in.

        Returns:
            How many subscriptions matched.

        Raises:
            PublicationError: the message is none, or too large; it has the wire's code, and nobody got anything.
        """
        return self.publish_publication(publication_of(message))

    def advance(self, double now):
        """Let the timers fire that are due at `now` (monotonic seconds)."""
        cdef int64_t slot = self.wheel.pop_due(now)
        while slot >= 0:
            outbox = self._outboxes[slot]
            if outbox is not None:
                try:
                    (<Outbox>outbox).on_timer(now)
                except Exception as error:      # the others are not to suffer from it
                    (<Outbox>outbox).on_broken(error)
            slot = self.wheel.pop_due(now)

    def connections(self):
        """Return the connections that are attached."""
        return [outbox for outbox in self._outboxes if outbox is not None]

    def stats(self):
        """Return the hub's counters by channel."""
        return {
            name: {
                "publications": self.counters[channel].publications,
                "matched": self.counters[channel].matched,
                "deliveries": self.counters[channel].deliveries,
                "bytes": self.counters[channel].bytes,
                "received": self.counters[channel].received,
            }
            for channel, name in _CHANNEL_NAMES.items()
        }
