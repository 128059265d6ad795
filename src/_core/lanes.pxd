"""Lanes: what the nodes of a cluster divide their data into, so that none pays for devices that nobody on it watches.

A device belongs to one of 64 partitions, whatever node asks: CRC-32 of its canonical id as text, modulo 64. What has no
device belongs to partition 0. A lane is one partition of one channel:

    lane = channel * PARTITIONS + partition

A node follows the lanes that somebody on it is subscribed to. Who subscribes to all devices needs all of a channel's.
"""
from libc.stdint cimport uint32_t, uint64_t

from .wire cimport CHANNEL_COUNT

cimport cython


cdef enum:
    PARTITIONS = 64                 # they are bits of a word
    LANE_COUNT = PARTITIONS * CHANNEL_COUNT


# The partition of a device (canonical id); None: that of what has no device.
cdef int partition_of(object device) except -1


@cython.final
cdef class Lanes:
    cdef:
        # Partitions of a channel that this node follows, a bit each: what is published there comes here.
        uint64_t followed[CHANNEL_COUNT]
        # Devices of a lane that are subscribed to here, and whether a channel's "all devices" is.
        uint32_t devices[LANE_COUNT]
        bint everywhere[CHANNEL_COUNT]

    cdef uint64_t partitions_of(self, int channel, object devices) except? 0
    cdef object enter(self, int channel, object device)
    cdef object leave(self, int channel, object device)
