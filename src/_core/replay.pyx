"""Recovery; replay.pxd has the overview."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memset

from .commands cimport Selection
from .coverage cimport Subscription
from .encode cimport frame_of_publication
from .history cimport History
from .hub cimport Hub
from .index cimport Probe
from .publication cimport MetricMask, Publication
from .subscriptions cimport SubscriptionTable
from .throttle cimport is_throttled


cdef enum:
    GLANCES = 10                    # messages that are looked at and not replayed: as costly as one that is


cdef double cost_of_replay(Hub hub, int channel, Selection selection) noexcept:
    cdef History history = hub.history_of(channel)
    cdef double missed = history.count - history.position_behind(selection.offset)
    return missed + missed / GLANCES


cdef list replayed(Hub hub, SubscriptionTable table, Subscription subscription, Selection selection,
                   Py_ssize_t room, double now, double *cost):
    cdef History history = hub.history_of(subscription.channel)
    cdef Publication publication
    cdef Probe probe
    cdef MetricMask mask
    cdef uint64_t partitions = 0
    cdef Py_ssize_t i
    cdef list frames = []
    cdef bytes frame
    if hub.lanes is not None:
        if selection.offset == 0:       # ahead of a snapshot: what a log has kept is not all that there was
            return None
        partitions = hub.lanes.partitions_of(subscription.channel, table.covered(subscription))
    # At a frequency only the newest of what was missed is wanted: that is a snapshot.
    if selection.epoch != hub.epoch or is_throttled(&subscription.term.pace) or (
            not history.reaches(selection.offset, partitions, now)):
        return None
    for i in range(history.position_behind(selection.offset), history.count):
        cost[0] += 1.0 / GLANCES
        publication = <Publication>history.at(i).publication
        if not table.covers(subscription, publication.device):
            continue
        hub.index.prepare(publication, &probe)
        memset(&mask, 0, sizeof(MetricMask))
        if hub.index.term_matches(subscription.term, &probe, &mask):
            frame = frame_of_publication(publication, &mask, history.at(i).offset)
            cost[0] += 1
            room -= PyBytes_GET_SIZE(frame)
            if room < 0:
                return None
            frames.append(frame)
    return frames
