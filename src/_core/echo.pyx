"""A connection that sends back what comes; echo.pxd says what for."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize

from .connection cimport Connection
from .encode cimport frame_of
from .types cimport NoResult
from .wire cimport Opcode


@cython.final
cdef class Echo(Connection):
    """Sends every message back, text as text and binary as binary.

    An echo waits like data for a peer that does not read, up to the connection's bounds.

    Args:
        hub: where it is attached.
        limits: its bounds.
        deflate: as for Connection; text is sent back compressed.
    """

    cdef NoResult on_text(self, const char *text, Py_ssize_t size, double now) except NoResult.EXC:
        return self.push(frame_of(Opcode.OP_TEXT, PyBytes_FromStringAndSize(text, size)))

    cdef NoResult on_binary(self, const char *data, Py_ssize_t size, double now) except NoResult.EXC:
        return self.push(frame_of(Opcode.OP_BINARY, PyBytes_FromStringAndSize(data, size)))
