"""What has come and waits for its turn; inbox.pxd has the overview."""

cimport cython
from libc.math cimport INFINITY
from libc.string cimport memcpy, memset

from .buffer cimport buffer_append, buffer_free
from .clock cimport monotonic_seconds
from .outbox cimport Turn
from .types cimport NoResult

from collections import deque as _deque


@cython.final
cdef class Budget:
    """The time that input may take in one turn of the event loop.

    Args:
        turn: schedules, and knows when a turn has ended.
        seconds: what arrives when they have passed is handled in later turns, for as long again each; 0: no bound.
    """

    def __init__(self, Turn turn not None, double seconds):
        self.seconds = seconds
        self.deadline = 0 if seconds else INFINITY
        self._turn = turn
        self._waiting = _deque()

    cdef bint is_spent(self, double now) except -1:
        """Say whether the turn's time is spent, after `deadline`.

        A turn ends with a flush; without one it is not known whether this is still the same turn, so one is made.
        """
        if self._flushes == self._turn.flushes and self._turn._scheduled:
            return True
        self._turn.end_soon()
        self._flushes = self._turn.flushes
        self.deadline = now + self.seconds
        return False

    cdef NoResult wait(self, Inbound connection) except NoResult.EXC:
        """Have a connection's messages handled in the turns to come."""
        self._waiting.append(connection)
        if not self._scheduled:
            self._scheduled = True
            self._turn._schedule(self.work)
        return NoResult.OK

    def work(self):
        """Handle what waits, until the time is spent; called by the event loop."""
        cdef double now = monotonic_seconds()
        cdef double end = now + self.seconds
        cdef Inbound connection
        self._scheduled = False
        while self._waiting and now < end:
            connection = self._waiting.popleft()
            if connection.go_on(now):
                self._waiting.append(connection)
            now = monotonic_seconds()
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._turn._schedule(self.work)
        self._flushes = self._turn.flushes
        self.deadline = now + self.seconds


cdef class Inbound(Outbox):
    """The messages of a connection that wait; base of Connection."""

    def __dealloc__(self):
        self.forget()

    cdef void forget(self) noexcept:
        """Drop what waits."""
        buffer_free(&self.inbox.data)
        self.inbox.at = 0

    cdef NoResult hold(self, int verdict, const char *message, Py_ssize_t size, bint compressed) except NoResult.EXC:
        """Keep what has come for a later turn."""
        cdef InboxEntry entry
        cdef bint first = self.inbox.data.size == 0
        memset(&entry, 0, sizeof(InboxEntry))
        entry.verdict = verdict
        entry.compressed = compressed
        entry.size = <uint32_t>size
        buffer_append(&self.inbox.data, <const char *>&entry, sizeof(InboxEntry))
        buffer_append(&self.inbox.data, message, size)
        self.budget.held += 1
        if first:
            self.budget.wait(self)
            if not self.transport.underlying_transport.is_closing():
                self.transport.underlying_transport.pause_reading()
        return NoResult.OK

    cdef bint go_on(self, double now) except -1:
        """Handle the first message that waits; say whether there is another one."""
        cdef InboxEntry entry
        cdef const char *message
        if self.inbox.data.size == 0:           # the connection has ended meanwhile
            return False
        memcpy(&entry, self.inbox.data.data + self.inbox.at, sizeof(InboxEntry))
        message = self.inbox.data.data + self.inbox.at + sizeof(InboxEntry)
        self.inbox.at += sizeof(InboxEntry) + entry.size
        try:
            self.dispatch(entry.verdict, message, entry.size, entry.compressed, now)
        except Exception as error:
            self.on_failure(error)
        if self.inbox.at < self.inbox.data.size:
            return True
        self.forget()
        if not self.stays_paused and not self.transport.underlying_transport.is_closing():
            self.transport.underlying_transport.resume_reading()
        return False

    cdef NoResult dispatch(self, int verdict, const char *message, Py_ssize_t size, bint compressed,
                           double now) except NoResult.EXC:
        """Handle what a frame has completed."""
        return NoResult.OK

    cdef NoResult on_failure(self, object error) except NoResult.EXC:
        """Handling it raised."""
        return NoResult.OK
