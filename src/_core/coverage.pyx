"""What covers which device, for one connection on one channel; coverage.pxd has the overview."""

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, realloc

from .pairs cimport Pair, pairs_add, pairs_clear, pairs_find
from .types cimport NoResult, vfast_invariant


@cython.final
cdef class Subscription:
    """One subscription; fields in coverage.pxd."""


@cython.final
cdef class Coverage:
    """A combination of subscriptions; fields in coverage.pxd."""


@cython.final
cdef class ChannelTable:
    """What a connection has on one channel; fields in coverage.pxd."""

    def __cinit__(self):
        self.subscriptions = []

    def __dealloc__(self):
        pairs_clear(&self.devices)

    cdef Coverage coverage_of(self, uint32_t number):
        """Return a Coverage by its number; None: that of NOTHING."""
        return None if number == NOTHING else <Coverage>self.coverages[number]

    cdef void tally(self, uint32_t number, int by) noexcept:
        """Count the devices that have a Coverage."""
        cdef Coverage coverage
        if number != NOTHING:
            coverage = <Coverage>self.coverages[number]
            coverage.devices += by

    cdef Coverage obtain(self, tuple subscriptions):
        """Return the Coverage of some subscriptions, at least one, which is made if there is none."""
        cdef Subscription first = <Subscription>subscriptions[0]
        cdef frozenset key = None
        cdef Coverage coverage
        if len(subscriptions) == 1:
            coverage = first.alone
        else:
            key = frozenset(subscriptions)
            coverage = None if self._overlaps is None else self._overlaps.get(key)
        if coverage is not None:
            return coverage
        coverage = Coverage.__new__(Coverage)
        coverage.subscriptions = subscriptions
        coverage.key = key
        if self.coverages is None:
            self.coverages = [None] * (NOTHING + 1)
        if key is not None:
            if self._overlaps is None:
                self._overlaps = {}
            self._overlaps[key] = coverage
        try:
            if self._free:
                coverage.number = <uint32_t>self._free.pop()
                self.coverages[coverage.number] = coverage
            else:
                coverage.number = <uint32_t>len(self.coverages)
                self.coverages.append(coverage)
        except BaseException:
            if key is not None:
                del self._overlaps[key]
            raise
        if key is None:
            first.alone = coverage
        return coverage

    cdef NoResult drop(self, Coverage coverage) except NoResult.EXC:
        """Forget a Coverage that no device has."""
        vfast_invariant(coverage.devices == 0)
        if coverage.key is None:
            (<Subscription>coverage.subscriptions[0]).alone = None
        else:
            del self._overlaps[coverage.key]
            if not self._overlaps:
                self._overlaps = None
        self.coverages[coverage.number] = None
        try:
            if self._free is None:
                self._free = []
            self._free.append(coverage.number)
        except MemoryError:             # the number is not used again
            return NoResult.OK
        if len(self._free) == len(self.coverages) - (NOTHING + 1):
            self.coverages = self._free = None
        return NoResult.OK


@cython.final
@cython.freelist(4)
cdef class Change:
    """A command under way on one channel; fields in coverage.pxd."""

    def __cinit__(self, ChannelTable table not None):
        self.coverages = []
        self.everywhere = table.everywhere

    def __dealloc__(self):
        free(self.touched)

    cdef NoResult begin(self, Py_ssize_t devices) except NoResult.EXC:
        """Make ready for some devices, which all come or all go with one subscription."""
        cdef Touched *touched
        self._before = 0
        if self.count + devices > self._capacity:
            touched = <Touched *>realloc(self.touched, (self.count + devices) * sizeof(Touched))
            if touched == NULL:
                raise MemoryError
            self.touched = touched
            self._capacity = self.count + devices
        return NoResult.OK

    cdef void touch(self, Pair *pair) noexcept:
        """Note what covers a device, unless that has been done; begin() has made room."""
        if not pair.value & TOUCHED:
            vfast_invariant(self.count < self._capacity)
            self.touched[self.count].number = pair.key
            self.touched[self.count].before = pair.value
            self.count += 1
            pair.value |= TOUCHED

    cdef NoResult note(self, Coverage coverage) except NoResult.EXC:
        if not coverage.noted:
            self.coverages.append(coverage)
            coverage.noted = True
        return NoResult.OK

    cdef uint32_t step(self, ChannelTable table, uint32_t before, Subscription subscription, bint enters) except 0:
        """Return the number of the Coverage with a subscription more, or less."""
        cdef Coverage coverage
        cdef tuple subscriptions = ()
        if before == self._before:
            return self._after
        coverage = table.coverage_of(before)
        if coverage is not None:
            self.note(coverage)
            subscriptions = coverage.subscriptions
        if enters:
            subscriptions += (subscription,)
        else:
            subscriptions = tuple([other for other in subscriptions if other is not subscription])
        self._after = NOTHING
        if subscriptions:
            coverage = table.obtain(subscriptions)
            try:
                self.note(coverage)
            except BaseException:
                if coverage.devices == 0:
                    table.drop(coverage)
                raise
            self._after = coverage.number
        self._before = before
        return self._after

    cdef NoResult shift(self, ChannelTable table, uint32_t number, Subscription subscription,
                        bint enters) except NoResult.EXC:
        """Have a subscription cover a device, or no longer; begin() has made room to note it."""
        cdef Pair *pair = pairs_find(&table.devices, number)
        cdef uint32_t before, after
        if pair == NULL:
            if not enters:              # it was lost (SubscriptionTable.apply)
                return NoResult.OK
            pairs_add(&table.devices, number, NOTHING)
            pair = pairs_find(&table.devices, number)
        self.touch(pair)
        before = pair.value & ~TOUCHED
        after = self.step(table, before, subscription, enters)
        pair.value = after | TOUCHED
        table.tally(before, -1)
        table.tally(after, 1)
        return NoResult.OK
