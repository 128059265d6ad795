"""A publication on its way between the nodes of a cluster: as serialised once, so that no other node parses JSON.

    packet   u32 bytes that follow | u8 channel | device | values or event        (little-endian)
    device   u8 kind: 0 none | 1, i64 | 2, u8 bytes, UTF-8                          (canonical id)
    values   u16 count > 0 | u32 head | u32 tail | count x metric
    metric   u8 name | u32 piece | f64 number, NaN: it is none
    event    u16 0 | u8 first | u8 second, 255: none | u32 text

A size stands before the bytes that it is of. What a packet says is taken for what a node of the same cluster has
checked; that its sizes fit is looked at all the same, and what does not fit is refused as a whole.
"""
from .buffer cimport ByteBuffer
from .publication cimport Publication
from .types cimport NoResult


# What is left to read.
cdef struct PacketReader:
    const char *data
    Py_ssize_t size


# Append a publication, all of which is serialised.
cdef NoResult packet_write(ByteBuffer *out, Publication publication) except NoResult.EXC
# The next publication; PacketError when there is none.
cdef Publication packet_read(PacketReader *reader)


cdef class LatestDump:
    cdef:
        dict _lanes                     # lane -> the Values that are still to be taken
        list _unseen                    # lists of Values that may be in one of them
