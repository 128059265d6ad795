"""Publications and answers -> WebSocket frames (RFC 6455, 5.2; server to client, so never masked).

A frame is an immutable bytes object, header included: every receiver's queue refers to the same one.
"""
from libc.stdint cimport uint8_t

from .publication cimport MetricMask, Publication

cdef enum:
    MAX_HEADER = 10                 # bytes of the longest unmasked header


cdef bytes frame_of(uint8_t opcode, bytes payload)
cdef bytes frame_of_json(object document)
cdef bytes frame_of_publication(Publication publication, const MetricMask *mask)
cdef bytes close_frame(int code, str reason)
