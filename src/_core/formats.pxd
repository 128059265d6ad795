"""What a client has negotiated beside JSON text: MessagePack (protocol.md, section 7), permessage-deflate (RFC 7692).

Frames are made as JSON text, and converted when they are written: a frame once a turn for each format, however many
receive it. Compression has no context takeover on either side, so that a compressed message can be shared, and that
an idle connection keeps no window.
"""
from libc.stdint cimport uint8_t


# A format in a byte: FORMAT_MSGPACK, FORMAT_DEFLATE, and with the latter the bits of the window from WINDOW_SHIFT on.
cdef enum:
    FORMAT_MSGPACK = 1
    FORMAT_DEFLATE = 2
    WINDOW_SHIFT = 2
    WINDOW_BITS = 15


cdef bytes converted(bytes frame, uint8_t format)

# What a compressed message holds; None with a CloseCode in `error` where it is none, or larger than `limit` (0: any).
cdef bytes inflated(const char *data, Py_ssize_t size, Py_ssize_t limit, int *error)

# The dict of a MessagePack message, which JSON could hold too; None with an ErrorCode in `error`. depth: how it nests.
cdef dict unpacked(const char *data, Py_ssize_t size, int *error, int *depth)
cpdef int depth_of(object value) except -1
cdef Py_ssize_t packed_size(object value) except -1
