"""The last publications of a channel, for clients that come back (protocol.md, section 3, recovery).

Every publication of a channel has the next offset, so that the history is a ring: the place of an offset is known.

    first ──► [ 17 | 18 | 19 | 20 | 21 ] ◄── last

Bounded in number, bytes and age. Publications are kept serialised, and projected anew for whoever asks.
"""
from libc.stdint cimport uint64_t

from .publication cimport Publication
from .types cimport NoResult

cimport cython


cdef struct Record:
    void *publication                   # owned
    double at                           # monotonic seconds
    Py_ssize_t nbytes


@cython.final
cdef class History:
    cdef:
        readonly Py_ssize_t max_messages
        readonly Py_ssize_t max_bytes   # 0: no bound
        readonly double max_age         # seconds; 0: no bound
        readonly uint64_t first         # offset of the oldest record; last + 1 when there is none
        readonly uint64_t last          # offset of the newest publication, kept or not
        readonly Py_ssize_t nbytes
        Record *_records                # of offset n: n % _capacity
        Py_ssize_t _capacity

    cdef NoResult append(self, Publication publication, Py_ssize_t size, double now) except NoResult.EXC
    cdef NoResult reserve(self) except NoResult.EXC
    cdef void drop_oldest(self) noexcept
    cdef void expire(self, double now) noexcept
    cdef bint reaches(self, uint64_t offset, double now) noexcept
    cdef Publication at(self, uint64_t offset)
    cdef double received_at(self, uint64_t offset) noexcept
