"""The outbound half of a connection: shared frames, one write a turn of the event loop, a bounded queue.

    publish ─► queue_push() ─► [ frame | frame | frame ]        references; a frame is shared by its receivers
                                  │  end of the turn: Turn.flush()
                                  ▼
                      sendmsg() on the socket itself ──► kernel
                                  │  what the kernel refused
                                  ▼
                      transport.write() ─► blocked, until resume_writing()

While the transport holds anything the connection is blocked: data waits in the queue, where it can be counted
and bounded. Answers, pongs and closes do not wait behind it, they go straight to the transport.

A connection with more than `queue.mark` bytes to wait is behind: the subclass gathers what it is to get of the newest
values (catchup.pxd), and puts that into the queue whenever it is empty. Beyond `queue.limit`, and when all blocked
connections together hold more than the hub's bound, it is closed.
"""
from libc.stdint cimport uint64_t
from picows.picows cimport WSListener, WSTransport

from .histogram cimport Histogram
from .publication cimport MetricMask
from .queue cimport OutQueue
from .run cimport Run
from .types cimport NoResult

cimport cython


cdef enum:
    CONTROL = 8                     # bit of the opcode that CLOSE, PING and PONG have
    TLS_BUFFER = 1 << 16            # bytes that the TLS transport may hold before the connection is blocked


# Connections with something to write: at the end of this turn, or data only and a little later (flush_interval).
@cython.final
cdef class Turn:
    cdef:
        object _schedule                # called with flush, once a turn
        object _delay                   # called with flush_delayed, once an interval; None: data goes out each turn
        list _dirty
        list _delayed
        bint _scheduled
        readonly Run run
        # Counters
        readonly uint64_t flushes
        readonly uint64_t writes
        readonly uint64_t refused       # writes that the kernel did not take whole
        readonly uint64_t backlog       # bytes that wait for all blocked connections
        readonly Histogram latency      # seconds from the first publication of a turn until its data was written

    cdef NoResult add(self, Outbox outbox) except NoResult.EXC
    cdef NoResult add_data(self, OutQueue *queue) except NoResult.EXC
    cdef inline void time_data(self, double since) noexcept:
        # Data for those who are blocked waits for no turn, and is not what the next one is measured by.
        if self.latency.since == 0 and len(self._dirty if self._delay is None else self._delayed):
            self.latency.since = since

    cdef NoResult end_soon(self) except NoResult.EXC
    cdef NoResult write(self, list outboxes, bint delayed) except NoResult.EXC


cdef class Outbox(WSListener):
    cdef:
        WSTransport transport           # None before the handshake is done and after the connection has ended
        object _write                   # the transport's write()
        Turn turn
        OutQueue queue
        # Answers handed to a transport that holds bytes, since it last held none, and how many that may be.
        uint64_t urgent_bytes
        uint64_t urgent_limit
        Py_ssize_t held_bytes           # rest of a frame that the transport holds
        Py_ssize_t noted_bytes          # of what it is owed otherwise
        uint64_t counted                # bytes that the turn counts for this connection
        bint behind                     # on_room() has something to send

    cdef NoResult open_outbox(self, WSTransport transport) except NoResult.EXC
    cdef NoResult send(self, bytes frame) except NoResult.EXC
    cdef NoResult mark(self) except NoResult.EXC
    cdef NoResult push(self, bytes frame) except NoResult.EXC
    cdef NoResult sacrifice(self) except NoResult.EXC
    cdef void recount(self) noexcept
    cdef Py_ssize_t send_some(self, bint first, Py_ssize_t *offered) except -2
    cdef NoResult pass_answers(self) except NoResult.EXC
    cdef NoResult write_record(self) except NoResult.EXC
    cdef NoResult flush(self) except NoResult.EXC
    cdef void discard(self) noexcept
    # For the inbound half.
    cdef NoResult on_broken(self, object error) except NoResult.EXC
    cdef NoResult on_overflow(self) except NoResult.EXC
    # Conflation: there is more in the queue than `mark`; it is empty again; a device's values (a Values) are owed from
    # an offset on; they are owed now, for these metrics of them (NULL: all) are about to be forgotten.
    cdef NoResult on_behind(self) except NoResult.EXC
    cdef NoResult on_room(self) except NoResult.EXC
    cdef NoResult on_owed(self, object values, uint64_t since) except NoResult.EXC
    cdef NoResult on_missed(self, int channel, uint64_t partitions) except NoResult.EXC
    cdef NoResult on_forgotten(self, object values, const MetricMask *metrics) except NoResult.EXC
    cdef NoResult on_timer(self, double now) except NoResult.EXC
