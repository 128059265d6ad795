"""The hub: connections by slot, and publish: index -> projection -> frames -> queues.

Python is crossed once a publication. What is done for a subscriber is C: walk the slot set, append a shared
frame to the connection's queue, put the connection on the turn's list if it is not there.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from .bitset cimport SlotSet
from .index cimport Index, Posting, Probe
from .outbox cimport Outbox, Turn
from .publication cimport MetricMask, Publication
from .queue cimport OutQueue
from .types cimport NoResult, slot_t
from .wheel cimport TimerWheel
from .wire cimport CHANNEL_COUNT

cimport cython


cdef enum:
    SEARCHED_VARIANTS = 16          # projections of one publication that are looked through before a table is used
    RUN = 16                        # connections whose queues are fetched from memory side by side


cdef struct ChannelCounters:
    uint64_t publications
    uint64_t matched                # subscriptions
    uint64_t deliveries             # frames queued
    uint64_t bytes                  # of those
    uint64_t received               # messages from clients that name the channel


# What a group of connections is about to get of the publication at hand.
cdef struct Plan:
    const SlotSet *slots
    PyObject *frame                 # borrowed: the hub's tables of frames own it until the publication is done
    uint32_t terms                  # subscriptions of each connection that match


@cython.final
cdef class Hub:
    cdef:
        readonly Index index
        readonly TimerWheel wheel
        readonly Turn turn
        # Connections by slot: `_outboxes` owns them while they are attached, `_queues` points into them.
        list _outboxes
        list _free
        OutQueue **_queues
        readonly uint64_t attached      # connections since the start
        uint64_t *_marks                # publication that has reached the slot already (see Posting.shadowed)
        Py_ssize_t _capacity
        uint64_t _publication
        bint _publishing                # below is the publication at hand: there is one at a time
        # The frames of the publication at hand by projection.
        MetricMask _masks[SEARCHED_VARIANTS]
        list _frames
        dict _more_frames
        Plan *_plans
        Py_ssize_t _planned
        Py_ssize_t _plans_capacity
        public Py_ssize_t max_payload   # bytes of an encoded publication; 0: no bound
        ChannelCounters counters[CHANNEL_COUNT]

    cdef NoResult reserve(self, Py_ssize_t capacity) except NoResult.EXC
    cdef slot_t attach(self, Outbox outbox) except? 0xFFFFFFFF
    cdef NoResult detach(self, slot_t slot) except NoResult.EXC
    cdef bytes frame_for(self, Publication publication, const MetricMask *mask)
    cdef NoResult plan(self, Publication publication, Posting posting, const Probe *probe) except NoResult.EXC
    cdef uint64_t deliver(self, const Plan *plan, int channel, bint mark, bint skip) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t publish_publication(self, Publication publication) except? 0xFFFFFFFFFFFFFFFF
