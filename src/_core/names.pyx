"""Interned names; names.pxd has the overview."""

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc

from .types cimport NoResult, vfast_invariant


class TooManyNamesError(Exception):
    """The bound on interned names is reached."""


@cython.final
cdef class Names:
    """Interned names.

    Args:
        limit: distinct names at a time.
    """

    def __cinit__(self, Py_ssize_t limit=65536):
        self.limit = limit
        self._numbers = {}
        self._names = []
        self._users = []
        self._free = []

    cdef Py_ssize_t acquire(self, str name) except -2:
        """Return the name's number, counting one more user; TooManyNamesError at the bound."""
        cdef Py_ssize_t number = find_name(self, name)
        if number >= 0:
            self._users[number] += 1
            return number
        if len(self._numbers) >= self.limit:
            raise TooManyNamesError
        if not self._free:
            number = len(self._names)
            self._free.append(number)
            try:
                self._names.append(None)
                self._users.append(0)
            except BaseException:
                self._free.clear()
                del self._names[number:]
                raise
        number = self._free.pop()
        try:
            self._numbers[name] = number
        except BaseException:
            self._free.append(number)       # there is room for it
            raise
        self._names[number] = name
        self._users[number] = 1
        return number

    cdef NoResult release(self, Py_ssize_t number) except NoResult.EXC:
        """Count one user less; the last one takes the name with it."""
        cdef Py_ssize_t users = <Py_ssize_t>self._users[number] - 1
        vfast_invariant(users >= 0)
        self._users[number] = users
        if users == 0:
            del self._numbers[self._names[number]]
            self._names[number] = None
            self._free.append(number)
        return NoResult.OK

    cdef uint32_t *acquire_all(self, tuple values) except? NULL:
        """Return the numbers of names in an array of the caller's; all or none are acquired."""
        cdef Py_ssize_t done = 0
        cdef uint32_t *numbers = <uint32_t *>malloc(len(values) * sizeof(uint32_t))
        if numbers == NULL:
            raise MemoryError
        try:
            for name in values:
                numbers[done] = <uint32_t>self.acquire(name)
                done += 1
        except BaseException:
            while done:
                done -= 1
                self.release(numbers[done])
            free(numbers)
            raise
        return numbers

    def __len__(self):
        return len(self._numbers)
