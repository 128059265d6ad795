"""The postings of a channel, by device.

    device -> hash -> number -> Posting         _numbers: hash -> number, several under one hash now and then
                                                _pages:   number >> 6 -> Page of 64 postings, or a free place

Tables keep the number, which stays until the posting is released; 0 is none. A page goes with its last posting, and
with the very last one everything does. Ids of devices are strangers' choice, so the hash has a secret.
"""
from libc.stdint cimport uint32_t, uint64_t, uintptr_t

from .devices cimport DeviceKey
from .pairs cimport PairTable
from .posting cimport Posting
from .types cimport NoResult

cimport cython


cdef enum:
    PAGE_BITS = 6
    PAGE_POSTINGS = 1 << PAGE_BITS


cdef struct Page:
    uint64_t used                   # bit i: posting i
    uint64_t texts                  # bit i: the device of posting i is a text, which is owned
    # Where there is room: its neighbours in the list of such pages.
    Page *previous
    Page *next
    uint32_t number
    Posting postings[PAGE_POSTINGS]


@cython.final
cdef class PostingTable:
    cdef:
        readonly Py_ssize_t count
        PairTable _numbers
        uintptr_t *_pages           # number -> Page *, or what _free was before << 1 | 1: the number is free
        uint32_t _page_count
        uint32_t _page_capacity
        uint32_t _free              # a number of a page that is free, + 1; 0: there is none
        Page *_roomy
        uint64_t _secret[2]

    cdef uint32_t hash_of(self, const DeviceKey *key) except? 0
    # The number of a device's posting, 0: it has none; `hash` is its hash_of().
    cdef uint32_t find(self, const DeviceKey *key, uint32_t hash) except? 0
    # The same, and there is one: an empty one if need be, to be released by somebody.
    cdef uint32_t acquire(self, const DeviceKey *key) except 0
    # Forget an empty posting.
    cdef NoResult release(self, uint32_t number) except NoResult.EXC
    cdef object device_of(self, uint32_t number)
    cdef NoResult add_page(self) except NoResult.EXC
    cdef void drop_page(self, Page *page) noexcept
    cdef list numbers(self)
    cdef Py_ssize_t nbytes(self) noexcept


cdef inline Posting *posting_at(PostingTable table, uint32_t number) noexcept:
    """Return a posting, which stays in its place as long as it is not released."""
    return &(<Page *>table._pages[number >> PAGE_BITS]).postings[number & (PAGE_POSTINGS - 1)]
