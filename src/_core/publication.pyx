"""Data messages: what may be published, and its normal form (protocol.md, section 3)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem, PyDict_Next
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DATA, PyUnicode_GET_LENGTH
from libc.math cimport NAN
from libc.string cimport memchr, memcpy

from .clock cimport iso_now
from .scope cimport canonical_device
from .wire cimport MAX_NAME_BYTES, Channel, ErrorCode

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text) noexcept

from collections.abc import Mapping as _Mapping
from re import compile as _re_compile
from time import time_ns as _time_ns

from orjson import dumps

from .wire import CHANNEL_NAMES as _CHANNEL_NAMES, MESSAGE_TYPES as _MESSAGE_TYPES
from .wire import ErrorCode as _ErrorCode

_WORD_ENDS = _re_compile(r"(?<=[a-z0-9])(?=[A-Z])|[\s_.-]+")

cdef enum:
    MAX_KEY_TEXTS = 4096            # with names of 64 bytes some 700 KiB

cdef dict KEY_TEXTS = {}            # name of a metric -> b'"name":'
cdef dict CHANNEL_OF_TYPE = {name: number for number, name in _MESSAGE_TYPES.items()}
cdef dict NAME_OF_CHANNEL = _CHANNEL_NAMES
cdef dict TYPE_OF_CHANNEL = _MESSAGE_TYPES

# Alerts without an id are numbered from the time at which the process started, in microseconds: rising, whole
# numbers below 2**53 (JavaScript reads them), and not used again after a restart.
cdef object next_alert_id = _time_ns() // 1000


class PublicationError(ValueError):
    """A data message can't be published.

    Attributes:
        code: the wire's ErrorCode.
    """

    def __init__(self, code, message):
        self.code = _ErrorCode(code)
        super().__init__(message)


cdef bytes serialised(object value):
    """Return a value as JSON; PublicationError when it can't be."""
    try:
        return dumps(value)
    except TypeError as error:
        raise PublicationError(ErrorCode.INVALID_MESSAGE, f"not JSON: {error}") from None


cdef bytes joined(bytes first, bytes second):
    """Return the two in one piece, without asking what they are."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(first)
    cdef bytes text = PyBytes_FromStringAndSize(NULL, size + PyBytes_GET_SIZE(second))
    memcpy(PyBytes_AS_STRING(text), PyBytes_AS_STRING(first), size)
    memcpy(PyBytes_AS_STRING(text) + size, PyBytes_AS_STRING(second), PyBytes_GET_SIZE(second))
    return text


cdef bytes key_text(str name):
    """Return b'"name":', from the table of the names that publications have lately had."""
    cdef PyObject *known = PyDict_GetItem(KEY_TEXTS, name)
    cdef bytes text
    if known != NULL:
        return <bytes>known
    text = serialised(name) + b":"
    if len(KEY_TEXTS) >= MAX_KEY_TEXTS:
        KEY_TEXTS.clear()
    KEY_TEXTS[name] = text
    return text


cdef inline object fail(str text):
    """Raise for a message of the wrong form."""
    raise PublicationError(ErrorCode.INVALID_MESSAGE, text)


cdef inline bint is_name(object value) noexcept:
    """Say whether a value can name a metric, severity, alert type or status."""
    cdef Py_ssize_t size = 0
    if type(value) is not str:
        return False
    if PyUnicode_IS_COMPACT_ASCII(value):
        size = PyUnicode_GET_LENGTH(value)
        return 0 < size <= MAX_NAME_BYTES and memchr(PyUnicode_DATA(value), 0, size) == NULL
    try:
        PyUnicode_AsUTF8AndSize(value, &size)
    except UnicodeEncodeError:
        return False
    return 0 < size <= MAX_NAME_BYTES and "\0" not in <str>value


cdef object completed_metric(object value):
    """Return a metric's object with the three documented fields; a bare scalar becomes its `value`."""
    if type(value) is dict:
        if "value" not in <dict>value:
            fail("a metric has no value")
        if (<dict>value).get("timestamp") is not None and "unit" in <dict>value:
            return value
        if len(<dict>value) == 2 and "unit" in <dict>value:    # what most publishers send
            return {"value": (<dict>value)["value"], "unit": (<dict>value)["unit"], "timestamp": iso_now()}
        completed = {"value": (<dict>value)["value"], "unit": None, "timestamp": None}
        completed.update(<dict>value)
        if completed["timestamp"] is None:
            completed["timestamp"] = iso_now()
        return completed
    if isinstance(value, (list, tuple, dict)):
        fail("a metric is an object or a single value")
    return {"value": value, "unit": None, "timestamp": iso_now()}


