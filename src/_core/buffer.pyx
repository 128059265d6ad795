"""A growable run of bytes; the struct and its inline half are in buffer.pxd."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free, realloc

from .types cimport NoResult

cdef enum:
    FIRST_CAPACITY = 256


cdef NoResult buffer_grow(ByteBuffer *buffer, Py_ssize_t more) except NoResult.EXC:
    """Make room for `more` bytes behind what is there: the next power of two, so appending stays linear."""
    cdef Py_ssize_t capacity = max(buffer.capacity, FIRST_CAPACITY)
    cdef char *data
    while capacity < buffer.size + more:
        capacity *= 2
    data = <char *>realloc(buffer.data, capacity)
    if data == NULL:
        raise MemoryError
    buffer.data = data
    buffer.capacity = capacity
    return NoResult.OK


cdef void buffer_free(ByteBuffer *buffer) noexcept:
    """Give the memory back; the buffer is empty and usable afterwards."""
    free(buffer.data)
    buffer.data = NULL
    buffer.size = buffer.capacity = 0


@cython.final
cdef class Buffer:
    """The C buffer as a Python object, for tests."""
    cdef ByteBuffer _buffer

    def __dealloc__(self):
        buffer_free(&self._buffer)

    def append(self, bytes data not None):
        """Append bytes."""
        buffer_append_bytes(&self._buffer, data)

    def append_char(self, unsigned char byte):
        """Append one byte."""
        buffer_append_char(&self._buffer, <char>byte)

    def clear(self):
        """Empty the buffer and give its memory back."""
        buffer_free(&self._buffer)

    def __len__(self):
        return self._buffer.size

    def __bytes__(self):
        return PyBytes_FromStringAndSize(self._buffer.data, self._buffer.size)

    @property
    def capacity(self):
        """Bytes allocated."""
        return self._buffer.capacity
