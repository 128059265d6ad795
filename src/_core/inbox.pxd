"""What has come and waits for its turn: the input that is handled in one turn of the event loop takes a bounded time.

    frame ─► assembled ─► handled at once                              as long as the turn's time is not spent
                    └───► Inbox ─► handled in a later turn             one message of each connection after the other

A connection whose messages wait is not read, so that an Inbox has no more than picows had in its buffer. It keeps its
order; who has sent one message waits for one message of each of the others at most.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t

from .buffer cimport ByteBuffer
from .outbox cimport Outbox, Turn
from .types cimport NoResult

cimport cython


# A value: zero it to make an empty one.
cdef struct Inbox:
    ByteBuffer data                 # InboxEntry, message, InboxEntry, message, ...
    Py_ssize_t at                   # of the next entry


cdef struct InboxEntry:
    int32_t verdict                 # as in frames.pxd
    bint compressed
    uint32_t size


@cython.final
cdef class Budget:
    cdef:
        readonly double seconds     # of a turn
        double deadline             # until then nothing has to be asked; INFINITY: no bound
        Turn _turn
        object _waiting             # deque of Inbounds
        bint _scheduled
        uint64_t _flushes           # of the turn, when `deadline` was set
        readonly uint64_t held      # counter: messages that had to wait

    cdef bint is_spent(self, double now) except -1
    cdef NoResult wait(self, Inbound connection) except NoResult.EXC


cdef class Inbound(Outbox):
    cdef:
        Budget budget
        Inbox inbox
        bint stays_paused           # it is not to be read when its messages have been handled

    cdef NoResult hold(self, int verdict, const char *message, Py_ssize_t size, bint compressed) except NoResult.EXC
    cdef bint go_on(self, double now) except -1
    cdef void forget(self) noexcept
    # For the subclass.
    cdef NoResult dispatch(self, int verdict, const char *message, Py_ssize_t size, bint compressed,
                           double now) except NoResult.EXC
    cdef NoResult on_failure(self, object error) except NoResult.EXC


cdef inline bint must_wait(Inbound connection, double now) except -1:
    """Say whether a message has to wait: behind others of its connection, or because the turn's time is spent."""
    return connection.inbox.data.size > 0 or (
        now >= connection.budget.deadline and connection.budget.is_spent(now))
