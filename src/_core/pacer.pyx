"""Serving those who do not want everything at once; pacer.pxd has the overview."""

cimport cython
from cpython.object cimport PyObject
from libc.math cimport INFINITY, ceil, rint
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from .bitset cimport SlotCursor, SlotSet, slotset_add, slotset_clear, slotset_next, slotset_start
from .fanout cimport Fanout
from .index cimport Filter, Index
from .latest cimport Values
from .outbox cimport Outbox
from .publication cimport MetricMask, have_common
from .throttle cimport Cohort, Throttle
from .types cimport NoResult, slot_t
from .wheel cimport TimerWheel


cdef enum:
    GRID = 5                        # parts of an interval

cdef double ROUNDING = 1e-6         # parts of the grid: what is on it stays there


cdef double next_due(double due, double now, double interval) noexcept nogil:
    """Return when the clock of a cohort that is served now, and was due at `due` (INFINITY: at once), comes again.

    Clocks of the same interval are brought onto a common grid, a fifth of it wide, by making their first interval
    longer: so that much of what is due for a connection is due at once, and leaves in one write.
    """
    cdef double tick = PACE_TICK_MS / 1000.0
    cdef double grid = interval / GRID
    if grid < tick:
        return now + interval
    if 0 <= now - due < 2 * tick:           # in time: the next one is an interval later, however late within a tick
        return rint((due + interval) / grid) * grid
    return ceil((now + interval) / grid - ROUNDING) * grid


