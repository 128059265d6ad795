"""A client that authenticates; client.pxd has the overview."""

from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport INFINITY, ceil

from .clock cimport iso_timestamp, monotonic_seconds, wall_seconds
from .connection cimport STATE_OPEN, Connection, Limits
from .encode cimport frame_of_json
from .formats cimport FORMAT_MSGPACK
from .hub cimport Hub
from .scope cimport Grant
from .types cimport NoResult
from .wire cimport CloseCode, ErrorCode

from .wire import CHANNEL_NAMES as _CHANNEL_NAMES, ERROR_NAMES as _ERROR_NAMES, ERROR_TEXTS as _ERROR_TEXTS

cdef enum:
    BACKLOG_MESSAGES = 64           # messages that may wait for the outcome of a command
    BACKLOG_BYTES = 1 << 16
    MAX_FAILURES = 3                # internal errors that end a connection

cdef dict NAME_OF_CHANNEL = _CHANNEL_NAMES
cdef dict PLAIN_ERRORS = {}         # ErrorCode -> frame


cdef bytes plain_error(int code):
    """Return the frame of an error that says no more than its code does; there is one for each code."""
    cdef bytes frame = PLAIN_ERRORS.get(code)
    if frame is None:
        frame = frame_of_json({"type": "error", "error": _ERROR_NAMES[code], "message": _ERROR_TEXTS[code]})
        PLAIN_ERRORS[code] = frame
    return frame


