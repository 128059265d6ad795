"""Interned names: metrics, severities, types and statuses that subscriptions ask for, as small numbers."""
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from .types cimport NoResult

cimport cython


# Numbers are handed out densely and used again; a name goes with its last user.
@cython.final
cdef class Names:
    cdef:
        readonly Py_ssize_t limit       # distinct names at a time
        dict _numbers                   # name -> number
        list _names                     # number -> name, None: free
        list _users                     # number -> count
        list _free

    cdef Py_ssize_t acquire(self, str name) except -2
    cdef NoResult release(self, Py_ssize_t number) except NoResult.EXC
    cdef uint32_t *acquire_all(self, tuple values) except? NULL


cdef inline Py_ssize_t find_name(Names names, str name) noexcept:
    """Return the name's number, or -1."""
    cdef PyObject *number = PyDict_GetItem(names._numbers, name)
    return -1 if number == NULL else <Py_ssize_t><object>number
