"""Shared C types of the core: no Python object, no dependency."""
from libc.stdint cimport uint32_t


# What a cdef function without a result returns: EXC tells the C caller to look for an exception, which is
# cheaper than `except *` and than handing None around.
cdef enum NoResult:
    EXC = -1
    OK = 0


# Number of a connection in the hub's tables; handed out densely and used again after a disconnect.
ctypedef uint32_t slot_t


cdef extern from *:
    """
    #define vfast_prefetch(address) __builtin_prefetch(address)
    """
    void vfast_prefetch(const void *address) noexcept nogil     # any address: a wrong one is ignored
