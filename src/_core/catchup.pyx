"""Catching up; catchup.pxd has the overview."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from .hub cimport Hub
from .index cimport Filter
from .latest cimport Cursor, LatestTable, Node, Values
from .outbox cimport Outbox
from .publication cimport MetricMask, have_common, mask_any, mask_has
from .subscriptions cimport SubscriptionTable
from .throttle cimport is_throttled
from .types cimport NoResult
from .wire cimport CHANNEL_COUNT, Channel

cdef enum:
    CHUNK = 1 << 16                 # bytes that are put into the queue at a time
    MAX_VISITS = 4096               # devices that are looked at at a time
    ENTRY_COST = 200                # bytes of an entry of `kept`, roughly
    SPARE = 64                      # devices that are still to come, for which room is made in `since`


@cython.final
cdef class CatchUp:
    """What a connection is still to get; made by its Feed, once it first gets behind."""

    def __cinit__(self, Hub hub, Outbox outbox, SubscriptionTable table):
        self.hub = hub
        self.outbox = outbox
        self.table = table
        self.cursors = [None] * CHANNEL_COUNT
        self.pending = []
        self.waiting = set()
        self.kept = set()

    def __dealloc__(self):
        cdef int channel
        for channel in range(CHANNEL_COUNT):
            free(self.since[channel])

    cdef Cursor follow(self, int channel):
        """Keep a channel's values back from now on; return the cursor."""
        cdef Cursor cursor = self.cursors[channel]
        if cursor is not None:
            return cursor
        cursor = Cursor.__new__(Cursor)
        cursor.owner = self.outbox
        cursor.floor = cursor.began = self.hub.taken[channel]
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

    cdef NoResult add_snapshot(self, int channel, list devices) except NoResult.EXC:
        """Have everything of these devices sent that the connection asks for; None: of all, and of the system."""
        cdef LatestTable table = self.hub.table_of(channel)
        cdef Cursor cursor
        cdef Values values
        if table is None:
            return NoResult.OK
        cursor = self.follow(channel)
        cursor.began = self.hub.taken[channel]        # settle() has been called
        if devices is None:
            cursor.floor = 0
            cursor.from_start = True
            if self.known[channel]:
                memset(self.since[channel], 0, self.known[channel] * sizeof(uint64_t))
            table.place(cursor, False, 0)
            return NoResult.OK
        for device in devices:
            values = table.find(device)
            if values is not None:
                self.note(values, 0)
                self.wait(values)
        self.count_memory()
        return NoResult.OK

    cdef NoResult owe(self, Values values, uint64_t since) except NoResult.EXC:
        """Note that everything of a device after an offset is due, and is being kept back."""
        cdef Cursor cursor = self.cursors[values.channel]
        cdef uint64_t noted = self.noted(values)
        if noted:
            since = min(since, noted - 1)
        elif cursor.from_start:
            since = 0
        self.note(values, since)
        self.kept.add(values)
        self.wait(values)
        self.count_memory()
        return NoResult.OK

    cdef NoResult settle(self, int channel) except NoResult.EXC:
        """Note what was kept back under the subscriptions as they are, for they are about to change.

        What they do not ask for of what has come meanwhile will not be sent for others that do.
        """
        cdef Cursor cursor = self.cursors[channel]
        cdef MetricMask mask
        cdef void *node
        cdef Values values
        if cursor is None or channel == Channel.DEVICES:        # nothing is kept back of those
            return NoResult.OK
        node = self.hub.table_of(channel)._newest
        while node != NULL and ((<Node>node).is_cursor or (<Values>node).offset > cursor.began):
            if not (<Node>node).is_cursor:
                values = <Values>node
                if self.owed(values, cursor, values in self.waiting, &mask):
                    if self.was_kept_back(values, cursor, &mask):
                        self.kept.add(values)
                elif values not in self.kept:
                    self.note(values, values.offset)
            node = (<Node>node).older
        cursor.began = self.hub.taken[channel]
        self.count_memory()
        return NoResult.OK

    cdef NoResult forgotten(self, Values values, const MetricMask *metrics) except NoResult.EXC:
        """Send what is owed of a device now, for some of its metrics are about to go; NULL: all."""
        cdef Cursor cursor = self.cursors[values.channel]
        cdef MetricMask mask
        cdef bint asked = values in self.waiting
        if values.offset > cursor.place or self.noted(values):
            if metrics == NULL or (self.owed(values, cursor, asked, &mask) and have_common(&mask, metrics)):
                self.serve(values, cursor, asked)
        if metrics == NULL:
            if values.slot < self.known[values.channel]:
                self.since[values.channel][values.slot] = 0     # another device will have it
            self.kept.discard(values)
            self.waiting.discard(values)
        self.count_memory()
        return NoResult.OK

    cdef bint step(self) except -1:
        """Put as much into the queue as is good at a time; say whether that was all."""
        cdef Cursor cursor
        cdef Values values
        cdef int channel
        cdef Py_ssize_t visits = 0
        cdef uint64_t chunk = min(<uint64_t>CHUNK, self.outbox.queue.mark // 2)
        while self.next_pending < len(self.pending):
            if self.outbox.queue.bytes >= chunk or self.outbox.queue.blocked:
                return False
            values = self.pending[self.next_pending]
            self.next_pending += 1
            if values in self.waiting:
                self.serve(values, self.cursors[values.channel], True)
        self.pending.clear()
        self.next_pending = 0
        for channel in range(CHANNEL_COUNT):
            cursor = self.cursors[channel]
            if cursor is None:
                continue
            values = self.hub.table_of(channel).step(cursor)
            while values is not None:
                self.serve(values, cursor, False)
                visits += 1
                if self.outbox.queue.bytes >= chunk or self.outbox.queue.blocked or visits >= MAX_VISITS:
                    return False
                values = self.hub.table_of(channel).step(cursor)
        return True

    cdef NoResult wait(self, Values values) except NoResult.EXC:
        if values not in self.waiting:
            self.waiting.add(values)
            self.pending.append(values)
        return NoResult.OK

    cdef bint owed(self, Values values, Cursor cursor, bint asked, MetricMask *mask) except -1:
        """Set the mask to what the connection is owed of a device now; say whether it is anything.

        asked: it was in a snapshot or due, and is not just what has changed.
        """
        cdef Filter wanted = self.table.filter_at(values.channel, values.device)
        cdef uint64_t noted = self.noted(values)
        # A live status went out when it came.
        if wanted is None or (values.channel == Channel.DEVICES and values.offset > cursor.began):
            return False
        # At a frequency only what is due, or part of a snapshot.
        if is_throttled(&wanted.pace) and not (asked or values in self.kept or (cursor.from_start and not noted)):
            return False
        self.hub.index.wanted(wanted, values, mask)
        values.since(noted - 1 if noted else cursor.floor, mask)
        return mask_any(mask)

    cdef bint was_kept_back(self, Values values, Cursor cursor, const MetricMask *mask) except -1:
        """Say whether a message was kept back that had one of these metrics, which the connection is owed."""
        cdef uint32_t i
        if values in self.kept:
            return True
        if is_throttled(&self.table.filter_at(values.channel, values.device).pace):
            return False
        for i in range(values.count):
            if mask_has(mask, i) and values.metrics[i].offset > cursor.began:
                return True
        return False

    cdef uint64_t noted(self, Values values) noexcept:
        """Return what is noted in `since` for a device."""
        return self.since[values.channel][values.slot] if values.slot < self.known[values.channel] else 0

    cdef NoResult note(self, Values values, uint64_t since) except NoResult.EXC:
        """Note after which offset a device's values are owed."""
        cdef int channel = values.channel
        cdef uint32_t known = self.hub.table_of(channel).slots + SPARE
        cdef uint64_t *memory
        if values.slot >= self.known[channel]:
            memory = <uint64_t *>realloc(self.since[channel], known * sizeof(uint64_t))
            if memory == NULL:
                raise MemoryError
            memset(memory + self.known[channel], 0, (known - self.known[channel]) * sizeof(uint64_t))
            self.since[channel] = memory
            self.known[channel] = known
        self.since[channel][values.slot] = since + 1
        return NoResult.OK

    cdef NoResult serve(self, Values values, Cursor cursor, bint asked) except NoResult.EXC:
        """Send what the connection is owed of a device."""
        cdef MetricMask mask
        cdef bytes frame
        cdef bint owed = self.owed(values, cursor, asked, &mask)
        cdef bint kept_back
        self.waiting.discard(values)
        if not owed or self.outbox.queue.shut or self.outbox.queue.overflowed:
            return NoResult.OK
        frame = values.encoded(&mask)
        self.outbox.push(frame)
        if self.hub.sampler is not None:
            self.hub.sampler.sent(self.outbox, values.channel, PyBytes_GET_SIZE(frame))
        self.hub.counters[values.channel].deliveries += 1
        self.hub.counters[values.channel].bytes += PyBytes_GET_SIZE(frame)
        kept_back = self.was_kept_back(values, cursor, &mask)
        if kept_back:
            self.kept.discard(values)
            self.hub.counters[values.channel].caught_up += 1
            self.replaced += 1
        self.note(values, values.offset)        # so that it is not sent again with what is newer
        self.count_memory()
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
            free(self.since[channel])
            self.since[channel] = NULL
            self.known[channel] = 0
        self.pending.clear()
        self.next_pending = 0
        self.waiting.clear()
        self.kept.clear()
        self.count_memory()
        self.outbox.queue.withheld = 0
        if self.outbox.behind:
            self.outbox.behind = False
            self.hub.behind -= 1
        return NoResult.OK

    cdef void count_memory(self) noexcept:
        """Have what is noted here counted with what waits for the connection."""
        cdef int channel
        self.outbox.noted_bytes = len(self.kept) * ENTRY_COST
        for channel in range(CHANNEL_COUNT):
            self.outbox.noted_bytes += self.known[channel] * sizeof(uint64_t)
        if self.outbox.queue.blocked:
            self.outbox.recount()
