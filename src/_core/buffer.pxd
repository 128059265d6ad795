"""A growable run of bytes. A value type (zero it to make an empty one) that owns its memory."""
from libc.string cimport memcpy

from .types cimport NoResult, vfast_invariant


cdef struct ByteBuffer:
    char *data
    Py_ssize_t size
    Py_ssize_t capacity


cdef NoResult buffer_grow(ByteBuffer *buffer, Py_ssize_t more) except NoResult.EXC
cdef void buffer_free(ByteBuffer *buffer) noexcept


cdef inline NoResult buffer_append(ByteBuffer *buffer, const char *data, Py_ssize_t size) except NoResult.EXC:
    vfast_invariant(size >= 0)
    if buffer.size + size > buffer.capacity:
        buffer_grow(buffer, size)
    vfast_invariant(buffer.size + size <= buffer.capacity)
    if size:                        # an empty buffer has no memory, and memcpy() wants some even for nothing
        memcpy(buffer.data + buffer.size, data, size)
        buffer.size += size
    return NoResult.OK


cdef inline NoResult buffer_append_bytes(ByteBuffer *buffer, bytes data) except NoResult.EXC:
    return buffer_append(buffer, <char *>data, len(data))


cdef inline NoResult buffer_append_char(ByteBuffer *buffer, char byte) except NoResult.EXC:
    if buffer.size == buffer.capacity:
        buffer_grow(buffer, 1)
    vfast_invariant(buffer.size < buffer.capacity)
    buffer.data[buffer.size] = byte
    buffer.size += 1
    return NoResult.OK
