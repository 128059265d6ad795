"""Hash tables of 32-bit keys and values, 8 bytes an entry: what there is millions of.

    pairs -> [ key value | 0 0 | key value | key value | 0 0 | ... ]       2 ** bits places, linear probing

A table is a value inside its owner's memory (zero it to make an empty one); it owns what `pairs` points to. A value is
never 0: that marks a free place. A key may be in it several times. It has between 3/8 and 3/4 of its places in use
while it grows, and gives memory back below 1/8.

Places follow the highest bits of a product, so that a table twice or half as large has its entries in the same order,
and is filled from one end to the other.
"""
from libc.stdint cimport uint32_t

from .types cimport NoResult

cimport cython


cdef enum:
    MIN_PAIR_BITS = 2


cdef struct Pair:
    uint32_t key
    uint32_t value                  # 0: the place is free


cdef struct PairTable:
    Pair *pairs                     # NULL: nothing was ever in it, or nothing is
    uint32_t count
    uint32_t bits


cdef inline uint32_t pairs_size(const PairTable *table) noexcept nogil:
    return <uint32_t>1 << table.bits if table.pairs != NULL else 0


cdef inline uint32_t pair_place(const PairTable *table, uint32_t key) noexcept nogil:
    """Return where a key belongs; there must be memory."""
    return (key * <uint32_t>0x9E3779B1) >> (32 - table.bits)


cdef inline uint32_t pairs_next(const PairTable *table, uint32_t key, uint32_t *place) noexcept nogil:
    """Return the next value under a key and step over it, 0 at the end; `place` is pair_place() at first."""
    cdef uint32_t mask = (<uint32_t>1 << table.bits) - 1
    cdef const Pair *pair = &table.pairs[place[0]]
    while pair.value:
        place[0] = (place[0] + 1) & mask
        if pair.key == key:
            return pair.value
        pair = &table.pairs[place[0]]
    return 0


cdef inline Pair *pairs_find(const PairTable *table, uint32_t key) noexcept nogil:
    """Return the entry under a key, NULL: there is none. It is valid until the table is changed."""
    cdef uint32_t mask = (<uint32_t>1 << table.bits) - 1
    cdef uint32_t place
    if table.pairs == NULL:
        return NULL
    place = pair_place(table, key)
    while table.pairs[place].value:
        if table.pairs[place].key == key:
            return &table.pairs[place]
        place = (place + 1) & mask
    return NULL


# Make room for some more entries, so that adding them can't fail.
cdef NoResult pairs_reserve(PairTable *table, Py_ssize_t more) except NoResult.EXC
# Add an entry, whether the key is there or not. A MemoryError leaves the table as it was.
cdef NoResult pairs_add(PairTable *table, uint32_t key, uint32_t value) except NoResult.EXC
# Take an entry out; say whether it was there. Gives memory back as the table empties.
cdef bint pairs_remove(PairTable *table, uint32_t key, uint32_t value) noexcept
cdef void pairs_clear(PairTable *table) noexcept


# For tests and benchmarks.
@cython.final
cdef class Pairs:
    cdef PairTable _table
