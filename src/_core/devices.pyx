"""Sets of device ids; devices.pxd has the drawing."""

cimport cython
from cpython.unicode cimport PyUnicode_Compare
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memcmp

from .scope cimport is_canonical_device
from .types cimport NoResult, vfast_invariant


cdef int compare_numbers(const void *one, const void *other) noexcept nogil:
    cdef int64_t left = (<const int64_t *>one)[0], right = (<const int64_t *>other)[0]
    return (left > right) - (left < right)


cdef void sort_numbers(int64_t *numbers, Py_ssize_t count) noexcept nogil:
    """Sort numbers that are all different; most clients name them in order."""
    cdef Py_ssize_t i = 1
    while i < count and numbers[i - 1] < numbers[i]:
        i += 1
    if i < count:
        qsort(numbers, count, sizeof(int64_t), compare_numbers)


@cython.final
cdef class DeviceSet:
    """A set of canonical device ids; made by device_set()."""

    def __dealloc__(self):
        free(self.numbers)

    cdef NoResult reserve(self, Py_ssize_t count) except NoResult.EXC:
        """Make room for numbers, in a new set."""
        if count:
            self.numbers = <int64_t *>malloc(count * sizeof(int64_t))
            if self.numbers == NULL:
                raise MemoryError
        return NoResult.OK

    cdef NoResult settle(self, list texts, Py_ssize_t room) except NoResult.EXC:
        """Set the texts of a new set, and give back the room that its numbers don't take."""
        cdef int64_t *numbers = self.numbers
        self.texts = () if texts is None else tuple(texts)
        self.count = self.numbers_count + len(self.texts)
        if self.numbers_count == 0:
            free(numbers)
            self.numbers = NULL
        elif self.numbers_count < room:
            numbers = <int64_t *>realloc(numbers, self.numbers_count * sizeof(int64_t))
            if numbers != NULL:
                self.numbers = numbers
        return NoResult.OK

    cdef bint has(self, object device) except -1:
        """Say whether a canonical id is in the set."""
        cdef DeviceKey key = key_of(device)
        cdef Py_ssize_t low = 0, middle
        cdef Py_ssize_t high = self.numbers_count if key.text == NULL else len(self.texts)
        cdef int order
        while low < high:
            middle = (low + high) >> 1
            if key.text != NULL:
                order = PyUnicode_Compare(self.texts[middle], device)
            else:
                order = (self.numbers[middle] > key.number) - (self.numbers[middle] < key.number)
            if order == 0:
                return True
            if order < 0:
                low = middle + 1
            else:
                high = middle
        return False

    cdef bint equals(self, DeviceSet other) except -1:
        """Say whether another set has the same ids; None has not."""
        if other is None or self.count != other.count or self.numbers_count != other.numbers_count:
            return False
        if self.numbers_count and memcmp(self.numbers, other.numbers, self.numbers_count * sizeof(int64_t)) != 0:
            return False
        return self.texts == other.texts

    cpdef DeviceSet sifted(self, DeviceSet other, bint common):
        """Return the ids that are in another set as well, or (common: False) that are not."""
        cdef DeviceSet found = DeviceSet.__new__(DeviceSet)
        cdef Py_ssize_t i, at = 0
        found.reserve(self.numbers_count)
        for i in range(self.numbers_count):
            while at < other.numbers_count and other.numbers[at] < self.numbers[i]:
                at += 1
            if (at < other.numbers_count and other.numbers[at] == self.numbers[i]) == common:
                found.numbers[found.numbers_count] = self.numbers[i]
                found.numbers_count += 1
        found.settle([text for text in self.texts if other.has(text) == common], self.numbers_count)
        return found

    cdef list ids(self):
        """Return the ids, numbers first."""
        cdef Py_ssize_t i
        cdef list found = [self.numbers[i] for i in range(self.numbers_count)]
        found.extend(self.texts)
        return found

    def __len__(self):
        return self.count

    def __iter__(self):
        return iter(self.ids())

    def __eq__(self, other):
        return isinstance(other, DeviceSet) and self.equals(other)

    __hash__ = None

    def __contains__(self, device):
        return self.has(device)


cpdef DeviceSet device_set(tuple devices):
    """Return the set of canonical ids, which are all different and in any order."""
    cdef DeviceSet found = DeviceSet.__new__(DeviceSet)
    cdef DeviceKey key
    cdef list texts = None
    found.reserve(len(devices))
    for device in devices:
        vfast_invariant(is_canonical_device(device))
        key = key_of(device)
        if key.text == NULL:
            found.numbers[found.numbers_count] = key.number
            found.numbers_count += 1
        elif texts is None:
            texts = [device]
        else:
            texts.append(device)
    sort_numbers(found.numbers, found.numbers_count)
    if texts is not None:
        texts.sort()
    found.settle(texts, len(devices))
    return found
