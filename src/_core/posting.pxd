"""The connections of one (channel, device), grouped by the filter that they share there.

    Posting  [ filter A | {slot, slot, ...} ]
             [ filter B | {slot}            ]

A connection stands in one group at most. What a filter is does not matter here: groups are told by its address.

A posting is a value inside its owner's memory, of 40 bytes (zero it to make an empty one). Most have one group, which
is inside too; it owns the memory of more.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t

from .bitset cimport SlotSet
from .types cimport NoResult, slot_t

cimport cython


cdef struct Group:
    PyObject *filter                    # a Filter (index.pxd), owned
    SlotSet slots


cdef struct GroupArray:
    Group *groups                       # sorted by address of the filter
    uint32_t capacity


cdef union GroupStorage:
    Group only                          # up to one group
    GroupArray many                     # more


# What the owner tells a posting by, for which there is room here (postings.pxd).
cdef union PostingKey:
    int64_t number
    PyObject *text


cdef struct Posting:
    PostingKey key
    GroupStorage storage
    uint32_t count                      # groups
    uint32_t shadowed                   # slots here that stand under "all devices" too


cdef inline Group *posting_groups(Posting *posting) noexcept nogil:
    return &posting.storage.only if posting.count <= 1 else posting.storage.many.groups


# Add a slot, which stands in no group. A MemoryError leaves the posting as it was.
cdef NoResult posting_add(Posting *posting, object filter, slot_t slot) except NoResult.EXC
# Take a slot out of its filter's group.
cdef NoResult posting_remove(Posting *posting, object filter, slot_t slot) except NoResult.EXC
cdef void posting_clear(Posting *posting) noexcept
# Return the bytes that a posting owns beside itself.
cdef Py_ssize_t posting_bytes(Posting *posting) noexcept


# For tests.
@cython.final
cdef class Groups:
    cdef Posting _posting
