"""A client of the Valtronics WebSocket API; session.pxd has the overview."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport INFINITY, ceil
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc

from .clock cimport iso_now, iso_timestamp, monotonic_seconds, wall_seconds
from .commands cimport Outline, Selection, command_of, decode, devices_of, id_of, outline, select, selection_filters
from .connection cimport STATE_OPEN, Connection, Limits
from .encode cimport frame_of_json
from .hub cimport Hub
from .scope cimport Grant, canonical_device
from .subscriptions cimport SubscriptionTable
from .types cimport NoResult
from .wire cimport Channel, CloseCode, Command, ErrorCode

from .index import TooManyNames
from .publication import PublicationError, channel_of
from .wire import CHANNEL_NAMES, CHANNELS, ERROR_NAMES, ERROR_TEXTS

cdef enum:
    BACKLOG_MESSAGES = 64           # messages that may wait for a token's verification
    BACKLOG_BYTES = 1 << 16
    MAX_FAILURES = 3                # internal errors that end a connection

cdef dict NUMBER_OF_CHANNEL = CHANNELS
cdef dict NAME_OF_CHANNEL = CHANNEL_NAMES


@cython.final
cdef class Batch:
    """A batch at work; fields in session.pxd."""

    def __dealloc__(self):
        free(self.sizes)


@cython.final
cdef class Session(Connection):
    """A client's connection.

    Args:
        hub: where it subscribes.
        limits: its bounds.
        host: the Python side (see `Host` in session.pyi).
        address: the client's, for logs.
        endpoint: the one Channel that the endpoint serves, -1: all.
        implicit: subscribe to that channel after authentication.
        grant: what the handshake's token permits; None: the client has to authenticate in band.
    """

    def __init__(self, Hub hub not None, Limits limits not None, host, str address not None, *,
                 int endpoint=-1, bint implicit=True, Grant grant=None):
        Connection.__init__(self, hub, limits)
        self.host = host
        self.address = address
        self.endpoint = endpoint
        self.wants_implicit = implicit and endpoint >= 0
        self.handshake_grant = grant
        self.expires_at = INFINITY
        self.backlog = []

    # From the connection.

    cdef NoResult on_open(self, double now) except NoResult.EXC:
        cdef Grant grant = self.handshake_grant
        self.table = SubscriptionTable.__new__(SubscriptionTable)
        self.table.index = self.hub.index
        self.table.slot = self.slot
        self.host.opened(self)
        if grant is not None:
            self.handshake_grant = None
            self.accept(grant, None, False, True, now)
        return NoResult.OK

    cdef NoResult on_closed(self) except NoResult.EXC:
        self.backlog = []
        self.batch = None
        self.table.clear()
        self.host.closed(self)
        return NoResult.OK

    cdef NoResult on_text(self, const char *text, Py_ssize_t size, double now) except NoResult.EXC:
        """Handle one message: cheap checks on the bytes first, then the decoded command."""
        cdef Outline sketch
        cdef int error = 0
        cdef dict message
        cdef object id
        if self.authenticating:
            if len(self.backlog) >= BACKLOG_MESSAGES or self.backlog_bytes + size > BACKLOG_BYTES:
                return self.drop(now)
            self.backlog.append(PyBytes_FromStringAndSize(text, size))
            self.backlog_bytes += size
            return NoResult.OK
        outline(text, size, &sketch, NULL, 0)
        if self.limits.json_depth and sketch.depth > self.limits.json_depth:
            self.fail(ErrorCode.INVALID_MESSAGE, None, f"nested deeper than {self.limits.json_depth}")
            return NoResult.OK
        if self.limits.message_size and size > self.limits.message_size and not sketch.is_batch and not (
                sketch.is_auth and size <= self.limits.auth_size):
            self.fail(ErrorCode.MESSAGE_TOO_LARGE, None, f"a message has at most {self.limits.message_size} bytes")
            return NoResult.OK
        message = decode(text, size, &error)
        if message is None:
            self.fail(error, None)
            return NoResult.OK
        if not sketch.is_batch or command_of(message) != Command.BATCH:
            self.handle(message, now)
            return NoResult.OK
        id = id_of(message, &error)
        if error:
            self.fail(error, None, "id is a string or an integer of at most 64 bytes")
        else:
            self.start_batch(message, id, text, size, now)
        return NoResult.OK

    cdef NoResult on_rate_limited(self, double retry_after) except NoResult.EXC:
        self.fail(ErrorCode.RATE_LIMITED, None, None, -1, retry_after)
        return NoResult.OK

    cdef NoResult on_failure(self, object error) except NoResult.EXC:
        """A bug or a full memory: tell both sides; a connection on which it goes on is ended."""
        self.host.failed(self, error)
        self.failures += 1
        if self.failures >= MAX_FAILURES:
            return self.close(CloseCode.CLOSE_INTERNAL)
        self.fail(ErrorCode.INTERNAL, None)
        return NoResult.OK

    cdef double own_deadline(self) noexcept:
        if self.grant is None:
            return self.opened_at + self.limits.auth_timeout if self.limits.auth_timeout else INFINITY
        if self.expired:
            return self.expires_at + self.limits.grace
        if self.renews and not self.renewal_told:
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
        elif self.renews and not self.renewal_told and now >= self.expires_at - self.limits.renewal_notice:
            self.renewal_told = True
            self.answer({"type": "token_expiring", "expires_in": <int>ceil(self.expires_at - now)}, None)
        return 0

    # Commands.

    cdef int handle(self, dict message, double now) except -1:
        """Handle one decoded message or batch item; return its ErrorCode."""
        cdef int error = 0
        cdef int command = command_of(message)
        cdef object id = id_of(message, &error)
        if error:
            return self.fail(error, None, "id is a string or an integer of at most 64 bytes")
        if command < 0:
            return self.fail(-command, id)
        if command != Command.AUTH and command != Command.PING:
            if self.grant is None:
                return self.fail(ErrorCode.NOT_AUTHENTICATED, id)
            if self.expired:
                return self.fail(ErrorCode.TOKEN_EXPIRED, id)
        return self.run(command, message, id, now)

    cdef int run(self, int command, dict message, object id, double now) except -1:
        if command == Command.AUTH:
            return self.authenticate(message, id, now)
        if command == Command.SUBSCRIBE:
            return self.subscribe(message, id)
        if command == Command.UNSUBSCRIBE:
            return self.unsubscribe(message, id)
        if command == Command.PING:
            return self.ping(message, id)
        if command == Command.PUBLISH:
            return self.publish(message, id)
        if command == Command.ERROR_REPORT:
            self.host.reported(self, message)
            return ErrorCode.NO_ERROR
        # A batch within a batch never gets here, and one whose "type" is spelled with escapes is not worth it.
        return self.fail(ErrorCode.INVALID_MESSAGE, id)

    cdef int channel_of(self, dict message, object id) except -1000:
        """Return the command's channel, or its negated ErrorCode, which has been answered."""
        cdef object name = message.get("channel")
        cdef int channel
        if name is None and self.endpoint >= 0:
            return self.endpoint
        if type(name) is not str:
            return -self.fail(ErrorCode.INVALID_MESSAGE, id, "channel is missing or not a string")
        number = NUMBER_OF_CHANNEL.get(name)
        if number is None:
            return -self.fail(ErrorCode.UNKNOWN_CHANNEL, id)
        channel = number
        if self.endpoint >= 0 and channel != self.endpoint:
            return -self.fail(ErrorCode.CHANNEL_NOT_ALLOWED, id, None, channel)
        self.hub.counters[channel].received += 1
        return channel

    cdef int subscribe(self, dict message, object id) except -1:
        cdef int channel = self.channel_of(message, id)
        cdef list problem = []
        cdef Selection selection
        cdef frozenset denied = frozenset()
        cdef Py_ssize_t replaced = 0, replaced_devices, devices = 0
        cdef dict document
        if channel < 0:
            return -channel
        if not (self.grant.channels >> channel) & 1:
            return self.fail(ErrorCode.FORBIDDEN, id, None, channel)
        selection = select(channel, message, problem)
        if selection is None:
            return self.fail(ErrorCode.INVALID_FILTER, id, problem[0], channel)
        if selection.devices is not None:
            devices = len(selection.devices)
        if self.grant.devices is not None and channel != Channel.SYSTEM:
            if selection.devices is not None:
                denied = selection.devices - self.grant.devices
            if not self.grant.devices or (devices and len(denied) == devices):
                return self.fail(ErrorCode.FORBIDDEN, id, "none of these devices is in the token's scope", channel)
        replaced_devices = self.table.cost_of(channel, selection.devices, &replaced)
        if (self.limits.subscriptions and self.table.count - replaced + 1 > self.limits.subscriptions) or (
                self.limits.device_ids and self.table.devices - replaced_devices + devices > self.limits.device_ids):
            return self.fail(ErrorCode.TOO_MANY_SUBSCRIPTIONS, id, None, channel)
        try:
            self.table.subscribe(channel, selection, False)
        except TooManyNames:
            return self.fail(ErrorCode.TOO_MANY_SUBSCRIPTIONS, id, "the server knows as many names as it may", channel)
        if id is not None:
            document = {"type": "subscribe_response", "id": id, "success": True, "channel": NAME_OF_CHANNEL[channel],
                        "filters": selection_filters(channel, selection, denied)}
            if channel == Channel.TELEMETRY or channel == Channel.SYSTEM:
                document["frequency"] = "real-time"
            if denied:
                document["denied"] = {"device_id": [d for d in selection.device_order if d in denied]}
            self.answer(document, None)
        return ErrorCode.NO_ERROR

    cdef int unsubscribe(self, dict message, object id) except -1:
        cdef int channel = self.channel_of(message, id)
        cdef frozenset devices = None
        cdef list problem = []
        if channel < 0:
            return -channel
        filters = message.get("filters")
        value = filters.get("device_id") if type(filters) is dict else None
        if value is None:
            value = message.get("device_id")
        if value is not None:
            devices = devices_of(value, problem)
            if devices is None:
                return self.fail(ErrorCode.INVALID_FILTER, id, problem[0], channel)
        if not self.table.unsubscribe(channel, devices):
            return self.fail(ErrorCode.NOT_SUBSCRIBED, id, None, channel)
        if id is not None:
            self.answer({"type": "unsubscribe_response", "id": id, "success": True,
                         "channel": NAME_OF_CHANNEL[channel]}, None)
        return ErrorCode.NO_ERROR

    cdef int ping(self, dict message, object id) except -1:
        cdef dict document = {"type": "pong", "timestamp": iso_now()}
        given = message.get("timestamp")
        if isinstance(given, (str, int, float)):
            document["client_timestamp"] = given
        self.answer(document, id)
        return ErrorCode.NO_ERROR

    cdef int publish(self, dict message, object id) except -1:
        cdef object data = message.get("message")
        cdef int channel
        if not self.grant.publish:
            return self.fail(ErrorCode.FORBIDDEN, id)
        if type(data) is not dict:
            return self.fail(ErrorCode.INVALID_MESSAGE, id, "message is missing or not an object")
        number = channel_of(data)
        if number is not None:
            channel = number
            if self.endpoint >= 0 and channel != self.endpoint:
                return self.fail(ErrorCode.CHANNEL_NOT_ALLOWED, id, None, channel)
            if not (self.grant.publish >> channel) & 1:
                return self.fail(ErrorCode.FORBIDDEN, id, None, channel)
            if channel != Channel.SYSTEM and not self.grant.allows_device(canonical_device(data.get("device_id"))):
                return self.fail(ErrorCode.FORBIDDEN, id, "the device is not in the token's scope", channel)
            self.hub.counters[channel].received += 1
        try:
            self.host.publish(data)
        except PublicationError as error:
            return self.fail(error.code, id, str(error))
        if id is not None:
            self.answer({"type": "publish_response", "id": id, "success": True}, None)
        return ErrorCode.NO_ERROR

    # Batches.

    cdef int start_batch(self, dict message, object id, const char *text, Py_ssize_t size, double now) except -1:
        """Check a batch as a whole, then do its items in order; returns its ErrorCode."""
        cdef object items = message.get("messages")
        cdef Batch batch
        cdef Outline sketch
        cdef Py_ssize_t count
        if type(items) is not list:
            return self.fail(ErrorCode.INVALID_MESSAGE, id, "messages is missing or not an array")
        count = len(items)
        if self.limits.batch_items and count > self.limits.batch_items:
            return self.fail(ErrorCode.BATCH_TOO_LARGE, id, f"a batch has at most {self.limits.batch_items} messages")
        for item in <list>items:
            if type(item) is dict and item.get("type") == "batch":
                return self.fail(ErrorCode.BATCH_TOO_LARGE, id)
        batch = Batch.__new__(Batch)
        batch.items = items
        batch.id = id
        batch.results = None if id is None else []
        if self.limits.message_size and size > self.limits.message_size:
            batch.sizes = <Py_ssize_t *>malloc((count + 1) * sizeof(Py_ssize_t))
            if batch.sizes == NULL:
                raise MemoryError
            outline(text, size, &sketch, batch.sizes, count)
            if sketch.items != count:               # "messages" is spelled with escapes somewhere
                return self.fail(ErrorCode.MESSAGE_TOO_LARGE, id)
        self.batch = batch
        self.continue_batch(now)
        return ErrorCode.NO_ERROR

    cdef NoResult continue_batch(self, double now) except NoResult.EXC:
        """Do the batch's items up to the end or to one that has to wait."""
        cdef Batch batch = self.batch
        cdef int error
        cdef Py_ssize_t i
        while batch.position < len(batch.items) and not self.authenticating and self.state == STATE_OPEN:
            i = batch.position
            batch.position += 1
            item = batch.items[i]
            if i and not self.take(now):            # the first is paid for by the frame
                error = ErrorCode.RATE_LIMITED
            elif type(item) is not dict:
                error = self.fail(ErrorCode.INVALID_MESSAGE, None)
            elif batch.sizes != NULL and batch.sizes[i] > self.limits.message_size and not (
                    command_of(item) == Command.AUTH and batch.sizes[i] <= self.limits.auth_size):
                error = self.fail(ErrorCode.MESSAGE_TOO_LARGE, None)
            else:
                error = self.handle(item, now)
            if batch.results is not None:
                batch.results.append({"success": True} if error == ErrorCode.NO_ERROR
                                     else {"success": False, "error": ERROR_NAMES[error]})
        if batch.position < len(batch.items) and self.state == STATE_OPEN:
            return NoResult.OK
        self.batch = None
        if batch.results is not None:
            self.answer({"type": "batch_response", "id": batch.id, "success": True, "results": batch.results}, None)
        return NoResult.OK

    # Authentication.

    cdef int authenticate(self, dict message, object id, double now) except -1:
        """Have the token verified; its outcome is answered here or, when the key has to be fetched, later."""
        cdef bint renews = message.get("renew") is True
        outcome = self.host.authenticate(self, message.get("token"))
        if outcome is None:
            self.refuse(id, ErrorCode.INVALID_TOKEN, None)
            return ErrorCode.INVALID_TOKEN
        if isinstance(outcome, Grant):
            self.accept(outcome, id, renews, False, now)
            return ErrorCode.NO_ERROR
        self.authenticating = True
        self.auth_id = id
        self.auth_renews = renews
        self.host.wait(self, outcome)
        return ErrorCode.NO_ERROR

    def verified(self, Grant grant):
        """Go on after a verification that took its time; None: the token was refused."""
        cdef double now = monotonic_seconds()
        if self.state != STATE_OPEN or not self.authenticating:
            return
        self.authenticating = False
        if grant is None:
            self.refuse(self.auth_id, ErrorCode.INVALID_TOKEN, None)
        else:
            self.accept(grant, self.auth_id, self.auth_renews, False, now)
        if self.batch is not None:
            self.continue_batch(now)
        self.work_backlog(now)

    cdef NoResult work_backlog(self, double now) except NoResult.EXC:
        """Handle what came while a token was being verified, in order, up to the next one that has to wait."""
        cdef list backlog = self.backlog
        cdef bytes text
        cdef Py_ssize_t i = 0
        self.backlog = []
        self.backlog_bytes = 0
        while i < len(backlog) and self.state == STATE_OPEN:
            text = <bytes>backlog[i]
            i += 1
            try:
                self.on_text(text, PyBytes_GET_SIZE(text), now)
            except Exception as error:
                self.on_failure(error)
        return NoResult.OK

    cdef NoResult refuse(self, object id, int code, str text) except NoResult.EXC:
        """Answer a refused authentication; the third one ends the connection."""
        self.auth_failures += 1
        self.answer({"type": "auth_response", "success": False, "error": ERROR_NAMES[code],
                     "message": text if text is not None else ERROR_TEXTS[code]}, id)
        if self.limits.auth_attempts and self.auth_failures >= self.limits.auth_attempts:
            return self.close(CloseCode.CLOSE_INVALID_TOKEN)
        return NoResult.OK

    cdef NoResult accept(self, Grant grant, object id, bint renews, bint silent, double now) except NoResult.EXC:
        """Take a verified token into force, at the start or as a renewal.

        silent: it came with the handshake, nobody waits for an auth_response.
        """
        cdef double remaining = grant.expires_at - wall_seconds()
        cdef bint first = self.grant is None
        cdef list lost = []
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
        if first:
            self.table.grant = grant
        else:
            lost = self.table.apply_grant(grant)
        self.grant = grant
        self.expires_at = now + remaining
        self.expired = self.renewal_told = False
        self.renews = self.renews or renews
        if not silent:
            self.answer({"type": "auth_response", "success": True, "user": grant.user,
                         "expires_at": iso_timestamp(grant.expires_at), "expires_in": <int>max(0, remaining),
                         "channels": [name for channel, name in NAME_OF_CHANNEL.items()
                                      if (grant.channels >> channel) & 1]}, id)
        self.announce_lost(lost)
        if first and self.wants_implicit and not (grant.devices is not None and not grant.devices
                                                  and self.endpoint != Channel.SYSTEM):
            self.table.subscribe(self.endpoint, Selection.__new__(Selection), True)
        return self.arm()

    cdef NoResult announce_lost(self, list lost) except NoResult.EXC:
        """Tell of the subscriptions that a renewal ended (protocol.md, section 2)."""
        for channel, devices in lost:
            document = {"type": "unsubscribed", "channel": NAME_OF_CHANNEL[channel], "reason": "permission_revoked"}
            if devices is not None:
                document["device_id"] = sorted(devices, key=str)
            self.answer(document, None)
        return NoResult.OK

    # Answers.

    cdef int fail(self, int code, object id, str text=None, int channel=-1, double retry_after=0) except -1:
        """Answer an error; return its code."""
        cdef dict document = {"type": "error", "error": ERROR_NAMES[code],
                              "message": text if text is not None else ERROR_TEXTS[code]}
        if channel >= 0:
            document["channel"] = NAME_OF_CHANNEL[channel]
        if retry_after > 0:
            document["retry_after"] = ceil(retry_after * 1000) / 1000
        self.answer(document, id)
        return code

    cdef NoResult answer(self, dict document, object id) except NoResult.EXC:
        """Send an answer, with the command's id when it had one."""
        if id is not None:
            document["id"] = id
        return self.send(frame_of_json(document))

    # For the server.

    @property
    def user(self):
        """The token's user; None before authentication."""
        return None if self.grant is None else self.grant.user

    @property
    def subscription_count(self):
        """How many subscriptions the connection has."""
        return 0 if self.table is None else self.table.count
