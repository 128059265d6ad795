"""Counts by powers of two; histogram.pxd has the overview."""

cimport cython
from libc.math cimport ceil
from libc.stdint cimport uint64_t

from .clock cimport monotonic_seconds

cdef extern from *:
    """
    /* The power of two that a number is at most; 0 for 0. */
    #define vfast_power(number) ((number) < 2 ? 0 : 64 - __builtin_clzll((number) - 1))
    """
    int vfast_power(uint64_t number) noexcept nogil


@cython.final
cdef class Histogram:
    """Counts values, each in the first bucket whose bound it is not above.

    Args:
        unit: what bounds are powers of two of.
        first: the power of the first bound.
        buckets: how many there are, from 1 to MAX_BUCKETS; what is larger than the last one's bound is counted beside.
    """

    def __init__(self, double unit, int first, int buckets):
        if not unit > 0 or not 0 <= first < 32 or not 0 < buckets <= MAX_BUCKETS:
            raise ValueError("a histogram needs a unit, and from 1 to 32 buckets")
        self._unit = unit
        self._per_unit = 1 / unit
        self._first = first
        self._buckets = buckets

    cdef void add(self, double value) noexcept:
        cdef double units = ceil(value * self._per_unit)
        cdef int bucket = self._buckets
        if not units > 0:               # a clock in a test may go backwards
            bucket = 0
            value = 0
        elif units < <double>(<uint64_t>1 << 62):
            bucket = min(max(vfast_power(<uint64_t>units) - self._first, 0), self._buckets)
        self._counts[bucket] += 1
        self.sum += value

    cdef void stop(self) noexcept:
        """Count the time from `since` to now."""
        self.add(monotonic_seconds() - self.since)
        self.since = 0

    def observe(self, double value):
        """Count a value; below 0 it counts as 0."""
        self.add(value)

    def figures(self):
        """Return `count`, `sum`, and `buckets`: how many values were at most so large, by bounds as text."""
        cdef uint64_t count = 0
        cdef int i
        cdef dict buckets = {}
        for i in range(self._buckets):
            count += self._counts[i]
            buckets[repr(self._unit * (<uint64_t>1 << (self._first + i)))] = count
        return {"count": count + self._counts[self._buckets], "sum": self.sum, "buckets": buckets}
