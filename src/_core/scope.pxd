"""What a token permits, and the canonical form of a device id (protocol.md, sections 2 and 3)."""
from libc.stdint cimport uint8_t

cimport cython


cdef object canonical_device(object value)
cdef bint is_canonical_device(object value) noexcept


@cython.final
cdef class Grant:
    cdef:
        readonly str user
        readonly double expires_at      # Unix seconds
        # Bit 1 << Channel: what may be subscribed to, what may be published on.
        readonly uint8_t channels
        readonly uint8_t publish
        # Canonical device ids; None: every device.
        readonly frozenset devices
        readonly double min_interval    # seconds between two updates of a device, at least
        readonly bint monitor           # the server's own figures may be read
        readonly bint admin             # may use the admin functions of the HTTP side

    cdef bint allows_device(self, object device)
