"""Connections by slot; fanout.pxd has the overview."""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from .bitset cimport SlotCursor, SlotSet, slotset_next, slotset_start
from .outbox cimport Outbox, Turn
from .queue cimport MAX_BYTES, OutQueue, queue_push
from .types cimport NoResult, slot_t, vfast_guard, vfast_invariant, vfast_prefetch
from .wheel cimport TimerWheel

from .wire import CHANNEL_NAMES as _CHANNEL_NAMES, COMMANDS as _COMMANDS, ERROR_NAMES as _ERROR_NAMES


cdef class Fanout:
    """Connections and their queues.

    Args:
        schedule: called with a function that must run at the end of this turn of the event loop (call_soon).
        now: monotonic seconds.
        delay: called with a function that must run later, at the end of an interval in which data is gathered; None:
            data goes out with the turn.
        tick: resolution of the connections' timers, in seconds.
        max_backlog: bytes that may wait for all blocked connections together; beyond it the one with most is closed
            (protocol.md, section 6); 0: no bound.
    """

    def __init__(self, schedule, double now, *, delay=None, double tick=0.05, uint64_t max_backlog=0):
        self.wheel = TimerWheel(tick, now)
        self.turn = Turn(schedule, delay)
        self._outboxes = []
        self._free = []
        self.max_backlog = max_backlog if max_backlog else MAX_BYTES

    def __dealloc__(self):
        free(self._queues)
        free(self.marks)

    cdef NoResult reserve(self, Py_ssize_t capacity) except NoResult.EXC:
        cdef void *memory
        capacity = max(capacity, self._capacity * 2, 64)
        memory = realloc(self._queues, capacity * sizeof(OutQueue *))
        if memory == NULL:
            raise MemoryError
        self._queues = <OutQueue **>memory
        memory = realloc(self.marks, capacity * sizeof(uint64_t))
        if memory == NULL:
            raise MemoryError
        self.marks = <uint64_t *>memory
        memset(self.marks + self._capacity, 0, (capacity - self._capacity) * sizeof(uint64_t))
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

    cdef void mark(self, const SlotSet *slots) noexcept:
        """Note the slots of a set, without a delivery."""
        cdef SlotCursor cursor
        cdef slot_t slot = 0
        slotset_start(slots, &cursor)
        while slotset_next(slots, &cursor, &slot):
            self.marks[slot] = self.publication

    cdef uint64_t count(self, const SlotSet *slots, bint skip) noexcept:
        """Return how many connections a set has; skip: without those that are noted."""
        cdef SlotCursor cursor
        cdef slot_t slot = 0
        cdef uint64_t count = 0
        if not skip:
            return slots.count
        slotset_start(slots, &cursor)
        while slotset_next(slots, &cursor, &slot):
            count += self.marks[slot] != self.publication
        return count

    cdef uint64_t deliver(self, PyObject *frame, const SlotSet *slots, int channel,
                          bint mark, bint skip) except? 0xFFFFFFFFFFFFFFFF:
        """Queue a frame for the connections of a set; return how many they are.

        mark: note who got it; skip: leave out who is noted.
        """
        cdef uint64_t reached = 0, queued = 0, kept_back = 0
        cdef uint8_t bit = <uint8_t>(1 << channel)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(<object>frame)
        cdef SlotCursor cursor
        cdef slot_t slot = 0
        cdef OutQueue *queue
        cdef OutQueue *run[RUN]
        cdef int i, count = 1
        if self.sampler is not None:
            self.sample(frame, slots, channel, skip)
        slotset_start(slots, &cursor)
        while count:
            # The queues of a run of slots are fetched from memory side by side, not one after the other.
            count = 0
            while count < RUN and slotset_next(slots, &cursor, &slot):
                if mark:
                    self.marks[slot] = self.publication
                elif skip and self.marks[slot] == self.publication:
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
                if vfast_guard(b"queue.shut", queue.shut or queue.overflowed):
                    continue
                if queue.withheld & bit:
                    queue.kept_back += 1
                    kept_back += 1
                    continue
                queued += 1
                queue.messages_out += 1
                queue_push(queue, frame, size, 0)
                if queue.bytes > queue.mark:
                    # Much in one turn is no sign of a slow reader: the kernel is asked first.
                    if not queue.blocked:
                        (<Outbox>queue.owner).flush()
                    if vfast_guard(b"queue.limit", queue.bytes > queue.limit):
                        queue.overflowed = True
                        (<Outbox>queue.owner).mark()
                    elif vfast_guard(b"queue.mark", queue.bytes > queue.mark):
                        (<Outbox>queue.owner).on_behind()
                if queue.blocked:
                    (<Outbox>queue.owner).recount()
                    if vfast_guard(b"queue.all", self.turn.backlog > self.max_backlog):
                        self.relieve()
                    continue
                self.turn.add_data(queue)
        self.counters[channel].deliveries += queued
        self.counters[channel].bytes += queued * size
        self.counters[channel].kept_back += kept_back
        if queued and self.published_at:
            self.turn.time_data(self.published_at)
        return reached

    cdef NoResult sample(self, PyObject *frame, const SlotSet *slots, int channel, bint skip) except NoResult.EXC:
        """Have some of the connections that are about to get a frame told to the sampler; skip: as for deliver."""
        cdef uint8_t bit = <uint8_t>(1 << channel)
        cdef SlotCursor cursor
        cdef slot_t slot = 0
        cdef OutQueue *queue
        slotset_start(slots, &cursor)
        while slotset_next(slots, &cursor, &slot):
            queue = self._queues[slot]
            if skip and self.marks[slot] == self.publication:
                continue
            if not (queue.shut or queue.overflowed or queue.withheld & bit):
                self.sampler.sent(<object>queue.owner, channel, PyBytes_GET_SIZE(<object>frame))
        return NoResult.OK

    cdef NoResult relieve(self) except NoResult.EXC:
        """Close the connections that most waits for, until all together are within the bound."""
        cdef bint found
        while self.turn.backlog > self.max_backlog:
            found = self.shed()
            vfast_invariant(found)
            if not found:
                break
        return NoResult.OK

    def shed(self):
        """Close the connection that most waits for (CLOSE_SLOW_CONSUMER); say whether there was one."""
        cdef Outbox outbox, largest = None
        for outbox in self._outboxes:
            if outbox is not None and outbox.counted and (largest is None or outbox.counted > largest.counted):
                largest = outbox
        if largest is None:
            return False
        self.sacrificed += 1
        largest.sacrifice()
        return True

    def connections(self):
        """Return the connections that are attached."""
        return [outbox for outbox in self._outboxes if outbox is not None]

    def commands_and_errors(self):
        """Return how many commands have come by name, and how many errors were answered."""
        return ({name: self.commands[number] for name, number in _COMMANDS.items()},
                {name: self.errors[number] for number, name in _ERROR_NAMES.items()})

    def stats(self):
        """Return the hub's counters by channel."""
        return {
            name: {
                "publications": self.counters[channel].publications,
                "matched": self.counters[channel].matched,
                "deliveries": self.counters[channel].deliveries,
                "conflated": self.counters[channel].kept_back - self.counters[channel].caught_up,
                "kept_back": self.counters[channel].kept_back,
                "caught_up": self.counters[channel].caught_up,
                "bytes": self.counters[channel].bytes,
                "received": self.counters[channel].received,
            }
            for channel, name in _CHANNEL_NAMES.items()
        }
