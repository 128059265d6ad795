"""Hash tables of 32-bit keys and values; pairs.pxd has the drawing."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from .types cimport NoResult, vfast_invariant

cdef enum:
    MAX_BITS = 31


cdef inline void put(PairTable *table, uint32_t key, uint32_t value) noexcept nogil:
    """Put an entry into the first free place; there must be one."""
    cdef uint32_t mask = (<uint32_t>1 << table.bits) - 1
    cdef uint32_t place = pair_place(table, key)
    while table.pairs[place].value:
        place = (place + 1) & mask
    table.pairs[place].key = key
    table.pairs[place].value = value


cdef bint resize(PairTable *table, uint32_t bits) noexcept:
    """Give the table 2 ** bits places; False: there is no memory, and nothing has changed."""
    cdef PairTable other
    cdef uint32_t i
    other.pairs = <Pair *>calloc(<size_t>1 << bits, sizeof(Pair))
    if other.pairs == NULL:
        return False
    other.bits = bits
    other.count = table.count
    for i in range(pairs_size(table)):
        if table.pairs[i].value:
            put(&other, table.pairs[i].key, table.pairs[i].value)
    free(table.pairs)
    table[0] = other
    return True


cdef NoResult pairs_reserve(PairTable *table, Py_ssize_t more) except NoResult.EXC:
    cdef uint32_t bits = table.bits if table.pairs != NULL else MIN_PAIR_BITS
    while <uint64_t>(table.count + more) * 4 > (<uint64_t>3 << bits):
        bits += 1
    if table.pairs != NULL and bits == table.bits:
        return NoResult.OK
    if bits > MAX_BITS or not resize(table, bits):
        raise MemoryError
    return NoResult.OK


cdef NoResult pairs_add(PairTable *table, uint32_t key, uint32_t value) except NoResult.EXC:
    vfast_invariant(value != 0)
    pairs_reserve(table, 1)
    put(table, key, value)
    table.count += 1
    return NoResult.OK


cdef bint pairs_remove(PairTable *table, uint32_t key, uint32_t value) noexcept:
    cdef uint32_t mask, hole, place, home
    if table.pairs == NULL:
        return False
    mask = (<uint32_t>1 << table.bits) - 1
    hole = pair_place(table, key)
    while table.pairs[hole].value != value or table.pairs[hole].key != key:
        if table.pairs[hole].value == 0:
            return False
        hole = (hole + 1) & mask
    # What comes behind moves up, unless it would come to stand before the place where it belongs.
    place = (hole + 1) & mask
    while table.pairs[place].value:
        home = pair_place(table, table.pairs[place].key)
        if ((place - home) & mask) >= ((place - hole) & mask):
            table.pairs[hole] = table.pairs[place]
            hole = place
        place = (place + 1) & mask
    table.pairs[hole].value = 0
    table.count -= 1
    if table.count == 0:
        pairs_clear(table)
    elif table.bits > MIN_PAIR_BITS and <uint64_t>table.count * 8 < (<uint64_t>1 << table.bits):
        resize(table, table.bits - 1)       # without memory it stays as it is, which is as right
    return True


cdef void pairs_clear(PairTable *table) noexcept:
    free(table.pairs)
    memset(table, 0, sizeof(PairTable))


@cython.final
cdef class Pairs:
    """The C table as a Python object, for tests and benchmarks."""

    def __dealloc__(self):
        pairs_clear(&self._table)

    def add(self, uint32_t key, uint32_t value):
        """Add an entry; the value is not 0."""
        pairs_add(&self._table, key, value)

    def reserve(self, Py_ssize_t more):
        """Make room for more entries."""
        pairs_reserve(&self._table, more)

    def remove(self, uint32_t key, uint32_t value):
        """Take an entry out; say whether it was there."""
        return pairs_remove(&self._table, key, value)

    def values(self, uint32_t key):
        """Return all values under a key."""
        cdef list found = []
        cdef uint32_t place, value
        if self._table.pairs == NULL:
            return found
        place = pair_place(&self._table, key)
        value = pairs_next(&self._table, key, &place)
        while value:
            found.append(value)
            value = pairs_next(&self._table, key, &place)
        return found

    def first(self, uint32_t key):
        """Return a value under a key; None: there is none."""
        cdef Pair *pair = pairs_find(&self._table, key)
        return None if pair == NULL else pair.value

    def __len__(self):
        return self._table.count

    @property
    def size(self):
        """Places that there is memory for."""
        return pairs_size(&self._table)
