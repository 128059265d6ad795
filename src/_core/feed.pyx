"""A client's feed; feed.pxd has the overview."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

from .bucket cimport bucket_fill, bucket_give_back, bucket_take_many
from .catchup cimport CatchUp
from .client cimport WISH_NOTICES, Client
from .clock cimport monotonic_seconds
from .commands cimport Selection
from .connection cimport STATE_OPEN
from .coverage cimport Subscription
from .latest cimport Values
from .publication cimport MetricMask
from .queue cimport MAX_BYTES
from .replay cimport cost_of_replay, replayed
from .scope cimport Grant
from .subscriptions cimport SubscriptionTable
from .types cimport NoResult, vfast_guard
from .wire cimport CHANNEL_COUNT

from .lanes import lanes_in as _lanes_in
from .wire import CHANNEL_NAMES as _CHANNEL_NAMES

cdef enum:
    NOTICE_EVERY = 1                # seconds between two notices of conflation, while it goes on
    REPLAY_BURST = 10               # seconds' worth of `limits.replayed_messages` that may be replayed at once

cdef dict NAME_OF_CHANNEL = _CHANNEL_NAMES


cdef class Feed(Client):
    """What a client is subscribed to, and what it is still to get of that; arguments as for Client."""

    # From the connection.

    cdef NoResult on_open(self, double now) except NoResult.EXC:
        self.table = SubscriptionTable.__new__(SubscriptionTable)
        self.table.index = self.hub.index
        self.table.fanout = self.hub
        self.table.slot = self.slot
        self.table.floor = self.limits.min_interval
        bucket_fill(&self.replays, REPLAY_BURST * self.limits.replayed_messages, now)
        return Client.on_open(self, now)

    cdef NoResult on_closed(self) except NoResult.EXC:
        if self.catch_up is not None:
            self.catch_up.end()
        self.table.clear()
        return Client.on_closed(self)

    cdef list on_grant(self, Grant grant):
        """Apply a token's scope to what there is (protocol.md, section 2)."""
        cdef list messages = []
        cdef int channel
        if self.grant is None:
            self.table.grant = grant
            return messages
        for channel in range(CHANNEL_COUNT):
            self.before_change(channel)
        for lost, devices in self.table.apply_grant(grant):
            message = {"type": "unsubscribed", "channel": NAME_OF_CHANNEL[lost], "reason": "permission_revoked"}
            if devices is not None:
                message["device_id"] = sorted(devices, key=str)
            messages.append(message)
        return messages

    # Getting behind, and catching up.

    cdef CatchUp catching_up(self):
        if self.catch_up is None:
            self.catch_up = CatchUp.__new__(CatchUp, self.hub, self, self.table)
        return self.catch_up

    cdef NoResult before_change(self, int channel) except NoResult.EXC:
        """Subscriptions of a channel, or what the token permits of them, are about to change."""
        return self.catch_up.settle(channel) if self.behind else NoResult.OK

    cdef NoResult on_behind(self) except NoResult.EXC:
        return self.catching_up().begin()

    cdef NoResult on_owed(self, object values, uint64_t since) except NoResult.EXC:
        return self.catch_up.owe(<Values>values, since)

    cdef NoResult on_forgotten(self, object values, const MetricMask *metrics) except NoResult.EXC:
        return self.catch_up.forgotten(<Values>values, metrics)

    cdef NoResult on_room(self) except NoResult.EXC:
        cdef bint done
        if self.queue.shut or self.state != STATE_OPEN:
            return self.catch_up.end()
        done = self.catch_up.step()
        if done:
            self.catch_up.end()
        if self.wishes & WISH_NOTICES:
            self.notify(done)
        if not done and self.queue.head == self.queue.tail:     # there was nothing for it in so many devices
            return self.mark()
        return NoResult.OK

    cdef NoResult notify(self, bint now) except NoResult.EXC:
        """Tell how many messages were conflated since the last time, now or not more often than is good.

        Never too many: what is still to be sent in the place of some of them is not conflated.
        """
        cdef uint64_t conflated = self.queue.kept_back - self.catch_up.replaced
        cdef double time = monotonic_seconds()
        conflated -= min(conflated, self.catch_up.outstanding())
        if conflated > self.conflated_told and (now or time >= self.notified_at + NOTICE_EVERY):
            self.answer({"type": "notice", "code": "conflated", "count": conflated - self.conflated_told}, None)
            self.conflated_told = conflated
            self.notified_at = time
        return NoResult.OK

    cdef NoResult send_snapshot(self, Subscription subscription) except NoResult.EXC:
        """Send the newest values of all that a subscription covers, ahead of what comes."""
        self.catching_up().add_snapshot(subscription.channel, self.table.covered(subscription))
        if self.behind and not self.queue.blocked:
            return self.on_room()
        return NoResult.OK

    # Recovery.

    cdef dict position(self, int channel, Selection selection, bint recovered):
        """Return where a client stands that has got no more than the answer, as it gives it back in `since`.

        The connection may be lost before what follows has come: ahead of a replay it stands where it did, and ahead of
        a snapshot nowhere.
        """
        cdef uint64_t offset = self.hub.history_of(channel).last
        if recovered:
            offset = selection.offset
        elif (selection.snapshot or selection.epoch is not None) and self.hub.table_of(channel) is not None:
            offset = 0
        return {"epoch": self.hub.epoch, "offset": offset}

    cdef list missed(self, Subscription subscription, Selection selection, double now):
        """Return the frames of what a client has missed; None: it has not asked, or it can't be told.

        They take no more than half of the room in the queue: the answer comes before them, and more behind them. Nor
        more than the client's share of the server's time: a command of 100 bytes could ask for megabytes.
        """
        cdef uint64_t room = (self.queue.limit - min(self.queue.bytes, self.queue.limit)) // 2
        cdef double rate = self.limits.replayed_messages, burst = REPLAY_BURST * rate, most, cost = 0
        cdef list frames
        if selection.epoch is None or self.queue.withheld & (1 << subscription.channel):
            return None
        most = min(cost_of_replay(self.hub, subscription.channel, selection), burst)
        if vfast_guard(b"feed.replays", not bucket_take_many(&self.replays, most, rate, burst, now)):
            return None
        frames = replayed(self.hub, self.table, subscription, selection, <Py_ssize_t>min(room, <uint64_t>MAX_BYTES),
                          now, &cost)
        if rate > 0:
            bucket_give_back(&self.replays, max(0, most - cost))
        return frames

    cdef bint must_follow(self, int channel, Selection selection, frozenset denied) except -1:
        """Say whether a subscription has to wait for the log, and have the host see to it.

        This node may not follow its lanes yet, or may not have come as far in the log as the client has.
        """
        cdef object devices = self.grant.devices
        cdef uint64_t partitions
        cdef bint ahead = selection.epoch == self.hub.epoch and selection.offset > self.hub.history_of(channel).last
        if selection.devices is not None:
            devices = [device for device in selection.device_order if device not in denied]
        partitions = self.hub.lanes.partitions_of(channel, devices)
        if not partitions & ~self.hub.lanes.followed[channel] and not ahead:
            return False
        self.host.follow(self, _lanes_in(channel, partitions), selection.offset if ahead else 0)
        return True

    cdef NoResult push_missed(self, int channel, list frames) except NoResult.EXC:
        """Queue what was missed."""
        cdef bytes frame
        for frame in frames:
            self.push(frame)
            if self.hub.sampler is not None:
                self.hub.sampler.sent(self, channel, PyBytes_GET_SIZE(frame))
        return NoResult.OK

    cdef NoResult on_missed(self, int channel, uint64_t partitions) except NoResult.EXC:
        """Tell that something of these partitions (a bit each) was missed, and send the newest values again."""
        cdef Subscription subscription
        cdef list touched = []
        cdef bint told = False
        if self.grant is None or self.state != STATE_OPEN:
            return NoResult.OK
        for subscription in self.table.of_channel(channel):
            if self.hub.lanes.partitions_of(channel, self.table.covered(subscription)) & partitions:
                touched.append(subscription)
                told |= subscription.term.recovers
        if told:
            # It overtakes what is queued, and the snapshot comes behind: who is lost in between has neither.
            self.answer({"type": "resync", "channel": NAME_OF_CHANNEL[channel],
                         "position": {"epoch": self.hub.epoch, "offset": 0}}, None)
        if touched:
            self.before_change(channel)
        for subscription in touched:
            self.send_snapshot(subscription)
        return NoResult.OK

    # For the server.

    @property
    def subscription_count(self):
        """How many subscriptions the connection has."""
        return 0 if self.table is None else self.table.count

    @property
    def conflated(self):
        """Messages that newer ones have taken the place of, because the connection was behind."""
        return self.queue.kept_back - (0 if self.catch_up is None else self.catch_up.replaced)
