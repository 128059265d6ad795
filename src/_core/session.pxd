"""A client of the Valtronics WebSocket API (protocol.md, sections 1 to 5): authentication, commands, scope.

    text ─► backlog while a token is being verified ─► limits ─► decode ─► run() ─► answer

The host is the Python side: what is asked of it is done once a connection or once a command, never for
accepted data. Its methods (see `Host` in session.pyi) must not raise for bad input.
"""
from libc.stdint cimport uint32_t

from .connection cimport Connection
from .hub cimport Hub
from .scope cimport Grant
from .subscriptions cimport SubscriptionTable
from .types cimport NoResult

cimport cython


# A batch at work; it may have to wait in the middle for a token's verification.
@cython.final
cdef class Batch:
    cdef:
        list items
        Py_ssize_t *sizes               # bytes of each item; NULL: all are small enough
        Py_ssize_t position
        object id
        list results                    # one entry an item, None when nobody asked


@cython.final
cdef class Session(Connection):
    cdef:
        object host
        readonly str address            # of the client
        readonly int endpoint           # the one Channel that the endpoint serves; -1: all
        bint wants_implicit             # the endpoint subscribes by itself
        Grant handshake_grant           # what came with the handshake, until on_open
        readonly Grant grant            # None: not authenticated
        SubscriptionTable table
        # Authentication. Backlog: messages that came while a token is being verified, bounded.
        bint authenticating
        object auth_id
        bint auth_renews
        bint renews                     # wants token_expiring notices
        bint renewal_told
        bint expired                    # in the grace period
        uint32_t auth_failures
        double expires_at               # monotonic; INFINITY: never
        list backlog
        Py_ssize_t backlog_bytes
        Batch batch                     # the one that waits
        uint32_t failures               # internal errors

    # One message or batch item; returns its ErrorCode.
    cdef int handle(self, dict message, double now) except -1
    cdef int run(self, int command, dict message, object id, double now) except -1
    cdef int subscribe(self, dict message, object id) except -1
    cdef int unsubscribe(self, dict message, object id) except -1
    cdef int publish(self, dict message, object id) except -1
    cdef int ping(self, dict message, object id) except -1
    cdef int authenticate(self, dict message, object id, double now) except -1
    cdef int start_batch(self, dict message, object id, const char *text, Py_ssize_t size, double now) except -1
    cdef NoResult continue_batch(self, double now) except NoResult.EXC
    cdef NoResult work_backlog(self, double now) except NoResult.EXC
    cdef int channel_of(self, dict message, object id) except -1000
    # Authentication's outcome.
    cdef NoResult refuse(self, object id, int code, str text) except NoResult.EXC
    cdef NoResult accept(self, Grant grant, object id, bint renews, bint silent, double now) except NoResult.EXC
    cdef NoResult announce_lost(self, list lost) except NoResult.EXC
    # Answers.
    cdef int fail(self, int code, object id, str text=*, int channel=*, double retry_after=*) except -1
    cdef NoResult answer(self, dict document, object id) except NoResult.EXC
