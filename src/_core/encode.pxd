"""Publications and answers -> WebSocket frames (RFC 6455, 5.2; server to client, so never masked).

A frame is an immutable bytes object, header included: every receiver's queue refers to the same one.
"""
from libc.stdint cimport uint8_t, uint64_t

from .publication cimport MetricMask, Publication


cdef enum:
    RSV1 = 0x40                     # with the opcode of a frame_of(): the payload is compressed (RFC 7692, 6)


cdef inline Py_ssize_t payload_size(bytes frame) noexcept:
    """Return the bytes of a frame without its header of 2, 4 or 10."""
    cdef Py_ssize_t size = len(frame)
    return size - (2 if size < 126 + 2 else 4 if size < 65536 + 4 else 10)


cdef bytes frame_of(uint8_t opcode, bytes payload)
cdef bytes frame_of_json(object document)
cdef bytes frame_of_pieces(bytes head, list pieces, bytes tail, const MetricMask *mask)
cdef bytes frame_of_batch(list frames)
# offset: that of the message in its channel, which it is to tell; 0: not.
cdef bytes frame_of_publication(Publication publication, const MetricMask *mask, uint64_t offset)
cdef bytes close_frame(int code, str reason)
