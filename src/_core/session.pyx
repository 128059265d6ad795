"""A client of the Valtronics WebSocket API; session.pxd has the overview."""

cimport cython
from libc.stdlib cimport free, malloc

from .clock cimport iso_now, monotonic_seconds
from .commands cimport Outline, Selection, command_of, decode, devices_of, id_of, outline, select, selection_filters
from .commands cimport take_recovery
from .connection cimport STATE_OPEN, Limits
from .coverage cimport Subscription
from .devices cimport DeviceSet
from .feed cimport Feed
from .formats cimport FORMAT_MSGPACK, packed_size, unpacked
from .hub cimport Hub
from .scope cimport Grant, canonical_device
from .types cimport NoResult
from .wire cimport Channel, Command, ErrorCode

from .names import TooManyNamesError
from .publication import PublicationError
from .publication import channel_of as data_channel
from .wire import CHANNEL_NAMES as _CHANNEL_NAMES, CHANNELS as _CHANNELS, ERROR_NAMES as _ERROR_NAMES

cdef dict NUMBER_OF_CHANNEL = _CHANNELS
cdef dict NAME_OF_CHANNEL = _CHANNEL_NAMES


cdef inline dict result_of(int error):
    """Return a batch item's entry in the batch_response."""
    return {"success": True} if error == ErrorCode.NO_ERROR else {"success": False, "error": _ERROR_NAMES[error]}


@cython.final
cdef class Batch:
    """A batch at work; fields in session.pxd."""

    def __dealloc__(self):
        free(self.sizes)


