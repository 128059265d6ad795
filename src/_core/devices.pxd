"""Device ids in C, and sets of them: 8 bytes for a number, and a text's pointer beside the text.

    DeviceSet   numbers -> [ -5 | 1 | 2 | 4711 ]    sorted
                texts      ("a", "pump 7")          sorted
"""
from cpython.long cimport PyLong_AsLongLong, PyLong_CheckExact
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from .types cimport NoResult

cimport cython


# A canonical device id (scope.pxd).
cdef struct DeviceKey:
    int64_t number
    PyObject *text                  # borrowed; NULL: the id is `number`


cdef inline DeviceKey key_of(object device):
    """Return a canonical device id as a key, which is valid as long as the id is."""
    if PyLong_CheckExact(device):
        return DeviceKey(PyLong_AsLongLong(device), NULL)
    return DeviceKey(0, <PyObject *>device)


# Immutable.
@cython.final
cdef class DeviceSet:
    cdef:
        readonly Py_ssize_t count
        Py_ssize_t numbers_count
        int64_t *numbers
        tuple texts

    cdef NoResult reserve(self, Py_ssize_t count) except NoResult.EXC
    cdef NoResult settle(self, list texts, Py_ssize_t room) except NoResult.EXC
    cdef bint has(self, object device) except -1
    cdef bint equals(self, DeviceSet other) except -1
    # What of it is in another set too, or (common: False) is not.
    cpdef DeviceSet sifted(self, DeviceSet other, bint common)
    cdef list ids(self)


# The set of canonical ids that are all different, in any order.
cpdef DeviceSet device_set(tuple devices)
