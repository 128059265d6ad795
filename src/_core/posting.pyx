"""The connections of one (channel, device) by filter; posting.pxd has the overview."""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint32_t, uintptr_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove, memset

from .bitset cimport SlotCursor, slotset_add, slotset_clear, slotset_discard, slotset_next, slotset_start
from .types cimport NoResult, slot_t, vfast_invariant


@cython.final
cdef class Posting:
    """The groups of one (channel, device); fields in posting.pxd."""

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.count):
            slotset_clear(&self.groups[i].slots)
            Py_DECREF(<object>self.groups[i].filter)
        free(self.groups)

    cdef uint32_t position(self, object filter) noexcept:
        """Return where the filter's group is or belongs."""
        cdef uint32_t low = 0, high = self.count, middle
        while low < high:
            middle = (low + high) >> 1
            if <uintptr_t>self.groups[middle].filter < <uintptr_t><void *>filter:
                low = middle + 1
            else:
                high = middle
        return low

    cdef NoResult add(self, object filter, slot_t slot) except NoResult.EXC:
        cdef uint32_t at = self.position(filter)
        cdef uint32_t capacity
        cdef int added
        cdef Group *groups
        if at == self.count or self.groups[at].filter != <PyObject *>filter:
            if self.count == self.capacity:
                capacity = 1 if self.capacity == 0 else self.capacity + (self.capacity >> 1) + 1
                groups = <Group *>realloc(self.groups, capacity * sizeof(Group))
                if groups == NULL:
                    raise MemoryError
                self.groups = groups
                self.capacity = capacity
            memmove(self.groups + at + 1, self.groups + at, (self.count - at) * sizeof(Group))
            memset(self.groups + at, 0, sizeof(Group))
            self.groups[at].filter = <PyObject *>filter
            Py_INCREF(filter)
            self.count += 1
        added = slotset_add(&self.groups[at].slots, slot)
        vfast_invariant(added == 1)
        return NoResult.OK

    cdef NoResult remove(self, object filter, slot_t slot) except NoResult.EXC:
        cdef uint32_t at = self.position(filter)
        cdef bint there = at < self.count and self.groups[at].filter == <PyObject *>filter
        cdef Group *groups
        vfast_invariant(there)
        if not there:
            return NoResult.OK
        there = slotset_discard(&self.groups[at].slots, slot)
        vfast_invariant(there)
        if self.groups[at].slots.count == 0:
            slotset_clear(&self.groups[at].slots)
            self.count -= 1
            memmove(self.groups + at, self.groups + at + 1, (self.count - at) * sizeof(Group))
            Py_DECREF(filter)
            if self.capacity > 4 and self.count * 4 < self.capacity:
                groups = <Group *>realloc(self.groups, self.count * 2 * sizeof(Group))
                if groups != NULL or self.count == 0:
                    self.groups = groups
                    self.capacity = self.count * 2
        return NoResult.OK

    # For tests.

    def put(self, which not None, slot_t slot):
        """Add a slot that is in no group yet."""
        self.add(which, slot)

    def take(self, which not None, slot_t slot):
        """Remove a slot from its filter's group."""
        self.remove(which, slot)

    def content(self):
        """Return (filter, slots in rising order) of each group."""
        cdef list content = []
        cdef list slots
        cdef SlotCursor cursor
        cdef slot_t slot = 0
        cdef uint32_t i
        for i in range(self.count):
            slots = []
            slotset_start(&self.groups[i].slots, &cursor)
            while slotset_next(&self.groups[i].slots, &cursor, &slot):
                slots.append(slot)
            content.append((<object>self.groups[i].filter, slots))
        return content
