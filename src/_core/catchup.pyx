"""Catching up; catchup.pxd has the overview."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

from .hub cimport Hub
from .index cimport Filter
from .latest cimport Cursor, LatestTable, Values
from .outbox cimport Outbox
from .publication cimport MASK_WORDS, MetricMask
from .subscriptions cimport SubscriptionTable
from .types cimport NoResult
from .wire cimport CHANNEL_COUNT, Channel

cdef enum:
    CHUNK = 1 << 16                 # bytes that are put into the queue at a time
    MAX_VISITS = 4096               # devices that are looked at at a time
    ENTRY_COST = 200                # bytes of an entry of `since` and `pending`, roughly


@cython.final
cdef class CatchUp:
    """What a connection is still to get; made by its Feed, once it first gets behind."""

    def __cinit__(self, Hub hub, Outbox outbox, SubscriptionTable table):
        self.hub = hub
        self.outbox = outbox
        self.table = table
        self.cursors = [None] * CHANNEL_COUNT
        self.since = {}
        self.pending = []
        self.due = set()

    cdef Cursor follow(self, int channel):
        """Keep a channel's values back from now on; return the cursor."""
        cdef Cursor cursor = self.cursors[channel]
        if cursor is not None:
            return cursor
        cursor = Cursor.__new__(Cursor)
        cursor.owner = self.outbox
        cursor.floor = cursor.began = self.hub.history_of(channel).last
        self.hub.table_of(channel).place(cursor, True, cursor.began)
        self.cursors[channel] = cursor
        if channel != Channel.DEVICES:
            self.outbox.queue.withheld |= 1 << channel
        if not self.outbox.behind:
            self.outbox.behind = True
            self.hub.behind += 1
        return cursor

    cdef NoResult begin(self) except NoResult.EXC:
        """The reader has got behind."""
        self.follow(Channel.TELEMETRY)
        self.follow(Channel.SYSTEM)
        return NoResult.OK

    cdef NoResult add_snapshot(self, int channel, frozenset devices) except NoResult.EXC:
        """Have everything of these devices sent that the connection asks for; None: of all, and of the system."""
        cdef LatestTable table = self.hub.table_of(channel)
        cdef Cursor cursor
        cdef Values values
        if table is None:
            return NoResult.OK
        cursor = self.follow(channel)
        if devices is None:
            cursor.floor = 0
            for values in self.since:
                if values.channel == channel:
                    self.since[values] = 0
            table.place(cursor, False, 0)
            return NoResult.OK
        for device in devices:
            values = table.find(device)
            if values is not None:
                self.since[values] = 0
                self.pending.append(values)
        self.count_memory()
        return NoResult.OK

    cdef NoResult owe(self, Values values, uint64_t since) except NoResult.EXC:
        """Note that everything of a device after an offset is to be sent."""
        cdef Cursor cursor = self.cursors[values.channel]
        if since >= cursor.floor:
            return NoResult.OK
        self.due.add(values)
        known = self.since.get(values)
        if known is None or <uint64_t>known > since:
            self.since[values] = since
            self.pending.append(values)
            self.count_memory()
        return NoResult.OK

    cdef NoResult forgotten(self, Values values) except NoResult.EXC:
        """Send what is owed of a device now, or for want of knowing that it has been sent, again."""
        cdef Cursor cursor = self.cursors[values.channel]
        if values.offset > cursor.place or values in self.since:
            self.since[values] = self.since.get(values, cursor.floor)
            self.serve(values, cursor)
            self.count_memory()
        return NoResult.OK

    cdef bint step(self) except -1:
        """Put as much into the queue as is good at a time; say whether that was all."""
        cdef Cursor cursor
        cdef Values values
        cdef int channel
        cdef Py_ssize_t visits = 0
        while self.next_pending < len(self.pending):
            if self.outbox.queue.bytes >= CHUNK or self.outbox.queue.blocked:
                return False
            values = self.pending[self.next_pending]
            self.next_pending += 1
            self.serve(values, self.cursors[values.channel])
        for channel in range(CHANNEL_COUNT):
            cursor = self.cursors[channel]
            if cursor is None:
                continue
            values = self.hub.table_of(channel).step(cursor)
            while values is not None:
                self.serve(values, cursor)
                visits += 1
                if self.outbox.queue.bytes >= CHUNK or self.outbox.queue.blocked or visits >= MAX_VISITS:
                    return False
                values = self.hub.table_of(channel).step(cursor)
        return True

    cdef NoResult serve(self, Values values, Cursor cursor) except NoResult.EXC:
        """Send what the connection is owed of a device."""
        cdef Filter wanted = self.table.filter_at(values.channel, values.device)
        cdef MetricMask mask
        cdef uint64_t any_bit = 0
        cdef int w
        cdef bytes frame
        since = self.since.get(values)
        if since is not None:
            self.since[values] = values.offset
        # A live status went out when it came.
        if wanted is None or (values.channel == Channel.DEVICES and values.offset > cursor.began):
            return NoResult.OK
        self.hub.index.wanted(wanted, values, &mask)
        values.since(cursor.floor if since is None else <uint64_t>since, &mask)
        for w in range(MASK_WORDS):
            any_bit |= mask.words[w]
        if not any_bit:
            return NoResult.OK
        frame = values.encoded(&mask)
        self.outbox.push(frame)
        self.hub.counters[values.channel].deliveries += 1
        self.hub.counters[values.channel].bytes += PyBytes_GET_SIZE(frame)
        if values.offset > cursor.began or values in self.due:
            self.due.discard(values)
            self.hub.counters[values.channel].caught_up += 1
            self.replaced += 1
        return NoResult.OK

    cdef uint64_t outstanding(self) noexcept:
        """Return how many frames may still go out in the place of what has been kept back so far, at most."""
        cdef Cursor cursor
        cdef uint64_t frames = 0
        cdef int channel
        for channel in range(CHANNEL_COUNT):
            cursor = self.cursors[channel]
            if cursor is not None:
                frames += len(self.hub.table_of(channel)._values)
        return frames

    cdef NoResult end(self) except NoResult.EXC:
        """Nothing is left, or nothing can be sent any more: what comes goes out live again."""
        cdef Cursor cursor
        cdef int channel
        for channel in range(CHANNEL_COUNT):
            cursor = self.cursors[channel]
            if cursor is not None:
                self.cursors[channel] = None
                self.hub.table_of(channel).displace(cursor)
        self.since.clear()
        self.pending.clear()
        self.due.clear()
        self.next_pending = 0
        self.count_memory()
        self.outbox.queue.withheld = 0
        if self.outbox.behind:
            self.outbox.behind = False
            self.hub.behind -= 1
        return NoResult.OK

    cdef void count_memory(self) noexcept:
        """Have what is noted here counted with what waits for the connection."""
        self.outbox.noted_bytes = len(self.since) * ENTRY_COST
        if self.outbox.queue.blocked:
            self.outbox.recount()
