"""Who is connected; roster.pxd has the overview."""

cimport cython
from libc.stdint cimport uint64_t

from .clock cimport monotonic_seconds
from .connection cimport STATE_OPEN, Connection
from .coverage cimport ChannelTable
from .feed cimport Feed
from .formats cimport FORMAT_DEFLATE, FORMAT_MSGPACK
from .hub cimport Hub
from .wire cimport CHANNEL_COUNT

from .wire import CHANNEL_NAMES as _CHANNEL_NAMES

cdef double LEAST_WINDOW = 1.0      # seconds that a rate is over, at least


cpdef enum Order:
    """What connections are sorted by."""
    BY_AGE = 0                      # oldest first
    BY_QUEUE = 1                    # most bytes first
    BY_RATE = 2                     # most messages a second first


cdef double rate_of(Connection connection, double now) noexcept:
    """Return the messages a second sent in the last interval that was sampled; of one that is too new, so far."""
    if connection.sampled_at > 0:
        return connection.rate
    return connection.queue.messages_out / max(now - connection.opened_at, LEAST_WINDOW)


cdef bint is_subscribed(Feed feed, int channel):
    """Say whether the connection has a subscription to a channel."""
    cdef ChannelTable table
    if feed.table is None:
        return False
    table = <ChannelTable>feed.table._channels[channel]
    return table is not None and len(table.subscriptions) > 0


@cython.final
cdef class Roster:
    """A search for connections.

    Args:
        hub: whose.
        order: what they are sorted by.
        limit: how many are wanted; 0: all, in no order.
        user: whose they are; None: anybody's.
        address: where they come from; None: anywhere.
        channel: a Channel that they are subscribed to; -1: any or none.
        slow: only those that are behind or do not read.
        number: the one with this number; 0: all.
        after: key and number of the last one that is known already; None: there is none.
    """

    def __init__(self, Hub hub not None, *, int order=Order.BY_AGE, Py_ssize_t limit=0, str user=None,
                 str address=None, int channel=-1, bint slow=False, uint64_t number=0, tuple after=None):
        self.hub = hub
        self.order = order
        self.limit = limit
        self.user = user
        self.address = address
        self.channel = channel
        self.slow = slow
        self.number = number
        self.has_after = after is not None
        if after is not None:
            self.after_key, self.after_number = after
        self.found = []

    def work(self, double until):
        """Look at more connections, up to a time (monotonic seconds); say whether there are any left.

        One that is there from the first call to the last is looked at once, others are or are not.
        """
        cdef list outboxes = self.hub._outboxes
        cdef double now = monotonic_seconds()
        cdef Py_ssize_t end
        while self.position < len(outboxes):
            end = min(self.position + STRETCH, len(outboxes))
            while self.position < end:
                outbox = outboxes[self.position]
                self.position += 1
                if isinstance(outbox, Feed) and self.wants(<Feed>outbox):
                    self.consider(<Feed>outbox, now)
            if monotonic_seconds() >= until:
                break
        return self.position < len(outboxes)

    def page(self):
        """Return what was found, as (key, number, connection); sorted and no more than `limit`, where there is one."""
        self.prune()
        return self.found

    cdef bint wants(self, Feed feed):
        """Say whether the filters let a connection through."""
        if self.number and feed.number != self.number:
            return False
        if self.user is not None and (feed.grant is None or feed.grant.user != self.user):
            return False
        if self.address is not None and feed.address != self.address:
            return False
        if self.slow and not (feed.behind or feed.queue.blocked):
            return False
        return self.channel < 0 or is_subscribed(feed, self.channel)

    cdef double key_of(self, Feed feed, double now) noexcept:
        if self.order == Order.BY_QUEUE:
            return -<double>feed.queue.bytes
        if self.order == Order.BY_RATE:
            return -rate_of(feed, now)
        return feed.opened_at

    cdef int consider(self, Feed feed, double now) except -1:
        """Keep a connection, unless there are enough that come sooner."""
        cdef double key = self.key_of(feed, now)
        if self.has_after and (key < self.after_key or key == self.after_key and feed.number <= self.after_number):
            return 0
        if self.enough and key > self.worst:
            return 0
        self.found.append((key, feed.number, feed))
        if self.limit and len(self.found) >= 2 * self.limit + STRETCH:
            self.prune()
        return 0

    cdef int prune(self) except -1:
        """Keep those that come first."""
        if not self.limit:
            return 0
        self.found.sort()                   # by key and number; no two have the same number
        del self.found[self.limit:]
        if len(self.found) == self.limit:
            self.enough = True
            self.worst = self.found[self.limit - 1][0]
        return 0


def describe(Feed feed not None, double now):
    """Return what is told of a connection (docs/http-api.md).

    Args:
        feed: the connection.
        now: monotonic seconds.
    """
    cdef int channel
    return {
        "id": feed.number,
        "user": feed.user,
        "address": feed.address,
        "age": round(max(0.0, now - feed.opened_at), 3),
        "state": "open" if feed.state == STATE_OPEN else "closing",
        "endpoint": "all" if feed.endpoint < 0 else _CHANNEL_NAMES[feed.endpoint],
        "format": "msgpack" if feed.queue.format & FORMAT_MSGPACK else "json",
        "compression": feed.queue.format & FORMAT_DEFLATE != 0,
        "tls": feed.transport is not None and feed.transport.is_secure,
        "channels": [_CHANNEL_NAMES[channel] for channel in range(CHANNEL_COUNT) if is_subscribed(feed, channel)],
        "subscriptions": 0 if feed.table is None else feed.table.count,
        "devices": 0 if feed.table is None else feed.table.devices,
        "queued_bytes": feed.queue.bytes,
        "behind": feed.behind,
        "blocked": feed.queue.blocked != 0,
        "conflated": feed.conflated,
        "messages_sent": feed.queue.messages_out,
        "bytes_sent": feed.queue.bytes_out,
        "messages_received": feed.messages_in,
        "bytes_received": feed.bytes_in,
        "messages_per_second": round(rate_of(feed, now), 3),
    }


@cython.final
cdef class Sampler:
    """Notes how much each connection has sent, once an interval.

    Args:
        hub: whose connections.
        interval: seconds.
    """

    def __init__(self, Hub hub not None, double interval):
        self.hub = hub
        self.interval = interval

    def advance(self, double now):
        """Look at as many connections as are due since the last call; return how many that is."""
        cdef list outboxes = self.hub._outboxes
        cdef Py_ssize_t count = len(outboxes), _i, due
        if self.advanced_at > 0:
            self.owed += count * (now - self.advanced_at) / self.interval
        self.advanced_at = now
        self.owed = min(self.owed, <double>count)
        due = <Py_ssize_t>self.owed
        self.owed -= due
        for _i in range(due):
            if self.position >= count:
                self.position = 0
            outbox = outboxes[self.position]
            self.position += 1
            if isinstance(outbox, Connection):
                sample(<Connection>outbox, now)
        return due


cdef void sample(Connection connection, double now) noexcept:
    """Work out a rate since the last sample, unless that was only just taken."""
    cdef double since = connection.sampled_at if connection.sampled_at > 0 else connection.opened_at
    if now - since >= LEAST_WINDOW:
        connection.rate = (connection.queue.messages_out - connection.sampled_out) / (now - since)
        connection.sampled_out = connection.queue.messages_out
        connection.sampled_at = now