cdef double number_of(object value) noexcept:
    """Return a metric's value where it is a number, else NaN."""
    cdef PyObject *inner
    if type(value) is dict:
        inner = PyDict_GetItem(<dict>value, "value")
        if inner == NULL:
            return NAN
        value = <object>inner
    if type(value) is float:
        return <double>value
    if type(value) is int:
        try:
            return <double>value
        except OverflowError:
            return NAN
    return NAN


cdef object take_metrics(Publication self, object metrics, bint complete):
    """Fill the parallel lists from the message's metrics."""
    cdef Py_ssize_t position = 0
    cdef PyObject *name
    cdef PyObject *value
    if type(metrics) is not dict or not <dict>metrics:
        fail("telemetry and metrics are objects with at least one entry")
    self.count = len(<dict>metrics)
    if self.count > MAX_METRICS:
        fail(f"a message has at most {MAX_METRICS} metrics")
    self.names = []
    self.values = []
    while PyDict_Next(<dict>metrics, &position, &name, &value):
        if not is_name(<object>name):
            fail(f"the name of a metric is a string of 1 to {MAX_NAME_BYTES} bytes")
        self.names.append(<object>name)
        self.values.append(completed_metric(<object>value) if complete else <object>value)
    self.pieces = [None] * self.count


cdef str event_name(dict document, str key, bint required):
    """Return the name that a filter looks at, or None when it may be and is absent."""
    value = document.get(key)
    if value is None and not required:
        return None
    if not is_name(value):
        fail(f"{key} is a string of 1 to {MAX_NAME_BYTES} bytes")
    return value


cdef str title_of(str name):
    """Return a title for people: "highTemperature" or "high_temperature" is "High Temperature Alert"."""
    cdef str title = _WORD_ENDS.sub(" ", name).strip().title()
    return title if title.endswith("Alert") else f"{title} Alert".strip()


cdef object take_alert(Publication self, dict message):
    """Put an alert's document together: the documented fields in their order, then what else it has."""
    global next_alert_id
    cdef dict document = {"type": None, "channel": None, "alert_id": message.get("alert_id"),
                          "device_id": self.device_as_given, "severity": None, "title": None, "message": None,
                          "timestamp": None, "metadata": None}
    document.update(message)
    self.first = event_name(document, "severity", True)
    self.second = event_name(document, "alert_type", False)
    if document["alert_id"] is None:
        next_alert_id += 1
        document["alert_id"] = next_alert_id
    if document["title"] is None:
        document["title"] = title_of(self.second if self.second is not None else self.first)
    if document["message"] is None:
        document["message"] = document["title"]
    self.document = document


cdef object take_status(Publication self, dict message):
    """Put a status change's document together: exactly the documented fields."""
    cdef dict document = {"type": None, "channel": None, "device_id": self.device_as_given, "old_status": None,
                          "new_status": None, "timestamp": None, "reason": None, "metadata": None}
    for key in document:
        if key in message:
            document[key] = message[key]
    self.first = event_name(document, "new_status", True)
    event_name(document, "old_status", False)
    self.document = document


