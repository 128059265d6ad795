"""A connection that sends back what comes, for conformance tests of the layers that it shares with Session."""
from .connection cimport Connection

cimport cython


@cython.final
cdef class Echo(Connection):
    pass
