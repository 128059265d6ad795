"""A client that authenticates (protocol.md, section 2): tokens, renewal, expiry, and how it is answered.

    connect ── auth ──► host.authenticate() ──► Grant now ─────────────────────────► accept() or refuse()
                              └─► later: `waiting`; what comes meanwhile waits in the backlog ────────┘

The host is the Python side; it is asked once a connection or once a command. Its methods (see `Host` in
client.pyi) do not raise for bad input.
"""
from libc.stdint cimport uint32_t

from .connection cimport Connection
from .scope cimport Grant
from .types cimport NoResult


# Wishes, as bits: token_expiring messages, notices of conflation, data messages in batches.
cdef enum:
    WISH_RENEW = 1
    WISH_NOTICES = 2
    WISH_BATCH = 4


cdef class Client(Connection):
    cdef:
        object host
        readonly str address            # of the client
        readonly int endpoint           # the one Channel that the endpoint serves; -1: all
        Grant handshake_grant           # what came with the handshake, until on_open
        readonly Grant grant            # None: not authenticated
        bint waiting                    # for the outcome of a command
        list backlog                    # messages that came meanwhile, bounded
        Py_ssize_t backlog_bytes
        int outcome                     # ErrorCode of the command that was waited for
        # Authentication.
        object auth_id
        int auth_wishes
        uint32_t auth_failures
        bint dropped_untold             # messages were dropped, and the peer is still to be told
        # Expiry.
        double expires_at               # monotonic; INFINITY: never
        bint expired                    # in the grace period
        int wishes                      # what it asked for in `auth`
        bint renewal_told
        uint32_t failures               # internal errors

    cdef int authenticate(self, dict message, object id, double now) except -1
    cdef NoResult refuse(self, object id, int code, str text) except NoResult.EXC
    cdef NoResult accept(self, Grant grant, object id, int wishes, bint silent, double now) except NoResult.EXC
    cdef bint defer(self, const char *text, Py_ssize_t size) except -1
    cdef NoResult resume(self, double now) except NoResult.EXC
    # A fault of the server: told to both sides; returns its ErrorCode.
    cdef int fail_internally(self, object error, object id) except -1
    # Answers.
    cdef int fail(self, int code, object id, str text=*, int channel=*, double retry_after=*) except -1
    cdef NoResult answer(self, dict document, object id) except NoResult.EXC
    # For the subclass.
    cdef NoResult on_message(self, const char *data, Py_ssize_t size, double now) except NoResult.EXC
    cdef list on_grant(self, Grant grant)
    cdef NoResult on_authenticated(self) except NoResult.EXC
