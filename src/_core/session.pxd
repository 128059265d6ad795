"""A client of the Valtronics WebSocket API: its commands (protocol.md, sections 1, 3 and 4).

    text ─► cheap checks on the bytes ─► decode ─► handle() ─► run() ─► answer
                                            └► a batch: each item in order ─┘
"""
from .feed cimport Feed
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
        bint waits                      # the last result is that of a verification which is under way


@cython.final
cdef class Session(Feed):
    cdef:
        bint wants_implicit             # the endpoint subscribes by itself
        Batch batch                     # the one that waits
        dict deferred                   # the subscribe command that waits for its lanes
        bint has_followed               # ... and is done now

    cdef NoResult on_json(self, const char *text, Py_ssize_t size, double now) except NoResult.EXC
    cdef NoResult on_packed(self, const char *data, Py_ssize_t size, double now) except NoResult.EXC
    cdef bint is_acceptable(self, int depth, Py_ssize_t size, bint is_auth, bint is_batch) except -1
    cdef NoResult take_batch(self, dict message, const char *text, Py_ssize_t size, double now) except NoResult.EXC
    # One message or batch item; these return its ErrorCode, which has been answered.
    cdef bint is_too_large(self, Py_ssize_t size, bint is_auth) noexcept
    cdef int attempt(self, dict message, double now) except -1
    cdef int handle(self, dict message, object id, double now) except -1
    cdef int run(self, int command, dict message, object id, double now) except -1
    cdef int subscribe(self, dict message, object id, double now) except -1
    cdef int unsubscribe(self, dict message, object id) except -1
    cdef int publish(self, dict message, object id) except -1
    cdef int ping(self, dict message, object id) except -1
    cdef int start_batch(self, dict message, object id, const char *text, Py_ssize_t size, double now) except -1
    cdef NoResult continue_batch(self, double now) except NoResult.EXC
    cdef int channel_of(self, dict message, object id) except -1000
