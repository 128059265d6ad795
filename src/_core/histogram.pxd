"""How often a value was how large: counts by powers of two, for what is told of a server and never for a decision."""
from libc.stdint cimport uint64_t

cimport cython


cdef enum:
    MAX_BUCKETS = 32


@cython.final
cdef class Histogram:
    cdef:
        double _per_unit                # units in a value of 1
        double _unit
        int _first                      # the bound of the first bucket is a power of two of units: this one
        int _buckets
        uint64_t _counts[MAX_BUCKETS + 1]
        readonly double sum
        public double since             # when what is being timed began (monotonic seconds); 0: nothing is

    cdef void add(self, double value) noexcept
    cdef void stop(self) noexcept