@cython.final
cdef class Pacer:
    """The cohorts of a hub, and their timers.

    Args:
        fanout: where the receivers are.
        index: what their filters ask for.
        now: monotonic seconds.
    """

    def __init__(self, Fanout fanout not None, Index index not None, double now):
        self.fanout = fanout
        self.index = index
        self.wheel = TimerWheel(PACE_TICK_MS / 1000.0, now)
        self._cohorts = []
        self._free = []

    def __dealloc__(self):
        free(self._seen)

    cdef uint64_t offer(self, Filter filter, const SlotSet *slots, Values values, bint everywhere,
                        bint skip, double now) except? 0xFFFFFFFFFFFFFFFF:
        """Let a filter's subscribers have a publication, which is in `values`, at their pace; return how many they are.

        skip: leave out who is noted in the fanout's marks: it stands under another filter at the device.
        """
        cdef dict throttles = filter.throttles_everywhere if everywhere else filter.throttles
        cdef Throttle throttle = throttles.get(values.device)
        cdef Cohort cohort
        cdef bint known = throttle is not None
        if not known:
            throttle = Throttle.__new__(Throttle)
            throttle.values = values
            throttle.filter = filter
            throttle.everywhere = everywhere
        elif filter.pace.deadband > 0:
            for cohort in throttle.cohorts[:]:
                if cohort.due == INFINITY and cohort.slots.count:
                    self.serve(cohort, now)
        if skip or slots.count != throttle.waiting:
            cohort = self.newcomers(throttle, slots, skip)
            if cohort is not None:
                if not known:
                    throttles[values.device] = throttle
                    if values.served is None:
                        values.served = []
                    values.served.append(throttle)
                cohort.since = values.offset - 1
                self.serve(cohort, now)
        return self.fanout.count(slots, skip)

    cdef Cohort newcomers(self, Throttle throttle, const SlotSet *slots, bint skip):
        """Return a cohort of those slots that are in none; None when there are no such."""
        cdef Cohort cohort
        cdef Cohort fresh = None
        cdef SlotCursor cursor
        cdef slot_t slot = 0
        cdef void *memory
        if self._capacity < self.fanout._capacity:
            memory = realloc(self._seen, self.fanout._capacity * sizeof(uint64_t))
            if memory == NULL:
                raise MemoryError
            self._seen = <uint64_t *>memory
            memset(self._seen + self._capacity, 0, (self.fanout._capacity - self._capacity) * sizeof(uint64_t))
            self._capacity = self.fanout._capacity
        self._look += 1
        for cohort in throttle.cohorts:
            slotset_start(&cohort.slots, &cursor)
            while slotset_next(&cohort.slots, &cursor, &slot):
                self._seen[slot] = self._look
        slotset_start(slots, &cursor)
        while slotset_next(slots, &cursor, &slot):
            if self._seen[slot] == self._look or (skip and self.fanout.marks[slot] == self.fanout.publication):
                continue
            if fresh is None:
                fresh = Cohort.__new__(Cohort)
                fresh.throttle = throttle
                fresh.due = INFINITY
                if self._free:
                    fresh.timer = self._free.pop()
                    self._cohorts[fresh.timer] = fresh
                else:
                    fresh.timer = <slot_t>len(self._cohorts)
                    self._cohorts.append(fresh)
                throttle.cohorts.append(fresh)
            throttle.waiting += slotset_add(&fresh.slots, slot)
        return fresh

    cdef NoResult serve(self, Cohort cohort, double now) except NoResult.EXC:
        """Send a cohort what it is owed and set its clock; one to which nothing is owed needs no clock any more."""
        cdef Throttle throttle = cohort.throttle
        cdef Filter filter = <Filter>throttle.filter
        cdef Values values = throttle.values
        cdef Cohort other
        cdef MetricMask mask
        cdef uint64_t since
        cdef bytes frame
        if cohort.slots.count == 0:
            return self.dissolve(cohort)
        if not self.index.owed(cohort, None, &mask):
            if filter.pace.deadband == 0:
                return self.dissolve(cohort)
            cohort.since = values.offset
            cohort.due = INFINITY
            return NoResult.OK
        since = cohort.since
        cohort.since = values.offset
        frame = values.encoded(&mask)
        if self.fanout.behind:          # before the frame makes others fall behind, who then have got it
            self.owe(cohort, since)
        self.fanout.deliver(<PyObject *>frame, &cohort.slots, values.channel, False, False)
        if filter.pace.deadband > 0:
            cohort.remember(&mask)
        if filter.pace.interval == 0:
            return NoResult.OK
        cohort.due = next_due(cohort.due, now, filter.pace.interval)
        if filter.pace.deadband == 0:
            for other in throttle.cohorts:
                if other is not cohort and other.due == cohort.due and other.since == cohort.since:
                    return self.merge(cohort, other)
        self.wheel.set_timer(cohort.timer, cohort.due)
        return NoResult.OK

    cdef NoResult owe(self, Cohort cohort, uint64_t since) except NoResult.EXC:
        """Have those of a cohort that are behind, and will not get what is due, get it when they catch up."""
        cdef Values values = cohort.throttle.values
        cdef SlotCursor cursor
        cdef slot_t slot = 0
        slotset_start(&cohort.slots, &cursor)
        while slotset_next(&cohort.slots, &cursor, &slot):
            if self.fanout._queues[slot].withheld & (1 << values.channel):
                (<Outbox>self.fanout._queues[slot].owner).on_owed(values, since)
        return NoResult.OK

    cdef NoResult merge(self, Cohort cohort, Cohort other) except NoResult.EXC:
        """Put a cohort's slots into another one with the same clock."""
        cdef SlotCursor cursor
        cdef slot_t slot = 0
        slotset_start(&cohort.slots, &cursor)
        while slotset_next(&cohort.slots, &cursor, &slot):
            cohort.throttle.waiting += slotset_add(&other.slots, slot)
        return self.dissolve(cohort)

    cdef NoResult dissolve(self, Cohort cohort) except NoResult.EXC:
        """Let a cohort go; its throttle too when it was the last."""
        cdef Throttle throttle = cohort.throttle
        cdef Filter filter = <Filter>throttle.filter
        self.wheel.clear_timer(cohort.timer)
        self._cohorts[cohort.timer] = None
        self._free.append(cohort.timer)
        throttle.cohorts.remove(cohort)
        throttle.waiting -= cohort.slots.count
        slotset_clear(&cohort.slots)
        cohort.throttle = None
        if not throttle.cohorts:
            throttle.values.served.remove(throttle)
            del (filter.throttles_everywhere if throttle.everywhere else filter.throttles)[throttle.values.device]
        return NoResult.OK

    cdef NoResult advance(self, double now) except NoResult.EXC:
        """Serve the cohorts whose time has come; those that everybody has left go."""
        cdef Cohort cohort
        cdef int64_t timer
        if self.index.abandoned:
            for cohort in self.index.abandoned:
                if cohort.throttle is not None and cohort.slots.count == 0:
                    self.dissolve(cohort)
            self.index.abandoned.clear()
        timer = self.wheel.pop_due(now)
        while timer >= 0:
            self.serve(<Cohort>self._cohorts[timer], now)
            timer = self.wheel.pop_due(now)
        return NoResult.OK

    cdef NoResult hurry(self, Values values, const MetricMask *metrics, double now) except NoResult.EXC:
        """Serve those who wait for one of a device's metrics that are about to be forgotten."""
        cdef Throttle throttle
        cdef Cohort cohort
        cdef MetricMask mask
        for throttle in list(values.served or ()):
            for cohort in throttle.cohorts[:]:
                if cohort.throttle is not None and self.index.owed(cohort, None, &mask) and have_common(&mask, metrics):
                    self.serve(cohort, now)
        return NoResult.OK

    cdef NoResult let_go(self, Values values, double now) except NoResult.EXC:
        """Serve everybody who waits for something of a device that is about to be forgotten."""
        cdef Throttle throttle
        cdef Cohort cohort
        for throttle in list(values.served or ()):
            for cohort in throttle.cohorts[:]:
                if cohort.throttle is None:
                    continue
                self.serve(cohort, now)
                if cohort.throttle is not None:
                    self.dissolve(cohort)
        return NoResult.OK

    def stats(self):
        """Return how many cohorts there are, subscribers in them, timers that are set, and throttles."""
        cdef Cohort cohort
        cdef set throttles = set()
        cdef Py_ssize_t subscribers = 0
        for cohort in self._cohorts:
            if cohort is not None:
                subscribers += cohort.slots.count
                throttles.add(cohort.throttle)
        return {"cohorts": len(self._cohorts) - len(self._free), "subscribers": subscribers,
                "timers": self.wheel.armed, "throttles": len(throttles)}
