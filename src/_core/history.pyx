"""The last publications of a channel; history.pxd has the overview."""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

from .publication cimport Publication, publication_of
from .types cimport NoResult, vfast_invariant

cdef enum:
    FIRST_CAPACITY = 64
    # Bytes of a publication and of a metric beside their texts, roughly: objects, list entries.
    MESSAGE_COST = 300
    METRIC_COST = 64


@cython.final
cdef class History:
    """The last publications of a channel.

    Args:
        max_messages: how many are kept; 0: none.
        max_bytes: how much memory they may take; 0: no bound.
        max_age: for how many seconds they are kept; 0: no bound.
    """

    def __init__(self, Py_ssize_t max_messages=0, *, Py_ssize_t max_bytes=0, double max_age=0):
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.max_age = max_age
        self.first = 1

    def __dealloc__(self):
        while self.first <= self.last:
            self.drop_oldest()
        free(self._records)

    def __len__(self):
        return <Py_ssize_t>(self.last + 1 - self.first)

    cdef NoResult append(self, Publication publication, Py_ssize_t size, double now) except NoResult.EXC:
        """Give a publication, all of which is serialised, the next offset, and keep it as far as the bounds allow.

        size: bytes of the whole message as JSON.
        """
        cdef Record *record
        if self.max_messages == 0:
            self.last += 1
            self.first = self.last + 1
            return NoResult.OK
        if <Py_ssize_t>(self.last + 1 - self.first) >= self.max_messages:
            self.drop_oldest()
        self.expire(now)
        self.reserve()
        self.last += 1
        record = &self._records[self.last % <uint64_t>self._capacity]
        record.publication = <void *>publication
        Py_INCREF(publication)
        record.at = now
        record.nbytes = size + MESSAGE_COST + publication.count * METRIC_COST
        self.nbytes += record.nbytes
        publication.values = None           # the producer's own objects
        while self.max_bytes and self.nbytes > self.max_bytes:
            self.drop_oldest()
        return NoResult.OK

    cdef NoResult reserve(self) except NoResult.EXC:
        """Make room for one more record."""
        cdef uint64_t offset
        cdef Py_ssize_t capacity
        cdef Record *records
        if <Py_ssize_t>(self.last + 1 - self.first) < self._capacity:
            return NoResult.OK
        capacity = max(<Py_ssize_t>FIRST_CAPACITY, 2 * self._capacity)
        records = <Record *>calloc(capacity, sizeof(Record))
        if records == NULL:
            raise MemoryError
        offset = self.first
        while offset <= self.last:
            records[offset % <uint64_t>capacity] = self._records[offset % <uint64_t>self._capacity]
            offset += 1
        free(self._records)
        self._records = records
        self._capacity = capacity
        return NoResult.OK

    cdef void drop_oldest(self) noexcept:
        cdef Record *record = &self._records[self.first % <uint64_t>self._capacity]
        vfast_invariant(self.first <= self.last)
        self.nbytes -= record.nbytes
        self.first += 1
        Py_DECREF(<object>record.publication)

    cdef void expire(self, double now) noexcept:
        """Drop what is too old."""
        while self.max_age > 0 and self.first <= self.last and (
                self._records[self.first % <uint64_t>self._capacity].at + self.max_age <= now):
            self.drop_oldest()

    cdef bint reaches(self, uint64_t offset, double now) noexcept:
        """Say whether everything after an offset is still there."""
        self.expire(now)
        return self.first <= offset + 1 and offset <= self.last

    cdef Publication at(self, uint64_t offset):
        """Return a publication; first <= offset <= last."""
        return <Publication>self._records[offset % <uint64_t>self._capacity].publication

    cdef double received_at(self, uint64_t offset) noexcept:
        """Return when a publication came, in monotonic seconds; first <= offset <= last."""
        return self._records[offset % <uint64_t>self._capacity].at

    def stats(self):
        """Return what is kept: messages, bytes, and the offsets from which to which."""
        return {"messages": len(self), "bytes": self.nbytes, "first": self.first, "last": self.last}

    # For tests.

    def keep(self, message, double now=0):
        """Append a data message."""
        cdef Publication publication = publication_of(message)
        self.append(publication, publication.finish(), now)

    def since(self, uint64_t offset, double now=0):
        """Return the channel and device of everything after an offset; None: it is no longer all there."""
        cdef Publication publication
        cdef list found = []
        if not self.reaches(offset, now):
            return None
        for number in range(offset + 1, self.last + 1):
            publication = self.at(number)
            found.append((publication.channel, publication.device))
        return found
