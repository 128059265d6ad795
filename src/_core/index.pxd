"""Which connections get which publication: postings by channel and device, grouped by filter.

    (channel, device) -> Posting  [ filter A | {slot, slot, ...} ]      one group a distinct filter
                                  [ filter B | {slot}            ]
    (channel, all)    -> Posting  [ filter C | {slot, slot, ...} ]

A filter is asked once a publication, however many connections share it; all that is done for a connection is
to walk over its slot. A connection stands at most once in a posting. One that has subscriptions to a device
and to all devices stands in both, under a filter at the device that includes what it asked of all devices;
`shadowed` counts those, so that only such publications pay for keeping them apart. A connection's own tables know a
device by the number of its posting.

A filter is a bag of terms: the terms of the subscriptions that a connection has there. A publication matches
when one term does; what it is projected to is the union over the terms that do. Terms and filters are
interned, counted, and gone with their last user, names likewise.
"""
from libc.stdint cimport uint32_t, uint64_t

from .lanes cimport Lanes
from .latest cimport Values
from .names cimport Names
from .posting cimport Posting
from .postings cimport PostingTable
from .publication cimport MetricMask, Publication
from .throttle cimport Cohort, Pace
from .types cimport NoResult, slot_t
from .wire cimport CHANNEL_COUNT

cimport cython


# One subscription's conditions apart from devices. Immutable.
@cython.final
cdef class Term:
    cdef:
        object key
        readonly Py_ssize_t users
        int channel
        Pace pace
        bint recovers                   # wants to know the offsets of its messages
        # Sorted numbers of the names asked for; NULL: any. `first`: metrics, severities or statuses;
        # `second`: alert types.
        uint32_t *first
        uint32_t first_count
        uint32_t *second
        uint32_t second_count


@cython.final
cdef class Filter:
    cdef:
        object key
        readonly Py_ssize_t users
        list terms                      # distinct
        list counts                     # how many subscriptions have it
        Term only                       # the one term of a one-term filter (nearly all), else None
        uint32_t only_count
        Pace pace
        bint recovers                   # one of the terms does
        # Where pace is not real-time: device -> Throttle, of the posting of the device and that of all devices.
        dict throttles
        dict throttles_everywhere


# What of a publication the filters look at, worked out once.
cdef struct Probe:
    int channel
    Py_ssize_t metrics                  # of the publication; 0 for events
    MetricMask all
    uint32_t first                      # events: numbers of its names + 1, 0: nobody asks for that name
    uint32_t second


@cython.final
cdef class Index:
    cdef:
        readonly Names names
        readonly Py_ssize_t entries     # slots in all postings together
        list _devices                   # channel -> PostingTable
        Posting _all[CHANNEL_COUNT]     # channel -> posting of "all devices"
        Lanes lanes                     # None: there is one node
        dict _terms
        dict _filters
        list left                       # Cohorts that the slot at hand was in, for its SubscriptionTable
        list abandoned                  # Cohorts that their last slot has left, for the Pacer
        # Where a name stands in the publication at hand: valid where `_stamps` has the current probe's number.
        uint32_t *_positions
        uint64_t *_stamps
        Py_ssize_t _positions_size
        uint64_t _probe

    cdef PostingTable postings(self, int channel)
    # The posting of a device, NULL: there is none; valid until subscriptions change.
    cdef Posting *find(self, int channel, object device) except? NULL
    cdef Posting *find_all(self, int channel) noexcept
    cdef Posting *posting_of(self, int channel, uint32_t number) noexcept
    cdef Term acquire_term(self, int channel, tuple first, tuple second, tuple pace, bint recovers)
    cdef NoResult release_names(self, Term term) except NoResult.EXC
    cdef NoResult release_term(self, Term term) except NoResult.EXC
    cdef Filter acquire_filter(self, list terms)
    cdef NoResult release_filter(self, Filter filter) except NoResult.EXC
    cdef NoResult add(self, int channel, uint32_t number, Filter filter, slot_t slot) except NoResult.EXC
    cdef NoResult remove(self, int channel, uint32_t number, Filter filter, slot_t slot) except NoResult.EXC
    cdef NoResult count_lane(self, int channel, uint32_t number) except NoResult.EXC
    cdef void shadow(self, int channel, uint32_t number, int by) noexcept
    cdef NoResult reserve_positions(self) except NoResult.EXC
    cdef NoResult prepare(self, Publication publication, Probe *probe) except NoResult.EXC
    cdef bint term_matches(self, Term term, const Probe *probe, MetricMask *mask) noexcept
    cdef NoResult leave(self, Filter filter, int channel, uint32_t number, bint everywhere,
                        slot_t slot) except NoResult.EXC
    cdef void wanted(self, Filter filter, Values values, MetricMask *mask) noexcept
    cdef bint owed(self, Cohort cohort, Filter heir, MetricMask *mask) except -1
    cdef uint32_t matches(self, Filter filter, const Probe *probe, MetricMask *mask) noexcept
