"""The newest value of each metric of each device: what a subscription that is not real-time is served from.

    device -> Values    positions: name -> i      (a list like any parallel list: [temperature | humidity | ...])
                        pieces[i]                 b'"temperature":{...}', as the publication serialised it
                        metrics[i]                offset of the publication that it came with, in its channel; its value
                                                  where that is a number, else NaN (for deadbands)

Who has got everything up to offset n is owed the pieces with a higher one: trailing flushes of a frequency, what a slow
reader has missed, and a snapshot (n = 0) are the same question. Events that have a newest state (a device's status) are
a table of Values with one piece, which is the whole message.

The table's values stand in a list, from the longest silent to the newest, and so does the place up to which a reader
that is behind has everything:

    [ Values | Values | Cursor | Values | Values | Values ]
      longest silent      └─ owed to it: these, as far as they are newer than its floor

What is published meanwhile moves to the end: it costs the reader nothing, and nobody else anything.

Bounded in bytes; the device that has been silent longest goes first, and who is to be served from it has to be before.
So it is with the metrics of a device that has more of them than a MetricMask holds.
"""
from libc.stdint cimport uint32_t, uint64_t

from .publication cimport MetricMask, Publication
from .types cimport NoResult

cimport cython


cdef struct Metric:
    uint64_t offset
    double number
    uint32_t serial                 # of the metric that has this place; a device with too many of them gives it on


# A place in the table's list. Neighbours are borrowed: the table's dict owns Values, its `cursors` Cursors.
cdef class Node:
    cdef:
        void *older
        void *newer
        bint is_cursor


@cython.final
cdef class Cursor(Node):
    cdef:
        object owner                    # the Outbox
        uint64_t floor                  # offset up to which it had everything when it began
        bint from_start                 # a snapshot of everything: floor is 0
        uint64_t place                  # offset of the values that it stands behind; 0: it is in front of everything
        # Offset at which it got behind, or its subscriptions last changed: what came later, and they match, was kept
        # back.
        uint64_t began


@cython.final
cdef class Values(Node):
    cdef:
        int channel
        readonly object device          # canonical id; None: the system
        uint32_t slot                   # a small number of its own while the table has it
        bytes head                      # of its messages, around the pieces
        bytes tail
        readonly uint64_t offset        # of the newest publication
        uint32_t count
        uint32_t capacity
        dict positions
        list names
        list pieces
        Metric *metrics
        uint32_t serials
        str state                       # events: the name that filters look at
        double received_at              # monotonic seconds
        Py_ssize_t nbytes
        list served                     # Throttles that are to be served from it; None: there were none yet
        # The frame that was put together last, and of which pieces.
        bytes frame
        MetricMask framed

    cdef NoResult reserve(self, uint32_t capacity) except NoResult.EXC
    # Metrics that a publication takes the places of.
    cdef bint displaced_by(self, Publication publication, MetricMask *mask) except -1
    cdef uint32_t position_of(self, str name) except? 0xFFFFFFFF
    cdef void since(self, uint64_t offset, MetricMask *mask) noexcept
    cdef bytes encoded(self, const MetricMask *mask)


@cython.final
cdef class LatestTable:
    cdef:
        readonly Py_ssize_t limit       # bytes; 0: no bound
        readonly Py_ssize_t nbytes
        readonly uint64_t evicted
        dict _values
        uint32_t slots                  # that have been given to values so far; those of `_free` are free again
        list _free
        readonly dict cursors           # Cursor -> None: a set in order
        void *_oldest
        void *_newest

    cdef Values values_of(self, Publication publication, uint64_t offset, double now)
    cdef Values store(self, Publication publication, uint64_t offset, double now)
    cdef Values store_event(self, Publication publication, uint64_t offset, double now)
    cdef Values find(self, object device)
    cdef Values excess(self, Values kept)
    cdef NoResult remove(self, Values values) except NoResult.EXC
    cdef NoResult place(self, Cursor cursor, bint at_end, uint64_t offset) except NoResult.EXC
    cdef NoResult displace(self, Cursor cursor) except NoResult.EXC
    cdef Values step(self, Cursor cursor)
    cdef void unlink(self, Node node) noexcept
    cdef void insert(self, Node node, void *older) noexcept
