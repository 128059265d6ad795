"""The subscriptions of one connection; subscriptions.pxd has the overview."""

cimport cython

from .commands cimport Selection
from .coverage cimport Change, ChannelTable, Subscription
from .devices cimport DeviceSet
from .frequency cimport Frequency
from .index cimport Term
from .scope cimport Grant
from .standing cimport Standing
from .types cimport NoResult, vfast_invariant
from .wire cimport CHANNEL_COUNT, Channel


cdef frozenset scope_of(int channel, Grant grant):
    """Return the devices that a token permits on a channel; None: all. The system has none."""
    return None if channel == Channel.SYSTEM else grant.devices


cdef bint is_same(DeviceSet one, DeviceSet other) except -1:
    """Say whether two sets of devices are the same, or both None: all devices."""
    return other is None if one is None else one.equals(other)


@cython.final
cdef class SubscriptionTable(Standing):
    """The subscriptions of one connection; made by its session."""

    cdef Frequency allowed(self, int channel, Frequency asked, Grant grant):
        """Return a frequency as the server and a token allow it; events have none."""
        if channel != Channel.TELEMETRY and channel != Channel.SYSTEM:
            return asked
        return asked.at_least(max(self.floor, grant.min_interval))

    cdef Frequency in_force(self, int channel, Frequency asked):
        """Return a frequency as it is allowed now."""
        return self.allowed(channel, asked, self.grant)

    cdef list of_channel(self, int channel):
        """Return the subscriptions to a channel."""
        return [] if self._channels[channel] is None else self.of(channel).subscriptions[:]

    cdef list covered(self, Subscription subscription):
        """Return the devices that the subscription covers under the scope; None: all there are."""
        cdef frozenset scope = scope_of(subscription.channel, self.grant)
        if subscription.asked is None:
            return None if scope is None else list(scope)
        return [device for device in subscription.asked.ids() if scope is None or device in scope]

    cdef bint covers(self, Subscription subscription, object device) except -1:
        """Say whether a subscription covers a device (None: no device at all) under the scope."""
        cdef frozenset scope = scope_of(subscription.channel, self.grant)
        if subscription.asked is not None and (device is None or not subscription.asked.has(device)):
            return False
        return scope is None or device in scope

    cdef NoResult end(self, ChannelTable table, list ended, list kept) except NoResult.EXC:
        """Forget subscriptions that cover nothing any more; `kept` are the others."""
        cdef Subscription subscription
        table.subscriptions = kept
        for subscription in ended:
            self.count -= 1
            self.devices -= 0 if subscription.asked is None else subscription.asked.count
            self.index.release_term(subscription.term)
        vfast_invariant(self.count >= 0)
        vfast_invariant(self.devices >= 0)
        return NoResult.OK

    cdef Py_ssize_t cost_of(self, int channel, DeviceSet asked, Py_ssize_t *replaced) except -1:
        """Return how many device ids the subscriptions that (channel, asked) would replace have; count them."""
        cdef Subscription subscription
        cdef Py_ssize_t devices = 0
        replaced[0] = 0
        if self._channels[channel] is None:
            return 0
        for subscription in self.of(channel).subscriptions:
            if subscription.implicit or is_same(subscription.asked, asked):
                replaced[0] += 1
                devices += 0 if subscription.asked is None else subscription.asked.count
        return devices

    cdef Subscription subscribe(self, int channel, Selection selection, bint implicit):
        """Add a subscription in place of those with the same channel and devices, and of the implicit one.

        The caller has checked the limits, and that the scope covers some of it. TooManyNamesError at the index's
        bound, and then nothing has changed.
        """
        cdef Subscription subscription = Subscription.__new__(Subscription)
        cdef Subscription other
        cdef ChannelTable table
        cdef Change change = None
        cdef frozenset scope = scope_of(channel, self.grant)
        cdef list kept, ended = []
        subscription.channel = channel
        subscription.asked = selection.devices
        subscription.implicit = implicit
        subscription.frequency = selection.frequency
        subscription.term = self.index.acquire_term(channel, selection.first, selection.second,
                                                    self.in_force(channel, selection.frequency).key(),
                                                    selection.recovers)
        try:
            table = self.of(channel)
            change = Change.__new__(Change, table)
            for other in table.subscriptions:
                if other.implicit or is_same(other.asked, subscription.asked):
                    ended.append(other)
                    self.shift(change, other, other.asked, scope, False)
            self.shift(change, subscription, subscription.asked, scope, True)
            self.resolve(table, change)
            kept = table.subscriptions if not ended else [other for other in table.subscriptions if other not in ended]
            kept.append(subscription)
        except BaseException:
            if change is not None:
                self.undo(channel, change)
            self.index.release_term(subscription.term)
            raise
        self.count += 1
        self.devices += 0 if subscription.asked is None else subscription.asked.count
        try:
            self.apply(channel, change)
        finally:
            self.end(table, ended, kept)
        return subscription

    cdef bint unsubscribe(self, int channel, DeviceSet devices) except -1:
        """End all subscriptions of a channel, or take devices out of those that name them; say whether any did.

        A subscription that is left without devices ends; those to all devices stay.
        """
        cdef Subscription subscription
        cdef ChannelTable table = self._channels[channel]
        cdef Change change
        cdef DeviceSet gone, left
        cdef frozenset scope = scope_of(channel, self.grant)
        cdef list ended = [], narrowed = [], kept = []
        if table is None:
            return False
        change = Change.__new__(Change, table)
        try:
            for subscription in table.subscriptions:
                if devices is None:
                    self.shift(change, subscription, subscription.asked, scope, False)
                    ended.append(subscription)
                elif subscription.asked is not None:
                    gone = subscription.asked.sifted(devices, True)
                    if gone.count:
                        self.shift(change, subscription, gone, scope, False)
                    if gone.count == subscription.asked.count:
                        ended.append(subscription)
                        continue
                    kept.append(subscription)
                    if gone.count:
                        narrowed.append((subscription, subscription.asked.sifted(devices, False)))
                else:
                    kept.append(subscription)
            self.resolve(table, change)
        except BaseException:
            self.undo(channel, change)
            raise
        for subscription, left in narrowed:
            self.devices -= subscription.asked.count - left.count
            subscription.asked = left
        try:
            self.apply(channel, change)
        finally:
            self.end(table, ended, kept)
        if not table.subscriptions:
            vfast_invariant(table.posted is None)
            vfast_invariant(table.devices.count == 0)
            self._channels[channel] = None
        return len(narrowed) > 0 or len(ended) > 0

    cdef list apply_grant(self, Grant grant):
        """Apply a new scope to what there is; return (channel, devices) of each subscription that it ends.

        devices is None where the whole channel went or all devices had been asked for.
        """
        cdef list lost = []
        cdef int channel
        for channel in range(CHANNEL_COUNT):
            if self._channels[channel] is not None:
                self.apply_grant_to(channel, grant, lost)
        self.grant = grant
        return lost

    cdef NoResult apply_grant_to(self, int channel, Grant grant, list lost) except NoResult.EXC:
        """Apply a new scope to a channel; append what it ends to `lost`."""
        cdef ChannelTable table = self.of(channel)
        cdef Change change = Change.__new__(Change, table)
        cdef Subscription subscription
        cdef Term term
        cdef frozenset scope = scope_of(channel, self.grant)
        cdef list ended = [], renewed = [], kept = []
        change.anew = True
        try:
            for subscription in table.subscriptions:
                self.shift(change, subscription, subscription.asked, scope, False)
                if not (grant.channels >> channel) & 1:
                    ended.append(subscription)
                    if not lost or lost[len(lost) - 1] != (channel, None):
                        lost.append((channel, None))
                elif channel != Channel.SYSTEM and grant.devices is not None and (
                        not grant.devices if subscription.asked is None
                        else grant.devices.isdisjoint(subscription.asked.ids())):
                    ended.append(subscription)
                    lost.append((channel, None if subscription.asked is None else subscription.asked.ids()))
                else:
                    term = subscription.term
                    key = self.allowed(channel, subscription.frequency, grant).key()
                    if key != term.key[3]:
                        subscription.term = self.index.acquire_term(channel, term.key[1], term.key[2], key,
                                                                    term.recovers)
                        renewed.append((subscription, term))
                    kept.append(subscription)
                    self.shift(change, subscription, subscription.asked, scope_of(channel, grant), True)
            self.resolve(table, change)
        except BaseException:
            self.undo(channel, change)
            for subscription, term in renewed:
                self.index.release_term(subscription.term)
                subscription.term = term
            raise
        try:
            self.apply(channel, change)
        finally:
            for _, term in renewed:
                self.index.release_term(term)
            self.end(table, ended, kept)
        return NoResult.OK

    cdef NoResult clear(self) except NoResult.EXC:
        """End everything: the connection is gone."""
        cdef int channel
        for channel in range(CHANNEL_COUNT):
            if self._channels[channel] is not None:
                self.unsubscribe(channel, None)
        return NoResult.OK
