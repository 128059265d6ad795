"""The connections of one (channel, device) by filter; posting.pxd has the overview."""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint32_t, uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove, memset

from .bitset cimport SlotCursor, SlotSet, slotset_add, slotset_bytes, slotset_clear, slotset_discard, slotset_next
from .bitset cimport slotset_start
from .types cimport NoResult, slot_t, vfast_invariant

cdef enum:
    MIN_CAPACITY = 4                # groups for which there is memory, when there are several


cdef uint32_t position(const Group *groups, uint32_t count, object filter) noexcept:
    """Return where the filter's group is or belongs."""
    cdef uint32_t low = 0, high = count, middle
    while low < high:
        middle = (low + high) >> 1
        if <uintptr_t>groups[middle].filter < <uintptr_t><void *>filter:
            low = middle + 1
        else:
            high = middle
    return low


cdef NoResult reserve(Posting *posting) except NoResult.EXC:
    """Make room for one group more than there are, which are one or several."""
    cdef GroupArray *many = &posting.storage.many
    cdef Group only
    cdef Group *groups
    cdef uint32_t capacity
    if posting.count == 1:
        only = posting.storage.only
        groups = <Group *>malloc(MIN_CAPACITY * sizeof(Group))
        if groups == NULL:
            raise MemoryError
        groups[0] = only
        many.groups = groups
        many.capacity = MIN_CAPACITY
    elif posting.count == many.capacity:
        capacity = many.capacity + (many.capacity >> 1) + 1
        groups = <Group *>realloc(many.groups, capacity * sizeof(Group))
        if groups == NULL:
            raise MemoryError
        many.groups = groups
        many.capacity = capacity
    return NoResult.OK


cdef NoResult posting_add(Posting *posting, object filter, slot_t slot) except NoResult.EXC:
    cdef Group *groups = posting_groups(posting)
    cdef uint32_t at = position(groups, posting.count, filter)
    cdef int added
    cdef Group group
    if at < posting.count and groups[at].filter == <PyObject *>filter:
        added = slotset_add(&groups[at].slots, slot)
        vfast_invariant(added == 1)
        return NoResult.OK
    memset(&group, 0, sizeof(Group))
    slotset_add(&group.slots, slot)         # the first slot takes no memory
    group.filter = <PyObject *>filter
    if posting.count == 0:
        posting.storage.only = group
    else:
        reserve(posting)
        groups = posting.storage.many.groups
        memmove(groups + at + 1, groups + at, (posting.count - at) * sizeof(Group))
        groups[at] = group
    Py_INCREF(filter)
    posting.count += 1
    return NoResult.OK


cdef void drop_group(Posting *posting, uint32_t at) noexcept:
    """Forget a group of nobody; the memory shrinks with what there is."""
    cdef GroupArray *many = &posting.storage.many
    cdef Group *groups = posting_groups(posting)
    cdef Group only
    slotset_clear(&groups[at].slots)
    memmove(groups + at, groups + at + 1, (posting.count - at - 1) * sizeof(Group))
    posting.count -= 1
    if posting.count == 1:
        only = groups[0]
        free(groups)
        posting.storage.only = only
    elif posting.count > 1 and many.capacity > MIN_CAPACITY and posting.count * 4 < many.capacity:
        groups = <Group *>realloc(groups, posting.count * 2 * sizeof(Group))
        if groups != NULL:
            many.groups = groups
            many.capacity = posting.count * 2


cdef NoResult posting_remove(Posting *posting, object filter, slot_t slot) except NoResult.EXC:
    cdef Group *groups = posting_groups(posting)
    cdef uint32_t at = position(groups, posting.count, filter)
    cdef bint there = at < posting.count and groups[at].filter == <PyObject *>filter
    vfast_invariant(there)
    if not there:
        return NoResult.OK
    there = slotset_discard(&groups[at].slots, slot)
    vfast_invariant(there)
    if groups[at].slots.count == 0:
        drop_group(posting, at)
        Py_DECREF(filter)
    return NoResult.OK


cdef void posting_clear(Posting *posting) noexcept:
    cdef Group *groups = posting_groups(posting)
    cdef uint32_t i
    for i in range(posting.count):
        slotset_clear(&groups[i].slots)
        Py_DECREF(<object>groups[i].filter)
    if posting.count > 1:
        free(groups)
    posting.count = 0


cdef Py_ssize_t posting_bytes(Posting *posting) noexcept:
    cdef Py_ssize_t nbytes = posting.storage.many.capacity * sizeof(Group) if posting.count > 1 else 0
    cdef uint32_t i
    for i in range(posting.count):
        nbytes += slotset_bytes(&posting_groups(posting)[i].slots)
    return nbytes


cdef list posting_content(Posting *posting):
    """Return (filter, slots in rising order) of each group."""
    cdef list content = []
    cdef list slots
    cdef SlotCursor cursor
    cdef slot_t slot = 0
    cdef uint32_t i
    cdef const SlotSet *group
    for i in range(posting.count):
        slots = []
        group = &posting_groups(posting)[i].slots
        slotset_start(group, &cursor)
        while slotset_next(group, &cursor, &slot):
            slots.append(slot)
        content.append((<object>posting_groups(posting)[i].filter, slots))
    return content


@cython.final
cdef class Groups:
    """The C posting as a Python object, for tests."""

    def __dealloc__(self):
        posting_clear(&self._posting)

    def put(self, which not None, slot_t slot):
        """Add a slot that is in no group yet."""
        posting_add(&self._posting, which, slot)

    def take(self, which not None, slot_t slot):
        """Remove a slot from its filter's group."""
        posting_remove(&self._posting, which, slot)

    def content(self):
        """Return (filter, slots in rising order) of each group."""
        return posting_content(&self._posting)

    @property
    def nbytes(self):
        """Bytes beside the posting's own 40."""
        return posting_bytes(&self._posting)
