"""The hub: publish: index -> projection -> frames -> queues.

Python is crossed once a publication. Fanout is the half below: connections, queues, counters.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from .bitset cimport SlotSet
from .fanout cimport Fanout
from .index cimport Index, Probe
from .latest cimport Values
from .pacer cimport Pacer
from .posting cimport Posting
from .publication cimport MetricMask, Publication
from .types cimport NoResult
from .wire cimport CHANNEL_COUNT

cimport cython


cdef enum:
    SEARCHED_VARIANTS = 16          # projections of one publication that are looked through before a table is used


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
        bint _publishing                # below is the publication at hand: there is one at a time
        readonly Pacer pacer
        readonly list latest            # channel -> LatestTable, None: events
        uint64_t offsets[CHANNEL_COUNT]  # of the channel's last publication
        # The frames of the publication at hand by projection.
        MetricMask _masks[SEARCHED_VARIANTS]
        list _frames
        dict _more_frames
        Plan *_plans
        Py_ssize_t _planned
        Py_ssize_t _plans_capacity
        public Py_ssize_t max_payload   # bytes of an encoded publication; 0: no bound

    cdef NoResult check_size(self, Py_ssize_t size) except NoResult.EXC
    cdef bytes frame_for(self, Publication publication, const MetricMask *mask)
    cdef NoResult plan(self, Publication publication, Posting posting, const Probe *probe) except NoResult.EXC
    cdef Values store(self, Publication publication, double now)
    cdef uint64_t publish_publication(self, Publication publication, double now) except? 0xFFFFFFFFFFFFFFFF
