"""How a connection stands in the index; standing.pxd has the overview."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t
from libc.string cimport memset

from .bitset cimport SlotSet, slotset_add
from .coverage cimport NOTHING, TOUCHED, Change, ChannelTable, Coverage, Subscription, Touched
from .devices cimport DeviceKey, DeviceSet, key_of
from .index cimport Filter
from .outbox cimport Outbox
from .pairs cimport Pair, pairs_find, pairs_remove, pairs_reserve, pairs_size
from .postings cimport PostingTable
from .publication cimport MetricMask
from .throttle cimport Cohort
from .types cimport NoResult
from .wire cimport CHANNEL_COUNT


cdef list terms_of(tuple subscriptions, list everywhere):
    """Return the terms of subscriptions."""
    cdef list terms = []
    cdef Subscription subscription
    for subscription in subscriptions:
        terms.append(subscription.term)
    if everywhere is not None:
        for subscription in everywhere:
            terms.append(subscription.term)
    return terms


cdef class Standing:
    """How a connection stands in the index; base of SubscriptionTable."""

    def __cinit__(self):
        self._channels = [None] * CHANNEL_COUNT

    cdef ChannelTable of(self, int channel):
        """Return the part of a channel, which is made when it is first asked for."""
        if self._channels[channel] is None:
            self._channels[channel] = ChannelTable.__new__(ChannelTable)
        return <ChannelTable>self._channels[channel]

    cdef Filter filter_at(self, int channel, object device):
        """Return what the connection stands under at a device (None: the system); None: under nothing."""
        cdef ChannelTable table = self._channels[channel]
        cdef PostingTable postings = self.index.postings(channel)
        cdef DeviceKey key
        cdef uint32_t number
        cdef Pair *pair
        if table is None:
            return None
        if device is not None and table.devices.count:
            key = key_of(device)
            number = postings.find(&key, postings.hash_of(&key))
            pair = pairs_find(&table.devices, number) if number else NULL
            if pair != NULL:
                return table.coverage_of(pair.value).posted
        return table.posted

    cdef uint32_t number_of(self, ChannelTable table, int channel, const DeviceKey *key, bint enters) except? 0:
        """Return the number of a device's posting; 0: there is none, nor shall there be one."""
        cdef PostingTable postings = self.index.postings(channel)
        if not enters:
            return postings.find(key, postings.hash_of(key))
        pairs_reserve(&table.devices, 1)        # what follows can't fail, so that no posting is left behind
        return postings.acquire(key)

    cdef NoResult shift(self, Change change, Subscription subscription, DeviceSet asked, frozenset scope,
                        bint enters) except NoResult.EXC:
        """Have a subscription cover what it covers of some devices (None: all) under a scope, or no longer."""
        cdef int channel = subscription.channel
        cdef ChannelTable table = self.of(channel)
        cdef DeviceKey key
        cdef Py_ssize_t i
        if asked is None and scope is None:
            change.everywhere = [other for other in change.everywhere or () if other is not subscription]
            if enters:
                change.everywhere.append(subscription)
            change.anew = True
            return NoResult.OK
        change.begin(len(scope) if asked is None else asked.count)
        for i in range(0 if asked is None else asked.numbers_count):
            if scope is None or asked.numbers[i] in scope:
                key = DeviceKey(asked.numbers[i], NULL)
                change.shift(table, self.number_of(table, channel, &key, enters), subscription, enters)
        for device in scope if asked is None else asked.texts:
            if scope is None or device in scope:
                key = key_of(device)
                change.shift(table, self.number_of(table, channel, &key, enters), subscription, enters)
        return NoResult.OK

    cdef NoResult resolve(self, ChannelTable table, Change change) except NoResult.EXC:
        """Work out the filters that the connection will stand under. What can fail has failed then."""
        cdef Coverage coverage
        cdef uint32_t i
        if change.anew:
            change.begin(table.devices.count)
            for i in range(pairs_size(&table.devices)):
                if table.devices.pairs[i].value:
                    change.touch(&table.devices.pairs[i])
            for coverage in table.coverages or ():
                if coverage is not None:
                    change.note(coverage)
            if change.everywhere:
                change.wanted = self.index.acquire_filter(terms_of((), change.everywhere))
        for coverage in change.coverages:
            if coverage.devices:
                coverage.wanted = self.index.acquire_filter(terms_of(coverage.subscriptions, change.everywhere))
        return NoResult.OK

    cdef NoResult forget(self, int channel, uint32_t number) except NoResult.EXC:
        """Forget a device that nothing covers by name."""
        pairs_remove(&self.of(channel).devices, number, NOTHING)
        if self.index.posting_of(channel, number).count == 0:
            self.index.postings(channel).release(number)
        return NoResult.OK

    cdef NoResult undo(self, int channel, Change change) except NoResult.EXC:
        """Have everything cover what it covered before a change that has failed."""
        cdef ChannelTable table = self.of(channel)
        cdef Coverage coverage
        cdef Touched device
        cdef Pair *pair
        cdef Py_ssize_t i
        for i in range(change.count):
            device = change.touched[i]
            pair = pairs_find(&table.devices, device.number)
            table.tally(pair.value & ~TOUCHED, -1)
            table.tally(device.before, 1)
            pair.value = device.before
            if device.before == NOTHING:
                self.forget(channel, device.number)
        for coverage in change.coverages:       # what it has of filters is given back as what it had would be
            coverage.posted, coverage.wanted = coverage.wanted, coverage.posted
        change.wanted, change.displaced = None, change.wanted
        return self.release(table, change)

    cdef NoResult apply(self, int channel, Change change) except NoResult.EXC:
        """Make the index agree with what covers what."""
        cdef ChannelTable table = self.of(channel)
        cdef Filter old, new
        cdef Touched device
        cdef Pair *pair
        cdef Py_ssize_t i
        cdef bint shadowed, failed = False
        if change.anew:
            self.apply_everywhere(channel, change)
        shadowed = table.posted is not None
        for i in range(change.count):
            device = change.touched[i]
            pair = pairs_find(&table.devices, device.number)
            pair.value &= ~TOUCHED
            old = None if device.before == NOTHING else table.coverage_of(device.before).posted
            new = None if pair.value == NOTHING else table.coverage_of(pair.value).wanted
            if old is not new:
                if old is not None:
                    if shadowed:
                        self.index.shadow(channel, device.number, -1)
                    self.index.remove(channel, device.number, old, self.slot)
                if new is not None:
                    try:
                        self.index.add(channel, device.number, new, self.slot)
                    except MemoryError:     # the device is lost to it, and all tables say so
                        table.tally(pair.value, -1)
                        pair.value = NOTHING
                        new = None
                        failed = True
                if new is not None:
                    if shadowed:
                        self.index.shadow(channel, device.number, 1)
                        self.index.leave(table.posted, channel, device.number, True, self.slot)
            if new is None:
                self.forget(channel, device.number)
        self.release(table, change)
        if self.index.left:
            self.collect(table, channel)
        if failed:
            raise MemoryError
        return NoResult.OK

    cdef NoResult apply_everywhere(self, int channel, Change change) except NoResult.EXC:
        """Make the index agree with what covers all devices; every named device's filter includes it."""
        cdef ChannelTable table = self.of(channel)
        cdef Filter old = table.posted, new = change.wanted
        cdef Py_ssize_t i
        if old is not None and old is not new:
            self.index.remove(channel, 0, old, self.slot)
        if (old is None) != (new is None):
            for i in range(change.count):
                if change.touched[i].before != NOTHING:
                    self.index.shadow(channel, change.touched[i].number, 1 if old is None else -1)
        if new is not None and old is not new:
            self.index.add(channel, 0, new, self.slot)
        table.everywhere = change.everywhere or None
        table.posted = new
        change.displaced = old
        return NoResult.OK

    cdef NoResult release(self, ChannelTable table, Change change) except NoResult.EXC:
        """Let go of the filters that have given way, and of what covers no device any more."""
        cdef Coverage coverage
        cdef Filter old
        if change.displaced is not None:
            self.index.release_filter(change.displaced)
        for coverage in change.coverages:
            old = coverage.posted
            coverage.posted, coverage.wanted = coverage.wanted, None
            coverage.noted = False
            if old is not None:
                self.index.release_filter(old)
            if coverage.devices == 0:
                table.drop(coverage)
        return NoResult.OK

    cdef NoResult collect(self, ChannelTable table, int channel) except NoResult.EXC:
        """Send what the cohorts that were left owed, as far as what the connection has there now asks for it."""
        cdef Cohort cohort
        cdef Filter heir
        cdef MetricMask mask
        cdef SlotSet slots
        cdef bytes frame
        memset(&slots, 0, sizeof(SlotSet))
        slotset_add(&slots, self.slot)
        for cohort in self.index.left:
            heir = self.filter_at(channel, cohort.throttle.values.device)
            if heir is not None and self.index.owed(cohort, heir, &mask):
                if self.fanout._queues[self.slot].withheld & (1 << channel):
                    (<Outbox>self.fanout._queues[self.slot].owner).on_owed(cohort.throttle.values, cohort.since)
                frame = cohort.throttle.values.encoded(&mask)
                self.fanout.deliver(<PyObject *>frame, &slots, channel, False, False)
            if cohort.slots.count == 0:
                self.index.abandoned.append(cohort)
        self.index.left.clear()
        return NoResult.OK
