"""What connections that have the same frames to send share: the bytes in one piece, and the batches.

Connections with the same subscriptions have the same frames in a turn. They are compared with the last connection's,
frame by frame, which is cheaper than what is saved.
"""
from libc.stdint cimport uint8_t

from .buffer cimport ByteBuffer
from .queue cimport OutQueue
from .types cimport NoResult

cimport cython


cdef enum:
    MAX_VECTORS = 64                # frames handed to one sendmsg()


@cython.final
cdef class Run:
    cdef:
        # The frames of the last connection that was flushed and their bytes in one piece, made when a second
        # connection has the same ones.
        list frames
        ByteBuffer bytes
        # The frames of the last connection that takes batches, and what they come to.
        list gathered
        list batches
        # The turn's frames in other formats: (frame, format) -> frame.
        dict conversions

    cdef void clear(self) noexcept
    cdef bint shared_by(self, const OutQueue *queue) except -1
    cdef NoResult join(self) except NoResult.EXC
    cdef list batched(self, const OutQueue *queue)
    cdef NoResult gather(self, OutQueue *queue) except NoResult.EXC
    cdef bytes conversion(self, bytes frame, uint8_t format)
    cdef NoResult convert(self, OutQueue *queue) except NoResult.EXC
