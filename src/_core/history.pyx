"""The last publications of a channel; history.pxd has the overview."""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

from .lanes cimport PARTITIONS
from .publication cimport Publication, publication_of
from .types cimport NoResult, vfast_invariant

from operator import itemgetter as _itemgetter

cdef object BY_OFFSET = _itemgetter(0)

cdef enum:
    FIRST_CAPACITY = 64
    ALL_PARTITIONS = -1
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

    def __dealloc__(self):
        while self.count:
            self.drop_oldest()
        free(self._records)

    def __len__(self):
        return self.count

    cdef NoResult append(self, Publication publication, uint64_t offset, Py_ssize_t size,
                         double now) except NoResult.EXC:
        """Keep a publication, all of which is serialised, as far as the bounds allow; its offset is the highest.

        size: bytes of the whole message as JSON.
        """
        vfast_invariant(offset > self.last)
        if self.max_messages == 0:
            self.last = self.lost = offset
            return NoResult.OK
        self.expire(now)
        self.put(publication, offset, size, now)
        self.last = offset
        return NoResult.OK

    cdef NoResult put(self, Publication publication, uint64_t offset, Py_ssize_t size, double now) except NoResult.EXC:
        """Add a record at the newest end, and keep the bounds."""
        cdef Record *record
        if self.count >= self.max_messages:
            self.drop_oldest()
        self.reserve()
        record = self.at(self.count)
        record.publication = <void *>publication
        Py_INCREF(publication)
        record.offset = offset
        record.at = now
        record.nbytes = size + MESSAGE_COST + publication.count * METRIC_COST
        self.nbytes += record.nbytes
        self.count += 1
        publication.values = None           # the producer's own objects
        while self.max_bytes and self.nbytes > self.max_bytes:
            self.drop_oldest()
        return NoResult.OK

    cdef NoResult merge(self, list publications, list offsets, double now) except NoResult.EXC:
        """Take older publications in among those that are there: of partitions that were not followed.

        Both lists are in order; what is there already, or was given up, is left out. None is newer than `last`.
        """
        cdef list there = []
        cdef Record *record
        cdef Py_ssize_t i
        cdef uint64_t offset
        cdef set known = set()
        if self.max_messages == 0:
            return NoResult.OK
        for i in range(self.count):
            record = self.at(i)
            known.add(record.offset)
            there.append((record.offset, <Publication>record.publication, record.at))
        for i in range(len(offsets)):
            offset = offsets[i]
            vfast_invariant(offset <= self.last)
            if offset > self.lost and offset not in known:
                there.append((offset, publications[i], now))
        there.sort(key=BY_OFFSET)
        while self.count:
            self.nbytes -= self.at(0).nbytes
            Py_DECREF(<object>self.at(0).publication)
            self._oldest += 1
            self.count -= 1
        for offset, publication, at in there:
            self.put(<Publication>publication, offset, (<Publication>publication).finish(), at)
        return NoResult.OK

    cdef void begin(self, uint64_t offset) noexcept:
        """Forget everything; offsets go on behind another one. What is before it may be merged yet."""
        cdef int partition
        while self.count:
            self.drop_oldest()
        self.last = offset
        self.lost = 0
        for partition in range(PARTITIONS):
            self.floors[partition] = <uint64_t>NOT_FOLLOWED

    cdef void advance(self, uint64_t offset) noexcept:
        """Everything up to an offset has come."""
        self.last = max(self.last, offset)

    cdef NoResult reserve(self) except NoResult.EXC:
        """Make room for one more record."""
        cdef Py_ssize_t i, capacity
        cdef Record *records
        if self.count < self._capacity:
            return NoResult.OK
        capacity = max(<Py_ssize_t>FIRST_CAPACITY, 2 * self._capacity)
        records = <Record *>calloc(capacity, sizeof(Record))
        if records == NULL:
            raise MemoryError
        for i in range(self.count):
            records[i] = self.at(i)[0]
        free(self._records)
        self._records = records
        self._oldest = 0
        self._capacity = capacity
        return NoResult.OK

    cdef void drop_oldest(self) noexcept:
        cdef Record *record = self.at(0)
        vfast_invariant(self.count > 0)
        vfast_invariant(record.offset > self.lost)
        self.nbytes -= record.nbytes
        self.lost = record.offset
        self._oldest = (self._oldest + 1) % self._capacity
        self.count -= 1
        Py_DECREF(<object>record.publication)

    cdef void expire(self, double now) noexcept:
        """Drop what is too old."""
        while self.max_age > 0 and self.count and self.at(0).at + self.max_age <= now:
            self.drop_oldest()

    cdef bint reaches(self, uint64_t offset, uint64_t partitions, double now) noexcept:
        """Say whether everything of these partitions (a bit each) after an offset is still there."""
        cdef int partition
        self.expire(now)
        if offset < self.lost or offset > self.last or partitions & self.apart:
            return False
        for partition in range(PARTITIONS):
            if (partitions >> partition) & 1 and offset < self.floors[partition]:
                return False
        return True

    cdef Record *at(self, Py_ssize_t i) noexcept:
        """Return a record; where it would stand, if there is none."""
        return &self._records[(self._oldest + i) % self._capacity]

    cdef Py_ssize_t position_behind(self, uint64_t offset) noexcept:
        """Return the number of the first record after an offset."""
        cdef Py_ssize_t low = 0, high = self.count, middle
        while low < high:
            middle = (low + high) // 2
            if self.at(middle).offset <= offset:
                low = middle + 1
            else:
                high = middle
        return low

    def set_floor(self, int partition, offset):
        """Note after which offset everything of a partition has come; None: it is not followed.

        What is there of it from before is of no use then: something may be missing in between.
        """
        self.floors[partition] = <uint64_t>NOT_FOLLOWED if offset is None else <uint64_t>offset

    def stats(self):
        """Return what is kept: messages, bytes, and the offsets from which to which."""
        return {"messages": self.count, "bytes": self.nbytes,
                "first": self.at(0).offset if self.count else self.last + 1, "last": self.last}

    # For tests.

    def keep(self, message, double now=0, *, offset=None):
        """Append a data message; offset None: the next one."""
        cdef Publication publication = publication_of(message)
        self.append(publication, self.last + 1 if offset is None else offset, publication.finish(), now)

    def advance_to(self, uint64_t offset):
        """Have everything come up to an offset."""
        self.advance(offset)

    def insert(self, list messages not None, list offsets not None, double now=0):
        """Merge data messages."""
        self.merge([publication_of(message) for message in messages], offsets, now)

    def since(self, uint64_t offset, double now=0, *, partitions=None):
        """Return offset, channel and device of everything after an offset; None: it is no longer all there.

        partitions: a bit each; None: all.
        """
        cdef uint64_t mask = <uint64_t>ALL_PARTITIONS if partitions is None else <uint64_t>partitions
        cdef Publication publication
        cdef Py_ssize_t i
        cdef list found = []
        if not self.reaches(offset, mask, now):
            return None
        for i in range(self.position_behind(offset), self.count):
            publication = <Publication>self.at(i).publication
            found.append((self.at(i).offset, publication.channel, publication.device))
        return found