@cython.final
cdef class Session(Feed):
    """A client's connection.

    Args:
        hub: where it subscribes.
        limits: its bounds.
        host: the Python side (see `Host` in client.pyi).
        address: the client's, for logs.
        endpoint: the one Channel that the endpoint serves, -1: all.
        implicit: subscribe to that channel after authentication.
        grant: what the handshake's token permits; None: the client has to authenticate in band.
        msgpack, deflate: as for Connection.
    """

    def __init__(self, Hub hub not None, Limits limits not None, host, str address not None, *,
                 int endpoint=-1, bint implicit=True, Grant grant=None, bint msgpack=False, int deflate=0):
        Feed.__init__(self, hub, limits, host, address, endpoint=endpoint, grant=grant, msgpack=msgpack,
                      deflate=deflate)
        self.wants_implicit = implicit and endpoint >= 0

    # From the connection.

    cdef NoResult on_closed(self) except NoResult.EXC:
        self.batch = self.deferred = None
        return Feed.on_closed(self)

    cdef NoResult on_message(self, const char *data, Py_ssize_t size, double now) except NoResult.EXC:
        """Handle one message, in the format that the client has negotiated."""
        if self.waiting:
            return NoResult.OK if self.defer(data, size) else self.drop(now)
        if self.queue.format & FORMAT_MSGPACK:
            return self.on_packed(data, size, now)
        return self.on_json(data, size, now)

    cdef NoResult on_json(self, const char *text, Py_ssize_t size, double now) except NoResult.EXC:
        """Cheap checks on the bytes first, then the decoded command."""
        cdef Outline sketch
        cdef int error = 0
        cdef dict message
        outline(text, size, &sketch, NULL, 0)
        if not self.is_acceptable(<int>sketch.depth, size, sketch.is_auth, sketch.is_batch):
            return NoResult.OK
        message = decode(text, size, &error)
        if message is None:
            self.fail(error, None)
            return NoResult.OK
        if sketch.is_batch and command_of(message) == Command.BATCH:
            return self.take_batch(message, text, size, now)
        self.attempt(message, now)
        return NoResult.OK

    cdef NoResult on_packed(self, const char *data, Py_ssize_t size, double now) except NoResult.EXC:
        cdef int error = 0, depth = 0, command
        cdef dict message = unpacked(data, size, &error, &depth)
        if message is None:
            self.fail(error, None, "the message is not MessagePack" if error == ErrorCode.INVALID_JSON else None)
            return NoResult.OK
        command = command_of(message)
        if not self.is_acceptable(depth, size, command == Command.AUTH, command == Command.BATCH):
            return NoResult.OK
        if command == Command.BATCH:
            return self.take_batch(message, NULL, size, now)
        self.attempt(message, now)
        return NoResult.OK

    cdef bint is_acceptable(self, int depth, Py_ssize_t size, bint is_auth, bint is_batch) except -1:
        """Say whether a message is within its bounds; if not, that has been answered. A batch's are its items'."""
        if self.limits.json_depth and depth > <int>self.limits.json_depth:
            self.fail(ErrorCode.INVALID_MESSAGE, None, f"nested deeper than {self.limits.json_depth}")
            return False
        if not is_batch and self.is_too_large(size, is_auth):
            self.fail(ErrorCode.MESSAGE_TOO_LARGE, None, f"a message has at most {self.limits.message_size} bytes")
            return False
        return True

    cdef NoResult take_batch(self, dict message, const char *text, Py_ssize_t size, double now) except NoResult.EXC:
        """Handle a batch; text: as JSON, NULL: it came as MessagePack."""
        cdef int error = 0
        cdef object id = id_of(message, &error)
        self.hub.commands[<int>Command.BATCH] += 1
        if error:
            self.fail(error, None, "id is a string or an integer of at most 64 bytes")
        else:
            self.start_batch(message, id, text, size, now)
        return NoResult.OK

    # Commands.

    cdef bint is_too_large(self, Py_ssize_t size, bint is_auth) noexcept:
        """Say whether a message is over its bound; a token may need more room than other messages."""
        cdef Py_ssize_t limit = self.limits.message_size
        if is_auth and limit:
            limit = max(limit, self.limits.auth_size) if self.limits.auth_size else 0
        return limit > 0 and size > limit

    cdef int attempt(self, dict message, double now) except -1:
        """Handle one decoded message or batch item, whatever happens; return its ErrorCode."""
        cdef int error = 0
        cdef object id = id_of(message, &error)
        if error:
            return self.fail(error, None, "id is a string or an integer of at most 64 bytes")
        try:
            return self.handle(message, id, now)
        except Exception as failure:
            return self.fail_internally(failure, id)

    cdef int handle(self, dict message, object id, double now) except -1:
        cdef int command = command_of(message)
        if command < 0:
            return self.fail(-command, id)
        self.hub.commands[command] += not self.has_followed     # else it was counted when it came
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
            return self.subscribe(message, id, now)
        if command == Command.UNSUBSCRIBE:
            return self.unsubscribe(message, id)
        if command == Command.PING:
            return self.ping(message, id)
        if command == Command.PUBLISH:
            return self.publish(message, id)
        if command == Command.ERROR_REPORT:
            self.host.reported(self, message)
            return ErrorCode.NO_ERROR
        return self.fail(ErrorCode.INVALID_MESSAGE, id)     # a batch within a batch, which does not get here

    cdef int channel_of(self, dict message, object id) except -1000:
        """Return the command's channel, or its negated ErrorCode, which has been answered."""
        cdef object name = message.get("channel")
        cdef int channel
        if name is None and self.endpoint >= 0:
            name = NAME_OF_CHANNEL[self.endpoint]
        if type(name) is not str:
            return -self.fail(ErrorCode.INVALID_MESSAGE, id, "channel is missing or not a string")
        number = NUMBER_OF_CHANNEL.get(name)
        if number is None:
            return -self.fail(ErrorCode.UNKNOWN_CHANNEL, id)
        channel = number
        if self.endpoint >= 0 and channel != self.endpoint:
            return -self.fail(ErrorCode.CHANNEL_NOT_ALLOWED, id, None, channel)
        if not self.has_followed:           # then it was counted when it came
            self.hub.counters[channel].received += 1
        return channel

    cdef int subscribe(self, dict message, object id, double now) except -1:
        cdef int channel = self.channel_of(message, id)
        cdef list problem = []
        cdef Selection selection
        cdef frozenset denied = frozenset()
        cdef Py_ssize_t replaced = 0, replaced_devices, devices = 0
        cdef Subscription subscription
        cdef list missed
        cdef dict document
        if channel < 0:
            return -channel
        if not (self.grant.channels >> channel) & 1:
            return self.fail(ErrorCode.FORBIDDEN, id, None, channel)
        selection = select(channel, message, problem)
        if selection is None:
            return self.fail(ErrorCode.INVALID_FILTER, id, problem[0], channel)
        if not take_recovery(selection, message, problem):
            return self.fail(ErrorCode.INVALID_MESSAGE, id, problem[0], channel)
        if selection.devices is not None:
            devices = selection.devices.count
        if self.grant.devices is not None and channel != Channel.SYSTEM:
            if selection.devices is not None:
                denied = frozenset(selection.device_order) - self.grant.devices
            if not self.grant.devices or (devices and len(denied) == devices):
                return self.fail(ErrorCode.FORBIDDEN, id, "none of these devices is in the token's scope", channel)
        replaced_devices = self.table.cost_of(channel, selection.devices, &replaced)
        if (self.limits.subscriptions and self.table.count - replaced + 1 > self.limits.subscriptions) or (
                self.limits.device_ids and self.table.devices - replaced_devices + devices > self.limits.device_ids):
            return self.fail(ErrorCode.TOO_MANY_SUBSCRIPTIONS, id, None, channel)
        if self.hub.lanes is not None and not self.has_followed and self.must_follow(channel, selection, denied):
            self.deferred, self.waiting = message, True
            return ErrorCode.NO_ERROR
        self.before_change(channel)
        try:
            subscription = self.table.subscribe(channel, selection, False)
        except TooManyNamesError:
            return self.fail(ErrorCode.TOO_MANY_SUBSCRIPTIONS, id, "the server knows as many names as it may", channel)
        missed = self.missed(subscription, selection, now)
        if id is not None:
            document = {"type": "subscribe_response", "id": id, "success": True, "channel": NAME_OF_CHANNEL[channel],
                        "filters": selection_filters(channel, selection, denied)}
            if channel == Channel.TELEMETRY or channel == Channel.SYSTEM:
                document["frequency"] = self.table.in_force(channel, selection.frequency).shown()
            if denied:
                document["denied"] = {"device_id": [d for d in selection.device_order if d in denied]}
            if selection.recovers:
                document["position"] = self.position(channel, selection, missed is not None)
            if selection.epoch is not None:
                document["recovered"] = missed is not None
            self.answer(document, None)
        if missed is not None:
            self.push_missed(channel, missed)
        if selection.snapshot or (selection.epoch is not None and missed is None):
            self.send_snapshot(subscription)
        return ErrorCode.NO_ERROR

    def followed(self):
        """Go on with a subscription whose lanes are followed now, or can't be."""
        cdef double now = monotonic_seconds()
        cdef dict message = self.deferred
        if self.state != STATE_OPEN or message is None:
            return
        self.deferred = None
        self.waiting, self.has_followed = False, True
        try:
            self.outcome = self.attempt(message, now)
        finally:
            self.has_followed = False
        self.resume(now)

    cdef int unsubscribe(self, dict message, object id) except -1:
        cdef int channel = self.channel_of(message, id)
        cdef DeviceSet devices = None
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
        self.before_change(channel)
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
        number = data_channel(data)
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
        cdef Py_ssize_t count, i
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
            if text != NULL:
                outline(text, size, &sketch, batch.sizes, count)
            else:
                for i in range(count):
                    batch.sizes[i] = packed_size(items[i])
        self.batch = batch
        self.continue_batch(now)
        return ErrorCode.NO_ERROR

    cdef NoResult continue_batch(self, double now) except NoResult.EXC:
        """Do the batch's items up to the end or to one that has to wait."""
        cdef Batch batch = self.batch
        cdef int error, invalid
        cdef Py_ssize_t i
        while batch.position < len(batch.items) and not self.waiting and self.state == STATE_OPEN:
            i = batch.position
            batch.position += 1
            item = batch.items[i]
            if i and not self.take(now):            # the first is paid for by the frame
                error = ErrorCode.RATE_LIMITED
            elif type(item) is not dict:
                error = self.fail(ErrorCode.INVALID_MESSAGE, None)
            elif batch.sizes != NULL and self.is_too_large(batch.sizes[i], command_of(item) == Command.AUTH):
                invalid = 0
                error = self.fail(ErrorCode.MESSAGE_TOO_LARGE, id_of(item, &invalid))
            else:
                error = self.attempt(item, now)
            if batch.results is not None:
                batch.results.append(result_of(error))
            batch.waits = self.waiting
        if (batch.position < len(batch.items) or batch.waits) and self.state == STATE_OPEN:
            return NoResult.OK
        self.batch = None
        if batch.results is not None:
            self.answer({"type": "batch_response", "id": batch.id, "success": True, "results": batch.results}, None)
        return NoResult.OK

    # Authentication.

    cdef NoResult on_authenticated(self) except NoResult.EXC:
        """Subscribe by itself where the endpoint says so (protocol.md, section 1)."""
        cdef bint anything = self.grant.devices is None or len(self.grant.devices) > 0
        cdef Selection everything
        if self.wants_implicit and (anything or self.endpoint == Channel.SYSTEM):
            everything = select(self.endpoint, {}, [])
            if self.hub.lanes is not None:
                self.must_follow(self.endpoint, everything, frozenset())    # nobody waits for an answer
            self.table.subscribe(self.endpoint, everything, True)
        return NoResult.OK

    cdef NoResult resume(self, double now) except NoResult.EXC:
        """Go on after what was waited for: first with the batch that it interrupted."""
        if self.batch is not None:
            if self.batch.waits and self.batch.results is not None:
                self.batch.results[len(self.batch.results) - 1] = result_of(self.outcome)
            self.batch.waits = False
            self.continue_batch(now)
        return Feed.resume(self, now)
