"""The connections of one (channel, device), grouped by the filter that they share there.

    Posting  [ filter A | {slot, slot, ...} ]
             [ filter B | {slot}            ]

A connection stands in one group at most. What a filter is does not matter here: groups are told by its address.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from .bitset cimport SlotSet
from .types cimport NoResult, slot_t

cimport cython


cdef struct Group:
    PyObject *filter                    # a Filter (index.pxd)
    SlotSet slots


@cython.final
cdef class Posting:
    cdef:
        Group *groups                   # sorted by address of the filter
        uint32_t count
        uint32_t capacity
        uint32_t shadowed               # slots here that stand under "all devices" too

    cdef uint32_t position(self, object filter) noexcept
    cdef NoResult add(self, object filter, slot_t slot) except NoResult.EXC
    cdef NoResult remove(self, object filter, slot_t slot) except NoResult.EXC
