"""Catching up: what a connection is still to get of the newest values and states.

A connection gets behind in two ways. Its reader is slow, and more waits for it than `queue.mark`: from then on
telemetry and system values are kept back, and sent newest per device and metric whenever its queue is empty
(protocol.md, section 6). Or it has asked for a snapshot, which is the same from offset 0 on (section 3).

    cursors    channel -> Cursor: all values that stand behind it in the table, as far as newer than its floor
    since      slot of Values -> offset + 1: where that is not the floor, as after it was sent; 0: the floor
    pending    Values that may stand in front of the cursor: a snapshot of named devices, what was due at a frequency
    kept       Values of which something was kept back that `began` does not tell: it was due at a frequency, or came
               before the subscriptions changed

What it asks for is looked up when it is sent, so that no filter, scope or end of a subscription has to be followed up.
While anything is left, the values of the channel are kept back: nothing overtakes what is older. Events are not; the
newest status of a device may follow a live one of another device.
"""
from libc.stdint cimport uint32_t, uint64_t

from .hub cimport Hub
from .latest cimport Cursor, Values
from .outbox cimport Outbox
from .publication cimport MetricMask
from .subscriptions cimport SubscriptionTable
from .types cimport NoResult
from .wire cimport CHANNEL_COUNT

cimport cython


@cython.final
cdef class CatchUp:
    cdef:
        Hub hub
        Outbox outbox
        SubscriptionTable table
        list cursors
        uint64_t *since[CHANNEL_COUNT]
        uint32_t known[CHANNEL_COUNT]   # length of `since`
        list pending                    # from next_pending on
        Py_ssize_t next_pending
        set waiting                     # the same; who is not in it has been served ahead of its turn
        set kept
        uint64_t replaced               # frames that went out in the place of messages that were kept back

    cdef Cursor follow(self, int channel)
    cdef NoResult begin(self) except NoResult.EXC
    cdef NoResult add_snapshot(self, int channel, list devices) except NoResult.EXC
    cdef NoResult owe(self, Values values, uint64_t since) except NoResult.EXC
    cdef NoResult settle(self, int channel) except NoResult.EXC
    cdef NoResult forgotten(self, Values values, const MetricMask *metrics) except NoResult.EXC
    cdef bint step(self) except -1
    cdef NoResult wait(self, Values values) except NoResult.EXC
    cdef bint owed(self, Values values, Cursor cursor, bint asked, MetricMask *mask) except -1
    cdef bint was_kept_back(self, Values values, Cursor cursor, const MetricMask *mask) except -1
    cdef uint64_t noted(self, Values values) noexcept
    cdef NoResult note(self, Values values, uint64_t since) except NoResult.EXC
    cdef NoResult serve(self, Values values, Cursor cursor, bint asked) except NoResult.EXC
    cdef uint64_t outstanding(self) noexcept
    cdef NoResult end(self) except NoResult.EXC
    cdef void count_memory(self) noexcept
