"""One WebSocket connection (RFC 6455) above picows: frames in, pings, rate, the closing handshake.

    OPEN ──close()──────────► CLOSING ──the peer's CLOSE, or its time is up──► CLOSED
      └───the peer's CLOSE──────┘        (what comes meanwhile is ignored)

What the messages mean is the subclass's business: Session for the product, an echo for conformance tests.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from picows.picows cimport WSFrame, WSTransport

from .bucket cimport TokenBucket
from .frames cimport Assembler
from .hub cimport Hub
from .inbox cimport Inbound
from .types cimport NoResult, slot_t

cimport cython


cdef enum ConnectionState:
    STATE_NEW = 0
    STATE_OPEN = 1
    STATE_CLOSING = 2
    STATE_CLOSED = 3


# Bounds of a connection; shared by all, changed in place by a reload (queue_mark and queue_limit: for connections to
# come). Seconds, bytes, counts; 0: no bound, but for close_timeout: at once, and queue_mark: nothing is conflated.
@cython.final
cdef class Limits:
    cdef:
        public double messages_per_second
        public Py_ssize_t message_size
        public Py_ssize_t auth_size
        public Py_ssize_t frame_size
        public uint32_t fragments
        public Py_ssize_t batch_items
        public Py_ssize_t subscriptions
        public Py_ssize_t device_ids
        public double min_interval
        public double replayed_messages     # a second, and REPLAY_BURST times as many at once
        public uint32_t json_depth
        public uint64_t queue_mark      # bytes that wait beyond which values are conflated
        public uint64_t queue_size      # beyond which the connection is closed after `queue_time`
        public double queue_time
        public uint64_t queue_limit     # beyond which it is closed at once
        public uint32_t auth_attempts
        public double auth_timeout
        public double grace
        public double renewal_notice
        public double ping_interval
        public double ping_timeout
        public double close_timeout


cdef class Connection(Inbound):
    cdef:
        Hub hub
        Limits limits
        slot_t slot                     # valid in OPEN and CLOSING
        readonly uint64_t number        # of the connection, by the hub's count; for people
        uint8_t state
        bint awaits_pong
        readonly bint closed_by_peer    # it sent its CLOSE first
        double opened_at
        double received_at              # the last frame
        double pinged_at                # the last ping of ours
        double awaited_at               # the first that nothing has come after, where awaits_pong
        double close_deadline
        double swollen_at               # since when more than `queue_size` waits; 0: it does not
        Assembler assembler
        TokenBucket bucket
        # Messages dropped by the rate limit: since `drops_since`, in all, and when the peer was last told.
        uint32_t drops
        double drops_since
        double told_at
        readonly int close_code         # the code that ended the connection; 0 while it lives
        readonly uint64_t messages_in
        readonly uint64_t bytes_in
        readonly uint64_t dropped
        # What the Sampler (roster.pxd) has noted: when, messages_out then, and how many a second since the time before.
        double sampled_at               # 0: never
        uint64_t sampled_out
        double rate

    cpdef intercept(self, object data)
    cpdef settle_violation(self)
    cdef bint take(self, double now) except -1
    cdef NoResult drop(self, double now) except NoResult.EXC
    cdef NoResult close(self, int code) except NoResult.EXC
    cdef NoResult end(self, int code, bytes frame, double now) except NoResult.EXC
    cdef bint is_too_slow(self, double now) noexcept
    cdef NoResult arm(self) except NoResult.EXC
    cdef NoResult receive(self, WSFrame frame, double now) except NoResult.EXC
    cdef NoResult receive_compressed(self, int verdict, const char *message, Py_ssize_t size,
                                     double now) except NoResult.EXC
    cdef NoResult receive_close(self, const char *payload, Py_ssize_t size, double now) except NoResult.EXC
    # For the subclass.
    cdef NoResult on_open(self, double now) except NoResult.EXC
    cdef NoResult on_text(self, const char *text, Py_ssize_t size, double now) except NoResult.EXC
    cdef NoResult on_binary(self, const char *data, Py_ssize_t size, double now) except NoResult.EXC
    cdef NoResult on_rate_limited(self, double retry_after) except NoResult.EXC
    cdef NoResult on_closed(self) except NoResult.EXC
    cdef double on_due(self, double now) except? -1
    cdef double own_deadline(self) noexcept
