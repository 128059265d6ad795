"""Messages of a publisher; admission.pxd has the overview."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.object cimport PyObject

from .clock cimport monotonic_seconds
from .scope cimport Grant, canonical_device
from .slices cimport skip_blanks
from .types cimport vfast_guard
from .wire cimport Channel, ErrorCode

from orjson import JSONDecodeError as _JSONDecodeError, loads as _loads

from .publication import PublicationError, channel_of as _channel_of
from .wire import ERROR_NAMES as _ERROR_NAMES, MESSAGE_TYPES as _MESSAGE_TYPES

cdef enum:
    MAX_DEPTH = 16                  # nesting levels of a message, itself included (protocol.md, section 4: JSON depth)


cdef inline bint is_container(object value) noexcept:
    return type(value) is dict or type(value) is list


cdef bint is_deeper(object node, int levels):
    """Say whether a dict or list nests deeper than so many levels. Recursion ends with them."""
    cdef Py_ssize_t position = 0
    cdef PyObject *key
    cdef PyObject *value
    if levels == 0:
        return True
    if type(node) is dict:
        while PyDict_Next(<dict>node, &position, &key, &value):
            if is_container(<object>value) and is_deeper(<object>value, levels - 1):
                return True
    else:
        for child in <list>node:
            if is_container(child) and is_deeper(child, levels - 1):
                return True
    return False


cdef object fail(object code, str text):
    raise PublicationError(code, text)


def permit(Grant grant not None, dict message not None):
    """Raise PublicationError unless the grant allows this data message to be published.

    The channel is the one that the message's `type` belongs to. A grant with devices covers messages about
    those devices, and `system` messages, which are about none; a platform-wide alert (no device) it doesn't.
    """
    cdef object found = _channel_of(message)
    cdef int channel
    if vfast_guard(b"admission.type", found is None):
        fail(ErrorCode.MISSING_TYPE if message.get("type") is None else ErrorCode.UNKNOWN_TYPE,
             f"type is one of {', '.join(_MESSAGE_TYPES.values())}")
    channel = found
    if vfast_guard(b"admission.channel", not grant.publish >> channel & 1):
        fail(ErrorCode.FORBIDDEN, "publishing on this channel is not permitted")
    if grant.devices is None or channel == Channel.SYSTEM:
        return
    device = message.get("device_id")
    if vfast_guard(b"admission.platform", device is None and channel == Channel.ALERTS):
        fail(ErrorCode.FORBIDDEN, "publishing a platform-wide alert is not permitted")
    key = canonical_device(device)
    if vfast_guard(b"admission.key", key is None):
        fail(ErrorCode.INVALID_MESSAGE, "a device id is an integer of 64 bits or a string of 1 to 64 bytes")
    if vfast_guard(b"admission.device", not grant.allows_device(key)):
        fail(ErrorCode.FORBIDDEN, "publishing for this device is not permitted")


cdef class Admission:
    """Publishes what a grant permits of what it is given, and counts what became of it; attributes in admission.pxd.

    Args:
        publish: takes a data message, and returns how many subscriptions matched; PublicationError: it is not valid.
        grant: what the publisher may publish.
        max_rejected: refusals that are kept; the rest are only counted.
        max_text: bytes that a text may have; 0: no bound.
    """

    def __init__(self, publish not None, Grant grant not None, *, Py_ssize_t max_rejected, Py_ssize_t max_text=0):
        self._publish = publish
        self.grant = grant
        self.rejected = []
        self.max_rejected = max_rejected
        self.max_text = max_text

    @property
    def handled(self):
        """Messages that were accepted or refused."""
        return self.accepted + self.rejected_total

    def work(self, list texts not None, Py_ssize_t at, double until, Py_ssize_t most):
        """Decode and publish messages, in order.

        Args:
            texts: a message each, as JSON; a blank one is none.
            at: the first one.
            until: monotonic seconds; when they have come it is enough. One message is handled in any case.
            most: messages, at most.

        Returns:
            The place behind the last one.
        """
        cdef Py_ssize_t count = len(texts)
        while at < count:
            most -= self.take(<bytes?>texts[at])
            at += 1
            if most <= 0 or monotonic_seconds() >= until:
                break
        return at

    def offer(self, message):
        """Publish one decoded message, or note why not."""
        try:
            self.admit(message)
        except PublicationError as error:
            self.refuse(error.code, str(error))

    cdef bint take(self, bytes text) except -1:
        """Take one text; return whether it is counted."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
        if vfast_guard(b"admission.text", self.max_text and size > self.max_text):
            self.refuse(ErrorCode.MESSAGE_TOO_LARGE, f"the line is longer than {self.max_text} bytes")
            return True
        if skip_blanks(PyBytes_AS_STRING(text), 0, size) == size:
            return False
        try:
            self.admit(_loads(text))
        except PublicationError as error:
            self.refuse(error.code, str(error))
        except _JSONDecodeError:
            self.refuse(ErrorCode.INVALID_JSON, "the line is not valid JSON")
        return True

    cdef object admit(self, object message):
        """Publish one decoded message; PublicationError: why not."""
        if vfast_guard(b"admission.object", type(message) is not dict):
            fail(ErrorCode.INVALID_MESSAGE, "a message is a JSON object")
        if vfast_guard(b"admission.depth", is_deeper(message, MAX_DEPTH)):
            fail(ErrorCode.INVALID_MESSAGE, f"nested deeper than {MAX_DEPTH} levels")
        permit(self.grant, <dict>message)
        self.matched += <unsigned long long>self._publish(message)
        self.accepted += 1

    cdef object refuse(self, object code, object message):
        """Count a refused message; its index is the number of messages before it."""
        if not vfast_guard(b"admission.rejected", len(self.rejected) >= self.max_rejected):
            self.rejected.append({"index": self.accepted + self.rejected_total, "error": _ERROR_NAMES[code],
                                  "message": message})
        self.rejected_total += 1
