"""Lanes; lanes.pxd has the overview."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from .types cimport vfast_invariant
from .wire cimport Channel

from zlib import crc32 as _crc32

cdef enum:
    ALL_PARTITIONS = -1
    SYSTEM_LANE = Channel.SYSTEM * PARTITIONS      # the only one of its channel: it has no devices


cdef int partition_of(object device) except -1:
    if device is None:
        return 0
    return <int>(<uint32_t>_crc32(str(device).encode()) % PARTITIONS)


@cython.final
cdef class Lanes:
    """Which lanes somebody here is subscribed to, and which this node follows."""

    cdef uint64_t partitions_of(self, int channel, object devices) except? 0:
        """Return the partitions, a bit each, that a subscription needs; devices None: to all of the channel."""
        cdef uint64_t partitions = 0
        if channel == Channel.SYSTEM:
            return 1
        if devices is None:
            return <uint64_t>ALL_PARTITIONS
        for device in devices:
            partitions |= (<uint64_t>1) << partition_of(device)
        return partitions

    cdef object enter(self, int channel, object device):
        """Somebody is subscribed to a device now; None: to all."""
        if device is None:
            self.everywhere[channel] = True
        else:
            self.devices[channel * PARTITIONS + partition_of(device)] += 1

    cdef object leave(self, int channel, object device):
        """Nobody is subscribed to a device any more; None: to all."""
        cdef uint32_t *devices
        if device is None:
            self.everywhere[channel] = False
            return
        devices = &self.devices[channel * PARTITIONS + partition_of(device)]
        vfast_invariant(devices[0] > 0)
        devices[0] -= 1

    def wanted(self):
        """Return the lanes that somebody here is subscribed to, in order."""
        cdef int channel, lane
        cdef list lanes = []
        for lane in range(LANE_COUNT):
            channel = lane // PARTITIONS
            if self.devices[lane] or (self.everywhere[channel] and (channel != Channel.SYSTEM or lane == SYSTEM_LANE)):
                lanes.append(lane)
        return lanes

    def set_followed(self, lanes, bint followed):
        """Note that this node follows these lanes from now on, or no longer."""
        cdef uint64_t bit
        cdef int lane
        for lane in lanes:
            bit = (<uint64_t>1) << (lane % PARTITIONS)
            if followed:
                self.followed[lane // PARTITIONS] |= bit
            else:
                self.followed[lane // PARTITIONS] &= ~bit

    def is_followed(self, int lane):
        """Say whether this node follows a lane."""
        return (self.followed[lane // PARTITIONS] >> (lane % PARTITIONS)) & 1 == 1

    def following(self):
        """Return the lanes that this node follows, in order."""
        cdef int lane
        return [lane for lane in range(LANE_COUNT) if self.is_followed(lane)]


def lane_of(int channel, device):
    """Return the lane of a device's data.

    Args:
        channel: a wire Channel.
        device: a canonical id (`device_key`); None: what has no device.
    """
    return channel * PARTITIONS + partition_of(device)


def lanes_in(int channel, uint64_t partitions):
    """Return the lanes of a channel's partitions, which are a bit each."""
    cdef int partition
    return [channel * PARTITIONS + partition for partition in range(PARTITIONS) if (partitions >> partition) & 1]
