"""Sets of slots that change their shape with how full they are; bitset.pxd has the drawing."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memmove, memset

from .types cimport NoResult, slot_t, vfast_invariant


cdef inline uint32_t lower_bound(const slot_t *slots, uint32_t count, slot_t slot) noexcept nogil:
    """Return the index of the first entry that is not below `slot`."""
    cdef uint32_t low = 0, high = count, middle
    while low < high:
        middle = (low + high) >> 1
        if slots[middle] < slot:
            low = middle + 1
        else:
            high = middle
    return low


cdef inline bint too_thin(uint32_t count, uint64_t words) noexcept nogil:
    """Say whether a dense set of that many words would take twice what a sparse one takes."""
    return count < MIN_DENSE // 2 or <uint64_t>count * 64 < words * 64


cdef NoResult sparse_reserve(SlotSet *set) except NoResult.EXC:
    """Make room for one more slot in an inline or sparse set."""
    cdef uint32_t capacity = set.size >> 2
    cdef uint32_t i
    cdef slot_t *slots
    if slotset_shape(set) == SHAPE_INLINE:
        if set.count < INLINE_SLOTS:
            return NoResult.OK
        slots = <slot_t *>malloc(4 * sizeof(slot_t))
        if slots == NULL:
            raise MemoryError
        for i in range(set.count):
            slots[i] = set.storage.pair[i]
        set.storage.slots = slots
        set.size = (4 << 2) | SHAPE_SPARSE
        return NoResult.OK
    if set.count < capacity:
        return NoResult.OK
    capacity += capacity >> 1
    slots = <slot_t *>realloc(set.storage.slots, capacity * sizeof(slot_t))
    if slots == NULL:
        raise MemoryError
    set.storage.slots = slots
    set.size = (capacity << 2) | SHAPE_SPARSE
    return NoResult.OK


cdef void to_dense(SlotSet *set, uint64_t words) noexcept:
    """Turn a sparse set into a dense one of `words` words, which must reach its last slot.

    It stays sparse when there is no memory, which is as right.
    """
    cdef uint64_t *bits = <uint64_t *>calloc(words, sizeof(uint64_t))
    cdef slot_t *slots = set.storage.slots
    cdef uint32_t i
    if bits == NULL:
        return
    for i in range(set.count):
        bits[slots[i] >> 6] |= (<uint64_t>1) << (slots[i] & 63)
    vfast_invariant((slots[set.count - 1] >> 6) < words)
    free(slots)
    set.storage.words = bits
    set.size = <uint32_t>((words << 2) | SHAPE_DENSE)


cdef void to_sparse(SlotSet *set) noexcept:
    """Turn a dense set into a sparse one; it stays dense when there is no memory, which is as right."""
    cdef uint32_t capacity = set.count + (set.count >> 2) + 4
    cdef slot_t *slots = <slot_t *>malloc(capacity * sizeof(slot_t))
    cdef SlotCursor cursor
    cdef slot_t slot = 0
    cdef uint32_t i = 0
    if slots == NULL:
        return
    slotset_start(set, &cursor)
    while slotset_next(set, &cursor, &slot):
        vfast_invariant(i < set.count)
        slots[i] = slot
        i += 1
    vfast_invariant(i == set.count)
    free(set.storage.words)
    set.storage.slots = slots
    set.size = (capacity << 2) | SHAPE_SPARSE


cdef int dense_add(SlotSet *set, slot_t slot) except -1:
    """Add to a dense set; the caller has made sure that it may grow to reach `slot`."""
    cdef uint64_t words = set.size >> 2
    cdef uint64_t wanted
    cdef uint64_t bit = (<uint64_t>1) << (slot & 63)
    cdef uint64_t *bits
    if (slot >> 6) >= words:
        wanted = max(<uint64_t>(slot >> 6) + 1, words + (words >> 2))
        bits = <uint64_t *>realloc(set.storage.words, wanted * sizeof(uint64_t))
        if bits == NULL:
            raise MemoryError
        memset(bits + words, 0, (wanted - words) * sizeof(uint64_t))
        set.storage.words = bits
        set.size = <uint32_t>((wanted << 2) | SHAPE_DENSE)
    if set.storage.words[slot >> 6] & bit:
        return 0
    set.storage.words[slot >> 6] |= bit
    set.count += 1
    vfast_invariant(set.count <= (set.size >> 2) * <uint64_t>64)
    return 1


cdef int slotset_add(SlotSet *set, slot_t slot) except -1:
    """Add a slot; 1 when it was not there, 0 when it was. A MemoryError leaves the set as it was."""
    cdef uint32_t at
    cdef slot_t *slots
    if slotset_shape(set) == SHAPE_DENSE:
        if (slot >> 6) < (set.size >> 2) or not too_thin(set.count, (slot >> 6) + 1):
            return dense_add(set, slot)
        to_sparse(set)
        if slotset_shape(set) == SHAPE_DENSE:
            return dense_add(set, slot)
    at = lower_bound(slotset_slots(set), set.count, slot)
    if at < set.count and slotset_slots(set)[at] == slot:
        return 0
    sparse_reserve(set)
    slots = <slot_t *>slotset_slots(set)
    memmove(slots + at + 1, slots + at, (set.count - at) * sizeof(slot_t))
    slots[at] = slot
    set.count += 1
    if at > 0:
        vfast_invariant(slots[at - 1] < slot)
    if at + 1 < set.count:
        vfast_invariant(slot < slots[at + 1])
    # 4 bytes a slot against one bit a slot number: beyond one slot in 32 the bits are smaller.
    if set.count >= MIN_DENSE and <uint64_t>set.count * 32 > slots[set.count - 1]:
        to_dense(set, (slots[set.count - 1] >> 6) + 1)
    return 1


cdef bint slotset_discard(SlotSet *set, slot_t slot) noexcept:
    """Take a slot out; say whether it was there. Gives memory back as the set shrinks."""
    cdef uint32_t at, i
    cdef uint64_t bit
    cdef slot_t *slots
    cdef slot_t pair[INLINE_SLOTS]
    if slotset_shape(set) == SHAPE_DENSE:
        bit = (<uint64_t>1) << (slot & 63)
        if (slot >> 6) >= (set.size >> 2) or not set.storage.words[slot >> 6] & bit:
            return False
        vfast_invariant(set.count >= MIN_DENSE // 2)
        set.storage.words[slot >> 6] &= ~bit
        set.count -= 1
        if too_thin(set.count, set.size >> 2):
            to_sparse(set)
        return True
    slots = <slot_t *>slotset_slots(set)
    at = lower_bound(slots, set.count, slot)
    if at == set.count or slots[at] != slot:
        return False
    set.count -= 1
    memmove(slots + at, slots + at + 1, (set.count - at) * sizeof(slot_t))
    if slotset_shape(set) == SHAPE_SPARSE:
        if set.count < INLINE_SLOTS:
            for i in range(set.count):
                pair[i] = slots[i]
            free(slots)
            for i in range(set.count):
                set.storage.pair[i] = pair[i]
            set.size = SHAPE_INLINE
        elif (set.size >> 2) > 8 and set.count * 4 < (set.size >> 2):
            slots = <slot_t *>realloc(set.storage.slots, set.count * 2 * sizeof(slot_t))
            if slots != NULL:
                set.storage.slots = slots
                set.size = ((set.count * 2) << 2) | SHAPE_SPARSE
    return True


cdef bint slotset_has(const SlotSet *set, slot_t slot) noexcept:
    """Say whether a slot is in the set."""
    cdef uint32_t at
    if slotset_shape(set) == SHAPE_DENSE:
        return (slot >> 6) < (set.size >> 2) and (set.storage.words[slot >> 6] >> (slot & 63)) & 1
    at = lower_bound(slotset_slots(set), set.count, slot)
    return at < set.count and slotset_slots(set)[at] == slot


cdef void slotset_clear(SlotSet *set) noexcept:
    """Empty the set and give its memory back."""
    if slotset_shape(set) != SHAPE_INLINE:
        free(set.storage.slots)
    memset(set, 0, sizeof(SlotSet))


cdef Py_ssize_t slotset_bytes(const SlotSet *set) noexcept:
    """Return the bytes that the set owns outside its own 16."""
    if slotset_shape(set) == SHAPE_INLINE:
        return 0
    return (set.size >> 2) * (sizeof(uint64_t) if slotset_shape(set) == SHAPE_DENSE else sizeof(slot_t))


@cython.final
cdef class Slots:
    """The C set as a Python object, for tests and benchmarks."""

    def __dealloc__(self):
        slotset_clear(&self._set)

    def add(self, slot_t slot):
        """Add a slot; say whether it is new."""
        return slotset_add(&self._set, slot) == 1

    def discard(self, slot_t slot):
        """Take a slot out; say whether it was there."""
        return slotset_discard(&self._set, slot)

    def __contains__(self, slot_t slot):
        return slotset_has(&self._set, slot)

    def __len__(self):
        return self._set.count

    def __iter__(self):
        cdef SlotCursor cursor
        cdef slot_t slot = 0
        cdef list slots = []
        slotset_start(&self._set, &cursor)
        while slotset_next(&self._set, &cursor, &slot):
            slots.append(slot)
        return iter(slots)

    @property
    def shape(self):
        """One of "inline", "sparse", "dense"."""
        return ("inline", "sparse", "dense")[slotset_shape(&self._set)]

    @property
    def nbytes(self):
        """Bytes outside the set's own 16."""
        return slotset_bytes(&self._set)
