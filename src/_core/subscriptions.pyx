"""The subscriptions of one connection; subscriptions.pxd has the overview."""

cimport cython
from cpython.object cimport PyObject
from libc.string cimport memset

from .bitset cimport SlotSet, slotset_add
from .commands cimport Selection
from .frequency cimport Frequency
from .index cimport Filter, Term
from .outbox cimport Outbox
from .publication cimport MetricMask
from .scope cimport Grant, is_canonical_device
from .throttle cimport Cohort
from .types cimport NoResult, vfast_invariant
from .wire cimport CHANNEL_COUNT, Channel


@cython.final
cdef class Subscription:
    """One subscription; fields in subscriptions.pxd."""


@cython.final
cdef class Coverage:
    """What a connection has at one device; fields in subscriptions.pxd."""

    cdef list terms(self, list everywhere):
        """Return the terms of all that covers the device, by name or not."""
        cdef list terms = [subscription.term for subscription in everywhere] if everywhere is not None else []
        cdef Subscription subscription
        if type(self.subscriptions) is not list:
            terms.append((<Subscription>self.subscriptions).term)
            return terms
        for subscription in <list>self.subscriptions:
            terms.append(subscription.term)
        return terms


@cython.final
cdef class ChannelTable:
    """What a connection has on one channel; fields in subscriptions.pxd."""

    def __cinit__(self):
        self.subscriptions = []
        self.by_device = {}


