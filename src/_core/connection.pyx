"""One WebSocket connection above picows; connection.pxd has the overview."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport INFINITY
from picows.picows cimport WSFrame, WSTransport

from .bucket cimport bucket_fill, bucket_take, bucket_wait
from .clock cimport monotonic_seconds
from .encode cimport close_frame, frame_of
from .formats cimport FORMAT_DEFLATE, FORMAT_MSGPACK, WINDOW_SHIFT, inflated
from .frames cimport Utf8State, Verdict, assemble, assembler_free, close_code_of, utf8_feed
from .hub cimport Hub
from .inbox cimport Inbound, must_wait
from .outbox cimport Outbox
from .queue cimport MAX_BYTES
from .types cimport NoResult, vfast_guard
from .wire cimport CloseCode, Opcode

from .wire import CLOSE_REASONS as _CLOSE_REASONS

cdef enum:
    MAX_DROPS = 1000                # dropped messages within DROP_WINDOW that end the connection
    DROP_WINDOW = 10                # seconds
    TOLD_EVERY = 1                  # seconds between two rate_limited errors

cdef object BUSY = lambda: 1        # stands for a transport that holds bytes: picows writes to it through _tr_write
cdef double BLOCKED_CHECK = 0.5     # seconds between two looks at a blocked connection, at least


@cython.final
cdef class Limits:
    """Bounds of a connection, as keyword arguments; fields and units in connection.pxd."""

    def __init__(self, **limits):
        for name, value in limits.items():
            setattr(self, name, value)


cdef class Connection(Inbound):
    """One WebSocket connection.

    Args:
        hub: gives it its slot and its timer.
        limits: its bounds.
        msgpack: messages are MessagePack in binary frames, not JSON text.
        deflate: bits of the window that compressed messages may need (9 to 15); 0: none is compressed.
    """

    def __init__(self, Hub hub not None, Limits limits not None, *, bint msgpack=False, int deflate=0):
        self.hub = hub
        self.budget = hub.budget
        self.limits = limits
        self.queue.format = (FORMAT_MSGPACK if msgpack else 0) | (
            FORMAT_DEFLATE | (deflate << WINDOW_SHIFT) if deflate else 0)
        self.assembler.inflates = deflate > 0
        self.queue.limit = limits.queue_limit if limits.queue_limit else MAX_BYTES
        self.queue.mark = min(limits.queue_mark, self.queue.limit) if limits.queue_mark else self.queue.limit

    def __dealloc__(self):
        assembler_free(&self.assembler)

    # Called by picows.

    cpdef on_ws_connected(self, WSTransport transport):
        cdef double now = monotonic_seconds()
        self.open_outbox(transport)
        transport._tr_write = self.intercept
        transport._tr_get_write_buffer_size = BUSY
        self.slot = self.hub.attach(self)
        self.number = self.hub.attached
        self.state = STATE_OPEN
        self.opened_at = self.received_at = self.pinged_at = self.drops_since = now
        self.told_at = -INFINITY
        bucket_fill(&self.bucket, max(1, self.limits.messages_per_second), now)
        self.on_open(now)
        self.arm()

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef double now
        # picows goes on to deliver what is in its buffer after a close or an abort.
        if vfast_guard(b"connection.ended", self.state != STATE_OPEN and self.state != STATE_CLOSING):
            return
        now = monotonic_seconds()
        self.received_at = now
        self.awaits_pong = False
        # With a client's header: 2 bytes, 4 of masking key, and 0, 2 or 8 of length.
        self.bytes_in += frame.payload_size
        self.bytes_in += 6 if frame.payload_size < 126 else 8 if frame.payload_size < 65536 else 14
        try:
            self.receive(frame, now)
        except Exception as error:
            self.on_failure(error)

    cpdef on_ws_disconnected(self, WSTransport transport):
        cdef object handshake = transport.close_handshake
        if self.state == STATE_NEW or self.state == STATE_CLOSED:
            return
        self.state = STATE_CLOSED
        if self.close_code == 0:
            self.close_code = CloseCode.CLOSE_ABNORMAL
            if handshake is not None and handshake.sent is not None:
                self.close_code = handshake.sent.code
        self.queue.shut = True
        self.discard()
        try:
            self.on_closed()
        finally:
            self.hub.detach(self.slot)
            assembler_free(&self.assembler)
            self.forget()
            self.transport = None
            self._write = None

    # Inbound.

    cdef bint take(self, double now) except -1:
        """Take a token for one message; without one it counts as dropped."""
        cdef double rate = self.limits.messages_per_second
        if vfast_guard(b"connection.rate", not bucket_take(&self.bucket, rate, rate, now)):
            self.drop(now)
            return False
        return True

    cdef NoResult drop(self, double now) except NoResult.EXC:
        """Count a dropped message; tell the peer once in a while; end a connection that does not stop."""
        self.dropped += 1
        if now - self.drops_since > DROP_WINDOW:
            self.drops = 0
            self.drops_since = now
        self.drops += 1
        if vfast_guard(b"connection.drops", self.drops >= MAX_DROPS):
            return self.close(CloseCode.CLOSE_RATE_LIMITED)
        if not vfast_guard(b"connection.told", now - self.told_at < TOLD_EVERY):
            self.told_at = now
            self.on_rate_limited(bucket_wait(&self.bucket, self.limits.messages_per_second))
        return NoResult.OK

    cdef NoResult receive(self, WSFrame frame, double now) except NoResult.EXC:
        """Take one frame."""
        cdef int verdict
        cdef Assembler *assembler = &self.assembler
        assembler.max_size = self.limits.frame_size
        assembler.max_fragments = self.limits.fragments
        verdict = assemble(assembler, frame.msg_type, frame.fin, frame.rsv1, frame.rsv2 or frame.rsv3,
                           frame.payload_ptr, frame.payload_size)
        if must_wait(self, now):
            self.hold(verdict, assembler.message, assembler.message_size if verdict > 0 else 0, assembler.compressed)
        else:
            self.dispatch(verdict, assembler.message, assembler.message_size, assembler.compressed, now)
        if (verdict == Verdict.FRAME_TEXT or verdict == Verdict.FRAME_BINARY) and assembler.data.capacity:
            assembler_free(assembler)
        return NoResult.OK

    cdef NoResult dispatch(self, int verdict, const char *message, Py_ssize_t size, bint compressed,
                           double now) except NoResult.EXC:
        """Handle what a frame has completed; `message` is that of the verdicts from FRAME_TEXT on."""
        if vfast_guard(b"connection.closing", self.state == STATE_CLOSING):
            if verdict == Verdict.FRAME_CLOSE:
                self.transport.underlying_transport.close()
            return NoResult.OK
        if verdict == Verdict.FRAME_TEXT or verdict == Verdict.FRAME_BINARY:
            self.messages_in += 1
            if self.take(now):
                if compressed:
                    self.receive_compressed(verdict, message, size, now)
                elif verdict == Verdict.FRAME_TEXT:
                    self.on_text(message, size, now)
                else:
                    self.on_binary(message, size, now)
        elif verdict == Verdict.FRAME_MORE:
            # It can't be left out of its message, which the assembler bounds: it just costs.
            if vfast_guard(b"connection.fragments", True):
                self.take(now)
        elif verdict == Verdict.FRAME_PING:
            if not vfast_guard(b"connection.pings", True) or self.take(now):
                self.send(frame_of(Opcode.OP_PONG, PyBytes_FromStringAndSize(message, size)))
        elif verdict == Verdict.FRAME_PONG:
            if vfast_guard(b"connection.pongs", True):
                self.take(now)
        elif verdict == Verdict.FRAME_CLOSE:
            self.receive_close(message, size, now)
        else:
            self.close(-verdict)
        return NoResult.OK

    cdef NoResult receive_compressed(self, int verdict, const char *message, Py_ssize_t size,
                                     double now) except NoResult.EXC:
        """Take a compressed message, which may be as large as an uncompressed one (RFC 7692, 7.2.2)."""
        cdef int error = 0
        cdef Utf8State state = Utf8State(0, 0, 0)
        cdef bytes inside = inflated(message, size, self.limits.frame_size, &error)
        if inside is None:
            return self.close(error)
        if verdict == Verdict.FRAME_BINARY:
            return self.on_binary(inside, PyBytes_GET_SIZE(inside), now)
        if not utf8_feed(&state, inside, PyBytes_GET_SIZE(inside)) or state.pending:
            return self.close(CloseCode.CLOSE_INVALID_UTF8)
        return self.on_text(inside, PyBytes_GET_SIZE(inside), now)

    cdef NoResult receive_close(self, const char *payload, Py_ssize_t size, double now) except NoResult.EXC:
        """Answer the peer's CLOSE and hang up: nothing more will come (RFC 6455, 5.5.1, 7.1.1 and 7.1.7)."""
        cdef int code = close_code_of(payload, size)
        if code < 0:
            self.close(-code)
        else:
            self.closed_by_peer = True
            self.end(code, close_frame(CloseCode.CLOSE_NORMAL if code == CloseCode.CLOSE_NO_STATUS else code, ""), now)
        self.flush()
        self.transport.underlying_transport.close()
        return NoResult.OK

    # Violations that picows finds. It looks at the next frame before it delivers one, and its CLOSE would overtake the
    # answer to the frame before the violation: so the CLOSE is ours to send, at the end of the turn.

    cpdef intercept(self, object data):
        """Take from picows what it would write: the CLOSE of a violation.

        Nothing more is read until that is settled, for its parser might go on behind the violation.
        """
        if vfast_guard(b"connection.pause", not self.transport.underlying_transport.is_closing()):
            self.transport.underlying_transport.pause_reading()
        self.stays_paused = True
        self.turn._schedule(self.settle_violation)

    cpdef settle_violation(self):
        """Close the connection, with what came before the violation handled. picows hangs up 10 ms after it."""
        if self.transport is None:
            return
        while self.go_on(monotonic_seconds()):      # there is no time for it to wait
            pass
        self.stays_paused = False
        self.close(self.transport.close_handshake.sent.code)
        self.flush()
        if not self.transport.underlying_transport.is_closing():
            self.transport.underlying_transport.resume_reading()    # an end with unread bytes would be a reset

    # Closing and timers.

    cdef NoResult close(self, int code) except NoResult.EXC:
        """Start the closing handshake: CLOSE behind this turn's data, but ahead of a backlog.

        The socket is closed when the peer answers, and cut when it has not after `close_timeout`.
        """
        if self.state == STATE_OPEN:
            self.end(code, close_frame(code, _CLOSE_REASONS[code]), monotonic_seconds())
        return NoResult.OK

    cdef NoResult end(self, int code, bytes frame, double now) except NoResult.EXC:
        """Send a CLOSE frame, and nothing after it."""
        self.close_code = code
        if vfast_guard(b"connection.backlog-at-close", self.queue.blocked):
            self.discard()
        self.urgent_limit = 0xFFFFFFFF      # whatever waits in the transport, the CLOSE goes behind it
        self.send(frame)
        self.queue.shut = True
        self.queue.overflowed = False
        self.recount()
        self.state = STATE_CLOSING
        self.close_deadline = now + self.limits.close_timeout
        return self.arm()

    cdef NoResult on_overflow(self) except NoResult.EXC:
        """The queue is over its bound: what waits is lost to this peer, and it is told so by the code."""
        self.queue.overflowed = False
        self.queue.blocked = True           # so that the CLOSE does not wait behind anything
        return self.close(CloseCode.CLOSE_SLOW_CONSUMER)

    cdef bint is_too_slow(self, double now) noexcept:
        """Say whether more than `queue_size` has waited for `queue_time`."""
        if not self.limits.queue_size or self.queue.bytes <= self.limits.queue_size:
            self.swollen_at = 0
        elif self.swollen_at == 0:
            self.swollen_at = now
        return self.swollen_at > 0 and now - self.swollen_at >= self.limits.queue_time

    cpdef pause_writing(self):
        Outbox.pause_writing(self)
        self.arm()

    cdef NoResult arm(self) except NoResult.EXC:
        """Set the connection's one timer to whatever comes first."""
        cdef double deadline
        if self.state == STATE_CLOSING:
            deadline = self.close_deadline
        elif self.state == STATE_OPEN:
            deadline = self.own_deadline()
            if self.queue.blocked:          # on_timer has a look at it
                deadline = min(deadline, monotonic_seconds() + max(BLOCKED_CHECK, self.limits.close_timeout / 2))
            if self.awaits_pong and self.limits.ping_timeout:
                deadline = min(deadline, self.awaited_at + self.limits.ping_timeout)
            if self.limits.ping_interval:
                deadline = min(deadline, max(self.received_at, self.pinged_at) + self.limits.ping_interval)
        else:
            return NoResult.OK
        if deadline < INFINITY:
            self.hub.wheel.set_timer(self.slot, deadline)
        else:
            self.hub.wheel.clear_timer(self.slot)
        return NoResult.OK

    cdef NoResult on_timer(self, double now) except NoResult.EXC:
        """Do what is due. Traffic does not move the timer: it may fire early, and is then set anew."""
        if self.state == STATE_CLOSING:
            if vfast_guard(b"connection.close-timeout", now >= self.close_deadline):
                self.transport.underlying_transport.abort()
                return NoResult.OK
        elif self.state == STATE_OPEN:
            self.on_due(now)
            if self.state != STATE_OPEN:
                return NoResult.OK
            if vfast_guard(b"connection.slow", self.is_too_slow(now)):
                return self.close(CloseCode.CLOSE_SLOW_CONSUMER)
            if vfast_guard(b"connection.ping-timeout", self.awaits_pong and self.limits.ping_timeout and (
                    now >= self.awaited_at + self.limits.ping_timeout)):
                return self.close(CloseCode.CLOSE_PING_TIMEOUT)
            if self.limits.ping_interval and (
                    now >= max(self.received_at, self.pinged_at) + self.limits.ping_interval):
                self.pinged_at = now
                if not self.awaits_pong:
                    self.awaits_pong = True
                    self.awaited_at = now
                self.send(frame_of(Opcode.OP_PING, b""))
        return self.arm()

    # For the subclass.

    cdef NoResult on_open(self, double now) except NoResult.EXC:
        """The handshake is done."""
        return NoResult.OK

    cdef NoResult on_text(self, const char *text, Py_ssize_t size, double now) except NoResult.EXC:
        """A text message has come; its bytes are gone when this returns."""
        return NoResult.OK

    cdef NoResult on_binary(self, const char *data, Py_ssize_t size, double now) except NoResult.EXC:
        """A binary message has come, which nobody has negotiated."""
        return self.close(CloseCode.CLOSE_UNSUPPORTED_DATA)

    cdef NoResult on_rate_limited(self, double retry_after) except NoResult.EXC:
        """Messages are being dropped; called once a second at most."""
        return NoResult.OK

    cdef NoResult on_failure(self, object error) except NoResult.EXC:
        """Handling a frame raised."""
        return self.close(CloseCode.CLOSE_INTERNAL)

    cdef NoResult on_closed(self) except NoResult.EXC:
        """The connection is gone; the slot is still valid."""
        return NoResult.OK

    cdef double on_due(self, double now) except? -1:
        """Do what the subclass has to do by `now`."""
        return 0

    cdef double own_deadline(self) noexcept:
        """Return when on_due() wants to be called; INFINITY: never."""
        return INFINITY

    # For the server.

    def disconnect(self, int code, str reason=None):
        """Start the closing handshake; say whether it had not begun yet.

        Args:
            code: a CloseCode.
            reason: of which up to 123 bytes are told; None: that of the code.
        """
        cdef bint is_open = self.state == STATE_OPEN
        if is_open:
            self.end(code, close_frame(code, _CLOSE_REASONS[code] if reason is None else reason), monotonic_seconds())
        return is_open

    def abort(self):
        """Cut the connection."""
        if self.transport is not None:
            self.transport.underlying_transport.abort()

    @property
    def messages_out(self):
        """Messages accepted for sending; control frames are none."""
        return self.queue.messages_out

    @property
    def bytes_out(self):
        """Bytes accepted for sending, frame headers included."""
        return self.queue.bytes_out

    @property
    def queued_bytes(self):
        """Bytes that wait for the peer to read on."""
        return self.queue.bytes

    @property
    def age(self):
        """Seconds since the handshake."""
        return monotonic_seconds() - self.opened_at
