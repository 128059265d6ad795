"""The last publications of a channel, for clients that come back (protocol.md, section 3, recovery).

A ring in the order of their offsets, which rise and may leave gaps: of a log that several nodes share, a node has only
the lanes (lanes.pxd) that it follows.

    lost ──► [ 17 | 18 | 21 | 22 | 30 ] ──► last

Bounded in number, bytes and age. Publications are kept serialised, and projected anew for whoever asks.
"""
from libc.stdint cimport uint64_t

from .lanes cimport PARTITIONS
from .publication cimport Publication
from .types cimport NoResult

cimport cython


cdef enum:
    NOT_FOLLOWED = -1               # as uint64_t: behind every offset


cdef struct Record:
    void *publication                   # owned
    uint64_t offset
    double at                           # monotonic seconds
    Py_ssize_t nbytes


@cython.final
cdef class History:
    cdef:
        readonly Py_ssize_t max_messages
        readonly Py_ssize_t max_bytes   # 0: no bound
        readonly double max_age         # seconds; 0: no bound
        readonly uint64_t last          # offset up to which everything has come, kept or not
        readonly uint64_t lost          # offset of the newest that was given up; everything behind it is there ...
        uint64_t floors[PARTITIONS]     # ... as far as it is also behind that of its partition
        uint64_t apart                  # partitions (a bit each) of which something was delivered without an offset
        readonly Py_ssize_t nbytes
        readonly Py_ssize_t count
        Record *_records
        Py_ssize_t _oldest
        Py_ssize_t _capacity

    cdef NoResult append(self, Publication publication, uint64_t offset, Py_ssize_t size,
                         double now) except NoResult.EXC
    cdef NoResult put(self, Publication publication, uint64_t offset, Py_ssize_t size, double now) except NoResult.EXC
    cdef NoResult merge(self, list publications, list offsets, double now) except NoResult.EXC
    cdef void begin(self, uint64_t offset) noexcept
    cdef void advance(self, uint64_t offset) noexcept
    cdef NoResult reserve(self) except NoResult.EXC
    cdef void drop_oldest(self) noexcept
    cdef void expire(self, double now) noexcept
    cdef bint reaches(self, uint64_t offset, uint64_t partitions, double now) noexcept
    # The records are numbered from 0, the oldest, to count - 1.
    cdef Record *at(self, Py_ssize_t i) noexcept
    cdef Py_ssize_t position_behind(self, uint64_t offset) noexcept
