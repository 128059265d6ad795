"""A timer wheel; wheel.pxd has the drawing."""

cimport cython
from libc.math cimport ceil
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, realloc

from .types cimport NoResult, slot_t, vfast_invariant


cdef double MAX_TICKS = 9e18         # fits an int64; nothing lives so long


@cython.final
cdef class TimerWheel:
    """One timer for each slot.

    Args:
        tick: the wheel's resolution, in seconds.
        now: monotonic seconds.
    """

    def __cinit__(self, double tick, double now):
        cdef Py_ssize_t spoke
        if not tick > 0:
            raise ValueError("a tick is longer than nothing")
        self.tick = tick
        self._now = <int64_t>(now / tick)
        for spoke in range(SPOKES):
            self._spokes[spoke] = -1

    def __dealloc__(self):
        free(self._due)
        free(self._next)
        free(self._previous)

    cdef NoResult reserve(self, Py_ssize_t capacity) except NoResult.EXC:
        cdef Py_ssize_t old = self._capacity
        cdef void *memory
        capacity = max(capacity, old * 2, 64)
        memory = realloc(self._due, capacity * sizeof(int64_t))
        if memory == NULL:
            raise MemoryError
        self._due = <int64_t *>memory
        memory = realloc(self._next, capacity * sizeof(int32_t))
        if memory == NULL:
            raise MemoryError
        self._next = <int32_t *>memory
        memory = realloc(self._previous, capacity * sizeof(int32_t))
        if memory == NULL:
            raise MemoryError
        self._previous = <int32_t *>memory
        while old < capacity:
            self._due[old] = -1
            old += 1
        self._capacity = capacity
        return NoResult.OK

    cdef NoResult set_timer(self, slot_t slot, double deadline) except NoResult.EXC:
        """Arm the slot's timer, or move it. A deadline in the past fires in the next tick."""
        cdef int64_t due = max(<int64_t>min(ceil(deadline / self.tick), MAX_TICKS), self._now + 1)
        cdef int32_t spoke = <int32_t>(due & (SPOKES - 1))
        cdef int32_t head
        if slot >= self._capacity:
            self.reserve(<Py_ssize_t>slot + 1)
        elif self._due[slot] == due:
            return NoResult.OK
        self.clear_timer(slot)
        head = self._spokes[spoke]
        self._due[slot] = due
        self._previous[slot] = -1
        self._next[slot] = head
        if head >= 0:
            vfast_invariant(self._previous[head] == -1)
            self._previous[head] = <int32_t>slot
        self._spokes[spoke] = <int32_t>slot
        self.armed += 1
        return NoResult.OK

    cdef void clear_timer(self, slot_t slot) noexcept:
        """Disarm the slot's timer; nothing happens when it is not armed."""
        cdef int32_t before, after
        if slot >= self._capacity or self._due[slot] < 0:
            return
        before = self._previous[slot]
        after = self._next[slot]
        if after >= 0:
            vfast_invariant(self._previous[after] == <int32_t>slot)
            self._previous[after] = before
        if before >= 0:
            vfast_invariant(self._next[before] == <int32_t>slot)
            self._next[before] = after
        else:
            vfast_invariant(self._spokes[self._due[slot] & (SPOKES - 1)] == <int32_t>slot)
            self._spokes[self._due[slot] & (SPOKES - 1)] = after
        self._due[slot] = -1
        self.armed -= 1
        vfast_invariant(self.armed >= 0)

    cdef int64_t pop_due(self, double now) noexcept:
        """Disarm and return one slot whose deadline has come, or -1 when there is none left."""
        cdef int64_t target = <int64_t>(now / self.tick)
        cdef int32_t slot
        # After a long sleep one round sees every spoke; more rounds would see the same timers again.
        if target - self._now > SPOKES:
            self._now = target - SPOKES
        while self._now < target:
            slot = self._spokes[(self._now + 1) & (SPOKES - 1)]
            while slot >= 0:
                vfast_invariant((self._due[slot] & (SPOKES - 1)) == ((self._now + 1) & (SPOKES - 1)))
                if self._due[slot] <= target:
                    self.clear_timer(<slot_t>slot)
                    return slot
                slot = self._next[slot]
            self._now += 1
        return -1

    def arm(self, slot_t slot, double deadline):
        """Arm a slot's timer or move it."""
        self.set_timer(slot, deadline)

    def disarm(self, slot_t slot):
        """Disarm a slot's timer."""
        self.clear_timer(slot)

    def advance(self, double now):
        """Return the slots whose deadline has come; their timers are disarmed."""
        cdef list due = []
        cdef int64_t slot = self.pop_due(now)
        while slot >= 0:
            due.append(slot)
            slot = self.pop_due(now)
        return due
