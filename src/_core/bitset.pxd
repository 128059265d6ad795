"""Sets of slots: 16 bytes each, in the shape that suits how full they are.

    inline   at most 2 slots             storage.pair   [ slot | slot ]
    sparse   few among many              storage.slots  -> [ 3 | 17 | 4711 | ... ]      sorted
    dense    more than about one in 32   storage.words  -> [ 0110...|0001...|... ]      bit i: slot i

A set is a value inside its owner's memory (zero it to make an empty one); it owns what `storage` points to.
The shape changes by itself; the thresholds of growing and shrinking lie a factor two apart, so that a set at the
border does not flap.
"""
from libc.stdint cimport uint32_t, uint64_t

from .types cimport slot_t

cimport cython


cdef enum:
    INLINE_SLOTS = 2
    MIN_DENSE = 64                  # with fewer slots a set does not become dense; with half of them it no longer is


cdef enum SetShape:
    SHAPE_INLINE = 0
    SHAPE_SPARSE = 1
    SHAPE_DENSE = 2


cdef union SlotStorage:
    slot_t pair[INLINE_SLOTS]
    slot_t *slots
    uint64_t *words


cdef struct SlotSet:
    SlotStorage storage
    uint32_t count                  # slots in the set
    uint32_t size                   # inline: 0; else allocated entries << 2 (slots or words), shape in the low bits


# Where an iteration stands; valid as long as the set is not changed.
cdef struct SlotCursor:
    uint64_t word                   # dense: bits of the current word that are still to come
    uint32_t next                   # inline, sparse: index of the next slot; dense: index of the next word


cdef extern from *:
    """
    #define vfast_ctz64(x) ((unsigned)__builtin_ctzll(x))
    """
    uint32_t vfast_ctz64(uint64_t word) noexcept nogil


cdef inline uint32_t slotset_shape(const SlotSet *set) noexcept nogil:
    return set.size & 3


cdef inline const slot_t *slotset_slots(const SlotSet *set) noexcept nogil:
    if (set.size & 3) == SHAPE_INLINE:
        return &set.storage.pair[0]
    return set.storage.slots


cdef inline void slotset_start(const SlotSet *set, SlotCursor *cursor) noexcept nogil:
    cursor.word = 0
    cursor.next = 0


cdef inline bint slotset_next(const SlotSet *set, SlotCursor *cursor, slot_t *slot) noexcept nogil:
    """Give the next slot in rising order; False at the end."""
    if (set.size & 3) != SHAPE_DENSE:
        if cursor.next >= set.count:
            return False
        slot[0] = slotset_slots(set)[cursor.next]
        cursor.next += 1
        return True
    while cursor.word == 0:
        if cursor.next >= (set.size >> 2):
            return False
        cursor.word = set.storage.words[cursor.next]
        cursor.next += 1
    slot[0] = (cursor.next - 1) * 64 + vfast_ctz64(cursor.word)
    cursor.word &= cursor.word - 1
    return True


cdef int slotset_add(SlotSet *set, slot_t slot) except -1
cdef bint slotset_discard(SlotSet *set, slot_t slot) noexcept
cdef bint slotset_has(const SlotSet *set, slot_t slot) noexcept
cdef void slotset_clear(SlotSet *set) noexcept
cdef Py_ssize_t slotset_bytes(const SlotSet *set) noexcept


# For tests and benchmarks.
@cython.final
cdef class Slots:
    cdef SlotSet _set