cdef class Client(Connection):
    """A client's connection up to what its token permits.

    Args:
        hub: where it is attached.
        limits: its bounds.
        host: the Python side (see `Host` in client.pyi).
        address: the client's, for logs.
        endpoint: the one Channel that the endpoint serves, -1: all.
        grant: what the handshake's token permits; None: the client has to authenticate in band.
        msgpack, deflate: as for Connection.
    """

    def __init__(self, Hub hub not None, Limits limits not None, host, str address not None, *,
                 int endpoint=-1, Grant grant=None, bint msgpack=False, int deflate=0):
        Connection.__init__(self, hub, limits, msgpack=msgpack, deflate=deflate)
        self.host = host
        self.address = address
        self.endpoint = endpoint
        self.handshake_grant = grant
        self.expires_at = INFINITY

    # From the connection.

    cdef NoResult on_open(self, double now) except NoResult.EXC:
        cdef Grant grant = self.handshake_grant
        self.host.opened(self)
        if grant is not None:
            self.handshake_grant = None
            self.accept(grant, None, 0, True, now)
        return NoResult.OK

    cdef NoResult on_text(self, const char *text, Py_ssize_t size, double now) except NoResult.EXC:
        if self.queue.format & FORMAT_MSGPACK:
            return self.close(CloseCode.CLOSE_UNSUPPORTED_DATA)
        if self.hub.sampler is not None:
            self.hub.sampler.received(self.number, text, size, False)
        return self.on_message(text, size, now)

    cdef NoResult on_binary(self, const char *data, Py_ssize_t size, double now) except NoResult.EXC:
        if not self.queue.format & FORMAT_MSGPACK:
            return self.close(CloseCode.CLOSE_UNSUPPORTED_DATA)
        if self.hub.sampler is not None:
            self.hub.sampler.received(self.number, data, size, True)
        return self.on_message(data, size, now)

    cdef NoResult on_closed(self) except NoResult.EXC:
        self.backlog = None
        self.host.closed(self)
        return NoResult.OK

    cdef NoResult on_rate_limited(self, double retry_after) except NoResult.EXC:
        if self.waiting and self.grant is None:
            self.dropped_untold = True          # nothing goes out before auth_response
            return NoResult.OK
        self.fail(ErrorCode.RATE_LIMITED, None, None, -1, retry_after)
        return NoResult.OK

    cdef NoResult on_failure(self, object error) except NoResult.EXC:
        self.fail_internally(error, None)
        return NoResult.OK

    cdef NoResult on_broken(self, object error) except NoResult.EXC:
        self.host.failed(self, error)
        return Connection.on_broken(self, error)

    cdef int fail_internally(self, object error, object id) except -1:
        """Handling a command raised: a bug, or no memory. A connection on which that goes on is ended."""
        self.host.failed(self, error)
        self.failures += 1
        if self.failures >= MAX_FAILURES:
            self.close(CloseCode.CLOSE_INTERNAL)
            return ErrorCode.INTERNAL
        return self.fail(ErrorCode.INTERNAL, id)

    cdef double own_deadline(self) noexcept:
        if self.grant is None:
            return self.opened_at + self.limits.auth_timeout if self.limits.auth_timeout else INFINITY
        if self.expired:
            return self.expires_at + self.limits.grace
        if self.wishes & WISH_RENEW and not self.renewal_told:
            return self.expires_at - self.limits.renewal_notice
        return self.expires_at

    cdef double on_due(self, double now) except? -1:
        if self.grant is None:
            if self.limits.auth_timeout and now >= self.opened_at + self.limits.auth_timeout:
                self.close(CloseCode.CLOSE_AUTH_TIMEOUT)
            return 0
        if now >= self.expires_at:
            self.expired = True
            if now >= self.expires_at + self.limits.grace:
                self.close(CloseCode.CLOSE_TOKEN_EXPIRED)
        elif self.wishes & WISH_RENEW and not self.renewal_told and now >= self.expires_at - self.limits.renewal_notice:
            self.renewal_told = True
            self.answer({"type": "token_expiring", "expires_in": <long long>ceil(self.expires_at - now)}, None)
        return 0

    # Authentication.

    cdef int authenticate(self, dict message, object id, double now) except -1:
        """Have the token verified; its outcome is answered here or, when the key has to be fetched, later."""
        cdef int wishes = (WISH_RENEW if message.get("renew") is True else 0) | (
            WISH_NOTICES if message.get("notices") is True else 0) | (
            WISH_BATCH if message.get("batch") is True else 0)
        outcome = self.host.authenticate(self, message.get("token"))
        if outcome is None:
            self.refuse(id, ErrorCode.INVALID_TOKEN, None)
            return self.outcome
        if isinstance(outcome, Grant):
            self.accept(outcome, id, wishes, False, now)
            return self.outcome
        self.waiting = True
        self.auth_id = id
        self.auth_wishes = wishes
        self.host.wait(self, outcome)
        return ErrorCode.NO_ERROR

    def verified(self, Grant grant):
        """Go on after a verification that took its time; None: the token was refused."""
        cdef double now = monotonic_seconds()
        if self.state != STATE_OPEN or not self.waiting:
            return
        self.waiting = False
        try:
            if grant is None:
                self.refuse(self.auth_id, ErrorCode.INVALID_TOKEN, None)
            else:
                self.accept(grant, self.auth_id, self.auth_wishes, False, now)
        except Exception as error:
            self.outcome = self.fail_internally(error, self.auth_id)
        if self.dropped_untold:
            self.dropped_untold = False
            self.fail(ErrorCode.RATE_LIMITED, None)
        self.resume(now)

    cdef bint defer(self, const char *text, Py_ssize_t size) except -1:
        """Keep a message that has to wait for another one's outcome; False when too much waits already."""
        if self.backlog is None:
            self.backlog = []
        if len(self.backlog) >= BACKLOG_MESSAGES or self.backlog_bytes + size > BACKLOG_BYTES:
            return False
        self.backlog.append(PyBytes_FromStringAndSize(text, size))
        self.backlog_bytes += size
        return True

    cdef NoResult resume(self, double now) except NoResult.EXC:
        """Handle what came while a command waited for its outcome; what has to wait again goes back to the backlog."""
        cdef list backlog = self.backlog
        cdef bytes text
        cdef Py_ssize_t i = 0
        if backlog is None:
            return NoResult.OK
        self.backlog = None
        self.backlog_bytes = 0
        while i < len(backlog) and self.state == STATE_OPEN:
            text = <bytes>backlog[i]
            i += 1
            try:
                self.on_message(text, PyBytes_GET_SIZE(text), now)
            except Exception as error:
                self.on_failure(error)
        return NoResult.OK

    cdef NoResult refuse(self, object id, int code, str text) except NoResult.EXC:
        """Answer a refused authentication; the third one ends the connection."""
        self.outcome = code
        self.auth_failures += 1
        self.hub.errors[code] += 1
        self.answer({"type": "auth_response", "success": False, "error": _ERROR_NAMES[code],
                     "message": text if text is not None else _ERROR_TEXTS[code]}, id)
        if self.limits.auth_attempts and self.auth_failures >= self.limits.auth_attempts:
            return self.close(CloseCode.CLOSE_INVALID_TOKEN)
        return NoResult.OK

    cdef NoResult accept(self, Grant grant, object id, int wishes, bint silent, double now) except NoResult.EXC:
        """Take a verified token into force, at the start or as a renewal.

        silent: it came with the handshake, nobody waits for an auth_response.
        """
        cdef double remaining = grant.expires_at - wall_seconds()
        cdef bint first = self.grant is None
        cdef list lost
        cdef int channel
        if not first and grant.user != self.grant.user:
            self.refuse(id, ErrorCode.INVALID_TOKEN, "a renewal is for the same user")
            return self.close(CloseCode.CLOSE_PROTOCOL_ERROR)
        if self.endpoint >= 0 and not (grant.channels >> self.endpoint) & 1:
            self.refuse(id, ErrorCode.FORBIDDEN, "the token does not permit this endpoint's channel")
            return self.close(CloseCode.CLOSE_FORBIDDEN)
        if first and not self.host.join(self, grant.user):
            self.refuse(id, ErrorCode.TOO_MANY_CONNECTIONS, None)
            return self.close(CloseCode.CLOSE_TOO_MANY_CONNECTIONS)
        self.outcome = ErrorCode.NO_ERROR
        lost = self.on_grant(grant)
        self.grant = grant
        self.expires_at = now + remaining
        self.expired = self.renewal_told = False
        self.wishes |= wishes
        self.queue.batches = self.wishes & WISH_BATCH != 0
        if not silent:
            self.answer({"type": "auth_response", "success": True, "user": grant.user,
                         "expires_at": iso_timestamp(grant.expires_at), "expires_in": <long long>max(0, remaining),
                         "channels": [name for channel, name in NAME_OF_CHANNEL.items()
                                      if (grant.channels >> channel) & 1]}, id)
        for document in lost:
            self.answer(document, None)
        if first:
            self.on_authenticated()
        return self.arm()

    # For the subclass.

    cdef NoResult on_message(self, const char *data, Py_ssize_t size, double now) except NoResult.EXC:
        """A message has come, in the client's format; its bytes are gone when this returns."""
        return NoResult.OK

    cdef list on_grant(self, Grant grant):
        """A token comes into force; return the messages that tell what it took away."""
        return []

    cdef NoResult on_authenticated(self) except NoResult.EXC:
        """The first token is in force, and has been answered."""
        return NoResult.OK

    # Answers.

    cdef int fail(self, int code, object id, str text=None, int channel=-1, double retry_after=0) except -1:
        """Answer an error; return its code."""
        cdef dict document
        self.hub.errors[code] += 1
        if id is None and text is None and channel < 0 and retry_after <= 0 and self.hub.sampler is None:
            self.send(plain_error(code))
            return code
        document = {"type": "error", "error": _ERROR_NAMES[code],
                    "message": text if text is not None else _ERROR_TEXTS[code]}
        if channel >= 0:
            document["channel"] = NAME_OF_CHANNEL[channel]
        if retry_after > 0:
            document["retry_after"] = ceil(retry_after * 1000) / 1000
        self.answer(document, id)
        return code

    cdef NoResult answer(self, dict document, object id) except NoResult.EXC:
        """Send an answer, with the command's id when it had one."""
        cdef bytes frame
        if id is not None:
            document["id"] = id
        frame = frame_of_json(document)
        if self.hub.sampler is not None:
            self.hub.sampler.answered(self.number, document, PyBytes_GET_SIZE(frame))
        return self.send(frame)

    # For the server.

    @property
    def user(self):
        """The token's user; None before authentication."""
        return None if self.grant is None else self.grant.user
