"""Publications and answers -> WebSocket frames (RFC 6455, 5.2; server to client, so never masked).

A frame is an immutable bytes object, header included: every receiver's queue refers to the same one.
"""
from libc.stdint cimport uint8_t

from .publication cimport MetricMask, Publication


cdef inline Py_ssize_t payload_size(bytes frame) noexcept:
    """Return the bytes of a frame without its header of 2, 4 or 10."""
    cdef Py_ssize_t size = len(frame)
    return size - (2 if size < 126 + 2 else 4 if size < 65536 + 4 else 10)


cdef bytes frame_of(uint8_t opcode, bytes payload)
cdef bytes frame_of_json(object document)
cdef bytes frame_of_pieces(bytes head, list pieces, bytes tail, const MetricMask *mask)
cdef bytes frame_of_publication(Publication publication, const MetricMask *mask)
cdef Py_ssize_t size_of_values(Publication publication) except -1
cdef bytes close_frame(int code, str reason)