@cython.final
cdef class SubscriptionTable:
    """The subscriptions of one connection; made by its session."""

    def __cinit__(self):
        self._channels = [None] * CHANNEL_COUNT

    cdef ChannelTable of(self, int channel):
        """Return the part of a channel, which is made when it is first asked for."""
        if self._channels[channel] is None:
            self._channels[channel] = ChannelTable.__new__(ChannelTable)
        return <ChannelTable>self._channels[channel]

    cdef Frequency in_force(self, int channel, Frequency asked):
        """Return a frequency as the server and the token allow it; events have none."""
        if channel != Channel.TELEMETRY and channel != Channel.SYSTEM:
            return asked
        return asked.at_least(max(self.floor, self.grant.min_interval))

    cdef list of_channel(self, int channel):
        """Return the subscriptions to a channel."""
        cdef ChannelTable table = self._channels[channel]
        return [] if table is None else table.subscriptions[:]

    cdef frozenset covered(self, Subscription subscription):
        """Return the devices that the subscription covers under the scope; None: all there are."""
        if subscription.channel == Channel.SYSTEM:      # has no devices
            return None
        if subscription.asked is None:
            return self.grant.devices
        if self.grant.devices is None:
            return subscription.asked
        return subscription.asked & self.grant.devices

    cdef bint covers(self, Subscription subscription, object device):
        """Say whether a subscription covers a device (None: no device at all) under the scope."""
        cdef frozenset devices = self.covered(subscription)
        return devices is None or device in devices

    cdef Filter filter_at(self, int channel, object device):
        """Return what the connection stands under at a device (None: the system); None: under nothing."""
        cdef ChannelTable table = self._channels[channel]
        cdef Coverage coverage
        if table is None:
            return None
        coverage = table.by_device.get(device)
        return table.posted if coverage is None else coverage.posted

    cdef NoResult enter(self, Subscription subscription, set touched) except NoResult.EXC:
        """Put a subscription under what it covers; `touched` gathers what has to be posted anew."""
        cdef frozenset devices = self.covered(subscription)
        cdef ChannelTable table = self.of(subscription.channel)
        cdef Coverage coverage
        if devices is None:
            if table.everywhere is None:
                table.everywhere = []
            table.everywhere.append(subscription)
            touched.add(None)
            return NoResult.OK
        for device in devices:
            vfast_invariant(is_canonical_device(device))
            coverage = table.by_device.get(device)
            if coverage is None:
                coverage = table.by_device[device] = Coverage.__new__(Coverage)
            if coverage.subscriptions is None:
                coverage.subscriptions = subscription
            elif type(coverage.subscriptions) is list:
                (<list>coverage.subscriptions).append(subscription)
            else:
                coverage.subscriptions = [coverage.subscriptions, subscription]
            touched.add(device)
        return NoResult.OK

    cdef NoResult leave(self, Subscription subscription, set touched) except NoResult.EXC:
        """Take a subscription from what it covers: the reverse of enter()."""
        cdef frozenset devices = self.covered(subscription)
        cdef ChannelTable table = self.of(subscription.channel)
        cdef Coverage coverage
        if devices is None:
            table.everywhere.remove(subscription)
            touched.add(None)
            return NoResult.OK
        for device in devices:
            coverage = table.by_device[device]
            if type(coverage.subscriptions) is list:
                (<list>coverage.subscriptions).remove(subscription)
                if len(<list>coverage.subscriptions) == 1:
                    coverage.subscriptions = (<list>coverage.subscriptions)[0]
            else:
                coverage.subscriptions = None
            touched.add(device)
        return NoResult.OK

    cdef NoResult repost_device(self, ChannelTable table, int channel, object device) except NoResult.EXC:
        """Make the index agree with what covers a device by name."""
        cdef Coverage coverage = table.by_device.get(device)
        cdef Filter old, new = None
        cdef bint shadowed = table.posted is not None
        if coverage is None:
            return NoResult.OK
        old = coverage.posted
        if coverage.subscriptions is not None:
            new = self.index.acquire_filter(coverage.terms(table.everywhere))
        if old is not None:
            if old is not new:
                if shadowed:
                    self.index.shadow(channel, device, -1)
                self.index.remove(channel, device, old, self.slot)
            self.index.release_filter(old)
        coverage.posted = new
        vfast_invariant((coverage.posted is None) == (coverage.subscriptions is None))
        if new is None:
            del table.by_device[device]
        elif old is not new:
            self.index.add(channel, device, new, self.slot)
            if shadowed:
                self.index.shadow(channel, device, 1)
                self.index.leave(table.posted, device, True, self.slot)
        return NoResult.OK

    cdef NoResult repost_everywhere(self, ChannelTable table, int channel) except NoResult.EXC:
        """Make the index agree with what covers all devices; every named device's filter includes it."""
        cdef Filter old = table.posted
        cdef Filter new = None
        cdef Subscription subscription
        cdef Coverage coverage
        if not table.everywhere:
            table.everywhere = None
        else:
            new = self.index.acquire_filter([subscription.term for subscription in table.everywhere])
        if old is not None:
            if old is not new:
                self.index.remove(channel, None, old, self.slot)
            self.index.release_filter(old)
        if (old is None) != (new is None):
            for device, coverage in table.by_device.items():
                if coverage.posted is not None:
                    self.index.shadow(channel, device, 1 if old is None else -1)
        if new is not None and old is not new:
            self.index.add(channel, None, new, self.slot)
        table.posted = new
        for device in list(table.by_device):
            self.repost_device(table, channel, device)
        return NoResult.OK

    cdef NoResult repost(self, int channel, set touched) except NoResult.EXC:
        """Make the index agree with what enter() and leave() have touched."""
        cdef ChannelTable table = self.of(channel)
        if None in touched:
            touched.discard(None)
            self.repost_everywhere(table, channel)
        for device in touched:
            self.repost_device(table, channel, device)
        if self.index.left:
            self.collect(table, channel)
        return NoResult.OK

    cdef NoResult collect(self, ChannelTable table, int channel) except NoResult.EXC:
        """Send what the cohorts that were left owed, as far as what the connection has there now asks for it."""
        cdef Cohort cohort
        cdef Coverage coverage
        cdef Filter heir
        cdef MetricMask mask
        cdef SlotSet slots
        cdef bytes frame
        memset(&slots, 0, sizeof(SlotSet))
        slotset_add(&slots, self.slot)
        for cohort in self.index.left:
            coverage = table.by_device.get(cohort.throttle.values.device)
            heir = table.posted if coverage is None else coverage.posted
            if heir is not None and self.index.owed(cohort, heir, &mask):
                if self.fanout._queues[self.slot].withheld & (1 << channel):
                    (<Outbox>self.fanout._queues[self.slot].owner).on_owed(cohort.throttle.values, cohort.since)
                frame = cohort.throttle.values.encoded(&mask)
                self.fanout.deliver(<PyObject *>frame, &slots, channel, False, False)
            if cohort.slots.count == 0:
                self.index.abandoned.append(cohort)
        self.index.left.clear()
        return NoResult.OK

    cdef NoResult end(self, Subscription subscription, set touched) except NoResult.EXC:
        """Forget a subscription; the caller posts anew and then releases its term."""
        self.leave(subscription, touched)
        (self.of(subscription.channel).subscriptions).remove(subscription)
        self.count -= 1
        if subscription.asked is not None:
            self.devices -= len(subscription.asked)
        vfast_invariant(self.count >= 0)
        vfast_invariant(self.devices >= 0)
        return NoResult.OK

    cdef Py_ssize_t cost_of(self, int channel, frozenset asked, Py_ssize_t *replaced) except -1:
        """Return how many device ids the subscriptions that (channel, asked) would replace have; count them."""
        cdef Subscription subscription
        cdef Py_ssize_t devices = 0
        replaced[0] = 0
        if self._channels[channel] is None:
            return 0
        for subscription in self.of(channel).subscriptions:
            if subscription.implicit or subscription.asked == asked:
                replaced[0] += 1
                devices += 0 if subscription.asked is None else len(subscription.asked)
        return devices

    cdef Subscription subscribe(self, int channel, Selection selection, bint implicit):
        """Add a subscription in place of those with the same channel and devices, and of the implicit one.

        The caller has checked the limits, and that the scope covers some of it. TooManyNamesError at the index's
        bound, and then nothing has changed.
        """
        cdef Subscription subscription = Subscription.__new__(Subscription)
        cdef Subscription other
        cdef set touched = set()
        cdef list ended = []
        subscription.channel = channel
        subscription.asked = selection.devices
        subscription.implicit = implicit
        subscription.frequency = selection.frequency
        subscription.term = self.index.acquire_term(channel, selection.first, selection.second,
                                                    self.in_force(channel, selection.frequency).key(),
                                                    selection.recovers)
        for other in list(self.of(channel).subscriptions):
            if other.implicit or other.asked == subscription.asked:
                self.end(other, touched)
                ended.append(other)
        (self.of(channel).subscriptions).append(subscription)
        self.count += 1
        if subscription.asked is not None:
            self.devices += len(subscription.asked)
        self.enter(subscription, touched)
        self.repost(channel, touched)
        for other in ended:
            self.index.release_term(other.term)
        return subscription

    cdef bint unsubscribe(self, int channel, frozenset devices) except -1:
        """End all subscriptions of a channel, or take devices out of those that name them; say whether any did.

        A subscription that is left without devices ends; those to all devices stay.
        """
        cdef Subscription subscription
        cdef ChannelTable table
        cdef set touched = set()
        cdef list ended = []
        cdef bint found = False
        if self._channels[channel] is None:
            return False
        for subscription in list(self.of(channel).subscriptions):
            if devices is None:
                self.end(subscription, touched)
                ended.append(subscription)
            elif subscription.asked is not None and not subscription.asked.isdisjoint(devices):
                found = True
                if subscription.asked <= devices:
                    self.end(subscription, touched)
                    ended.append(subscription)
                else:
                    self.leave(subscription, touched)
                    self.devices -= len(subscription.asked)
                    subscription.asked = subscription.asked - devices
                    self.devices += len(subscription.asked)
                    self.enter(subscription, touched)
        self.repost(channel, touched)
        for subscription in ended:
            self.index.release_term(subscription.term)
        table = self.of(channel)
        if not table.subscriptions:
            vfast_invariant(table.posted is None)
            self._channels[channel] = None
        return found or len(ended) > 0

    cdef list apply_grant(self, Grant grant):
        """Apply a new scope to what there is; return (channel, devices) of each subscription that it ends.

        devices is None where the whole channel went or all devices had been asked for.
        """
        cdef Subscription subscription
        cdef Term term
        cdef set touched
        cdef list lost = []
        cdef list ended = []            # terms
        cdef list kept
        cdef int channel
        for channel in range(CHANNEL_COUNT):
            if self._channels[channel] is None:
                continue
            touched = set()
            kept = []
            for subscription in list(self.of(channel).subscriptions):
                if not (grant.channels >> channel) & 1:
                    self.end(subscription, touched)
                    if not lost or lost[len(lost) - 1] != (channel, None):
                        lost.append((channel, None))
                elif channel != Channel.SYSTEM and grant.devices is not None and (
                        not grant.devices if subscription.asked is None
                        else grant.devices.isdisjoint(subscription.asked)):
                    self.end(subscription, touched)
                    lost.append((channel, subscription.asked))
                else:
                    self.leave(subscription, touched)
                    kept.append(subscription)
                    continue
                ended.append(subscription.term)
            previous, self.grant = self.grant, grant
            for subscription in kept:
                term = subscription.term
                key = self.in_force(channel, subscription.frequency).key()
                if key != term.key[3]:
                    subscription.term = self.index.acquire_term(channel, term.key[1], term.key[2], key, term.recovers)
                    ended.append(term)
                self.enter(subscription, touched)
            self.repost(channel, touched)
            self.grant = previous
        self.grant = grant
        for term in ended:
            self.index.release_term(term)
        return lost

    cdef NoResult clear(self) except NoResult.EXC:
        """End everything: the connection is gone."""
        cdef int channel
        for channel in range(CHANNEL_COUNT):
            if self._channels[channel] is not None:
                self.unsubscribe(channel, None)
        return NoResult.OK
