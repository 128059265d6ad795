"""The hub: publish: index -> projection -> frames -> queues.

Python is crossed once a publication. Fanout is the half below: connections, queues, counters.

Two things are counted. `taken` is what this hub has taken in, for itself: who is behind with what. An offset is what
clients see and give back in `since`. A hub that is alone counts its offsets itself. With a log that several nodes share
(`lanes` is set) they are the log's: what is published is packed for the log (pack), and delivered once it comes back
from there (deliver), on every node that follows its lane.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from .bitset cimport SlotSet
from .fanout cimport Fanout
from .history cimport History
from .inbox cimport Budget
from .index cimport Index, Probe
from .lanes cimport Lanes
from .latest cimport LatestTable, Values
from .pacer cimport Pacer
from .posting cimport Posting
from .publication cimport MetricMask, Publication
from .types cimport NoResult
from .wire cimport CHANNEL_COUNT

cimport cython


cdef enum:
    SEARCHED_VARIANTS = 16          # projections of one publication that are looked through before a table is used


# What a connection gets of the publication at hand: which metrics, and whether with its offset.
cdef struct Projection:
    MetricMask mask
    uint64_t with_offset


# What a group of connections is about to get of the publication at hand.
cdef struct Plan:
    const SlotSet *slots
    PyObject *frame                 # borrowed: the hub's tables of frames own it; NULL: the filter has a pace
    PyObject *filter                # borrowed: the posting owns it
    uint32_t terms                  # subscriptions of each connection that match


@cython.final
cdef class Hub(Fanout):
    cdef:
        readonly Index index
        readonly Pacer pacer
        public str epoch                # of the offsets; they mean nothing in another one
        readonly Lanes lanes            # None: the hub is alone
        readonly Budget budget          # of the turn's input
        readonly list latest            # channel -> LatestTable; None: events without a newest state
        readonly list histories         # channel -> History
        uint64_t taken[CHANNEL_COUNT]   # publications
        bint _publishing                # below is the publication at hand: there is one at a time
        # Its frames by projection.
        Projection _projections[SEARCHED_VARIANTS]
        list _frames
        dict _more_frames
        Plan *_plans
        Py_ssize_t _planned
        Py_ssize_t _plans_capacity
        public Py_ssize_t max_payload   # bytes of an encoded publication; 0: no bound

    cdef LatestTable table_of(self, int channel)
    cdef History history_of(self, int channel)
    cdef bytes frame_for(self, Publication publication, const Projection *projection, uint64_t offset)
    cdef NoResult plan(self, Publication publication, Posting *posting, const Probe *probe,
                       uint64_t offset) except NoResult.EXC
    cdef NoResult forget(self, Values values, const MetricMask *metrics, double now) except NoResult.EXC
    cdef Values store(self, Publication publication, double now)
    cdef Py_ssize_t measure(self, Publication publication) except -1
    # offset 0: it has none, and is not kept for recovery.
    cdef uint64_t publish_publication(self, Publication publication, uint64_t offset,
                                      double now) except? 0xFFFFFFFFFFFFFFFF
