"""Who is connected: found by filters and in an order, a stretch of slots at a time, and what is told of each.

For operators (docs/http-api.md), and never on the hot path: the counters that a connection keeps anyway are read when
somebody asks, and once an interval by the Sampler, which is what a rate is worked out from.
"""
from libc.stdint cimport uint64_t

from .connection cimport Connection
from .feed cimport Feed
from .hub cimport Hub

cimport cython


cdef enum:
    STRETCH = 64                    # connections between two looks at the clock


# A question. What sorts lower comes first: by the key, then by the number of the connection, which no other one has.
@cython.final
cdef class Roster:
    cdef:
        Hub hub
        # What is asked for: None, -1, 0, False: any.
        str user
        str address
        int channel
        bint slow
        uint64_t number
        int order
        # Where the last page ended, and how many are wanted.
        bint has_after
        double after_key
        uint64_t after_number
        Py_ssize_t limit
        # Where the search is, and what it has found; beyond `worst` nothing is wanted, once enough is found.
        Py_ssize_t position
        list found
        bint enough
        double worst

    cdef bint wants(self, Feed feed)
    cdef double key_of(self, Feed feed, double now) noexcept
    cdef int consider(self, Feed feed, double now) except -1
    cdef int prune(self) except -1


# Notes the counters of all connections once an interval, a few at a time.
@cython.final
cdef class Sampler:
    cdef:
        Hub hub
        double interval
        double advanced_at              # monotonic; 0: never
        double owed                     # connections that are due, of which some are less than a whole one
        Py_ssize_t position


cdef double rate_of(Connection connection, double now) noexcept