cdef Publication publication_of(object message):
    """Return the publication of a data message; PublicationError when it is none.

    The message is not changed and not kept, its metrics' objects are (until the publication is gone).
    """
    cdef Publication self = Publication.__new__(Publication)
    cdef PyObject *number
    cdef dict given
    if type(message) is not dict:
        if not isinstance(message, _Mapping):
            fail("a message is an object")
        message = dict(message)
    given = <dict>message
    kind = given.get("type")
    number = PyDict_GetItem(CHANNEL_OF_TYPE, kind) if type(kind) is str else NULL
    if number == NULL:
        raise PublicationError(ErrorCode.UNKNOWN_TYPE if kind is not None else ErrorCode.MISSING_TYPE,
                               f"type is one of {', '.join(CHANNEL_OF_TYPE)}")
    self.channel = <int><object>number
    channel = given.get("channel")
    if channel is not None and channel != NAME_OF_CHANNEL[self.channel]:
        raise PublicationError(ErrorCode.UNKNOWN_CHANNEL, "type and channel do not belong together")
    self.device_as_given = given.get("device_id")
    if self.channel != Channel.SYSTEM and (self.device_as_given is not None or self.channel != Channel.ALERTS):
        self.device = canonical_device(self.device_as_given)
        if self.device is None:
            fail("device_id is an integer of 64 bits or a string of 1 to 64 bytes")
    if self.channel == Channel.TELEMETRY:
        take_metrics(self, given.get("telemetry"), True)
        return self
    if self.channel == Channel.SYSTEM:
        take_metrics(self, given.get("metrics"), False)
        self.timestamp = given.get("timestamp")
        if self.timestamp is None:
            self.timestamp = iso_now()
        return self
    if self.channel == Channel.ALERTS:
        take_alert(self, given)
    else:
        take_status(self, given)
    self.document["type"] = kind
    self.document["channel"] = NAME_OF_CHANNEL[self.channel]
    if self.document["timestamp"] is None:
        self.document["timestamp"] = iso_now()
    if self.document["metadata"] is None:
        self.document["metadata"] = {}
    return self


@cython.final
cdef class Publication:
    """A data message in its normal form; fields in publication.pxd."""

    cdef object serialise(self, const MetricMask *mask):
        """Set the pieces that the mask names (NULL: all), and `head` and `tail`; `text` of an event."""
        cdef Py_ssize_t i
        if self.document is not None:
            # orjson's results have several times the memory that they need: fine for a moment, not to be kept.
            self.text = joined(serialised(self.document), b"")
            self.document = None
        if self.text is not None:
            return
        for i in range(self.count):
            if self.pieces[i] is None and (mask == NULL or mask_has(mask, i)):
                self.pieces[i] = joined(key_text(self.names[i]), serialised(self.values[i]))
        if self.head is None:
            self.envelop()

    cdef Py_ssize_t finish(self) except -1:
        """Serialise everything, so that it can be kept; return the bytes of the whole message as JSON."""
        cdef Py_ssize_t size, i
        self.serialise(NULL)
        if self.text is not None:
            return PyBytes_GET_SIZE(self.text)
        size = PyBytes_GET_SIZE(self.head) + PyBytes_GET_SIZE(self.tail) + self.count - 1
        for i in range(self.count):
            size += PyBytes_GET_SIZE(<bytes>self.pieces[i])
        return size

    cdef object envelop(self):
        """Set `head` and `tail`: the fields around the metrics, in their documented order."""
        if self.channel == Channel.TELEMETRY:
            self.head = joined(joined(b'{"type":"telemetry_update","channel":"telemetry","device_id":',
                                      serialised(self.device_as_given)), b',"telemetry":{')
            self.tail = b"}}"
        else:
            self.head = b'{"type":"system_status_update","channel":"system","metrics":{'
            self.tail = joined(joined(b'},"timestamp":', serialised(self.timestamp)), b"}")


def channel_of(message):
    """Return the wire Channel that a data message's `type` belongs to, or None (for permission checks)."""
    cdef object kind = message.get("type")
    return CHANNEL_OF_TYPE.get(kind) if type(kind) is str else None
