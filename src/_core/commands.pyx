"""Bytes of a client's message -> what it asks for; commands.pxd has the overview."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcmp, memset

from .devices cimport DeviceSet, device_set
from .frequency cimport frequency_of
from .scope cimport canonical_device
from .wire cimport MAX_NAME_BYTES, Channel, ErrorCode

from orjson import JSONDecodeError, loads

from .wire import CHANNEL_NAMES as _CHANNEL_NAMES, COMMANDS as _COMMANDS

cdef enum:
    MAX_ID_BYTES = 64

cdef dict COMMAND_NUMBERS = _COMMANDS
cdef object MAX_ID = (1 << 63) - 1
cdef object MAX_OFFSET = (1 << 53) - 1      # what every client can write down
cdef object MIN_ID = -(1 << 63)

# The names that each channel filters by, beside device_id: (first, second) of a Selection.
cdef tuple FILTER_NAMES = (("metrics", None), ("severity", "alert_type"), ("status_types", None), ("metrics", None))


cdef inline Py_ssize_t skip_string(const char *text, Py_ssize_t size, Py_ssize_t i) noexcept nogil:
    """Return the index behind a string whose opening quote is at i - 1; size + 1 when it does not end."""
    while i < size and text[i] != c'"':
        i += 2 if text[i] == c"\\" else 1
    return min(i, size) + 1


cdef inline int hex_digit(char digit) noexcept nogil:
    if c"0" <= digit <= c"9":
        return digit - c"0"
    digit |= 0x20
    return digit - c"a" + 10 if c"a" <= digit <= c"f" else 0xFF


cdef bint string_is(const char *text, Py_ssize_t start, Py_ssize_t end, const char *name, Py_ssize_t size) noexcept:
    """Say whether a string's inside is a name of ASCII letters, however it is spelled ("t\\u0079pe")."""
    cdef Py_ssize_t matched = 0
    if end - start == size:
        return memcmp(text + start, name, size) == 0
    if end - start < size or memchr(text + start, c"\\", end - start) == NULL:
        return False
    while start < end and matched < size:
        if text[start] != c"\\":
            if text[start] != name[matched]:
                return False
            start += 1
        else:
            if start + 6 > end or text[start + 1] != c"u" or text[start + 2] != c"0" or text[start + 3] != c"0" or (
                    hex_digit(text[start + 4]) * 16 + hex_digit(text[start + 5]) != name[matched]):
                return False
            start += 6
        matched += 1
    return start == end and matched == size


cdef inline Py_ssize_t trimmed_size(const char *text, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    """Return the size of what stands between the indexes, without the blanks around it."""
    while start < end and text[start] <= c" ":
        start += 1
    while start < end and text[end - 1] <= c" ":
        end -= 1
    return end - start


cdef void outline(const char *text, Py_ssize_t size, Outline *out, Py_ssize_t *item_sizes,
                  Py_ssize_t max_items) noexcept:
    """Look over the text: nesting, and the size of each entry of the top-level array "messages".

    Sizes of the first `max_items` entries go to `item_sizes`; `out.items` counts them all.
    """
    cdef Py_ssize_t i = 0, start, item_start = 0
    cdef uint32_t depth = 0
    cdef int key = 0                # the current top-level key: 1 type, 2 messages, 0 any other
    cdef bint expects_key = False
    memset(out, 0, sizeof(Outline))
    while i < size:
        if text[i] == c'"':
            start = i + 1
            i = skip_string(text, size, start)
            if depth == 1 and expects_key:
                key = 0
                if string_is(text, start, i - 1, b"type", 4):
                    key = 1
                    out.is_auth = out.is_batch = False      # of duplicate keys the last wins
                elif string_is(text, start, i - 1, b"messages", 8):
                    key = 2
                expects_key = False
            elif depth == 1 and key == 1:
                out.is_auth = string_is(text, start, i - 1, b"auth", 4)
                out.is_batch = string_is(text, start, i - 1, b"batch", 5)
            elif depth == 2 and key == 2 and out.items == 0:
                out.items = 1
            continue
        if text[i] == c"{" or text[i] == c"[":
            depth += 1
            out.depth = max(out.depth, depth)
            if depth == 1:
                expects_key = True
            elif depth == 2:
                out.items = 0 if key == 2 else out.items
                item_start = i + 1
            elif depth == 3 and key == 2 and out.items == 0:
                out.items = 1
        elif text[i] == c"}" or text[i] == c"]":
            if depth == 2 and key == 2 and 0 < out.items <= max_items:
                item_sizes[out.items - 1] = trimmed_size(text, item_start, i)
            if depth:
                depth -= 1
        elif text[i] == c",":
            if depth == 1:
                expects_key = True
            elif depth == 2 and key == 2:
                if 0 < out.items <= max_items:
                    item_sizes[out.items - 1] = trimmed_size(text, item_start, i)
                out.items += 1
                item_start = i + 1
        elif depth == 2 and key == 2 and out.items == 0 and text[i] > c" ":
            out.items = 1           # a number, true, false or null as the first entry
        i += 1


cdef inline bint may_be_json(const char *text, Py_ssize_t size) noexcept nogil:
    """Say whether a text begins like a JSON value, and ends like one where it is an object.

    What does not costs a client nothing to make, and it would cost us an exception to refuse.
    """
    cdef Py_ssize_t start = 0
    while start < size and text[start] in b" \t\r\n":
        start += 1
    while start < size and text[size - 1] in b" \t\r\n":
        size -= 1
    if start == size or text[start] not in b'{["-0123456789tfn':
        return False
    return text[start] != c"{" or text[size - 1] == c"}"


cdef dict decode(const char *text, Py_ssize_t size, int *error):
    """Return the JSON object, or None with INVALID_JSON or INVALID_MESSAGE in `error`.

    The nesting is bounded by the caller's look at the outline; of duplicate keys the last wins.
    """
    cdef object value
    if not may_be_json(text, size):
        error[0] = ErrorCode.INVALID_JSON
        return None
    try:
        value = loads(PyBytes_FromStringAndSize(text, size))
    except JSONDecodeError:
        error[0] = ErrorCode.INVALID_JSON
        return None
    if type(value) is not dict:
        error[0] = ErrorCode.INVALID_MESSAGE
        return None
    return <dict>value


cdef int command_of(dict message) noexcept:
    """Return the message's wire Command, or the negated ErrorCode."""
    cdef PyObject *value = PyDict_GetItem(message, "type")
    cdef PyObject *number
    if value == NULL:
        return -ErrorCode.MISSING_TYPE
    if type(<object>value) is not str:
        return -ErrorCode.INVALID_MESSAGE
    number = PyDict_GetItem(COMMAND_NUMBERS, <object>value)
    return -ErrorCode.UNKNOWN_TYPE if number == NULL else <int><object>number


cdef object id_of(dict message, int *error):
    """Return the `id` to echo, or None when there is none or `error` says that it is no valid one."""
    cdef PyObject *value = PyDict_GetItem(message, "id")
    cdef Py_ssize_t size = 0
    if value == NULL:
        return None
    if type(<object>value) is str:
        PyUnicode_AsUTF8AndSize(<object>value, &size)
        if size <= MAX_ID_BYTES:
            return <object>value
    elif PyLong_CheckExact(<object>value) and MIN_ID <= <object>value <= MAX_ID:
        return <object>value
    error[0] = ErrorCode.INVALID_MESSAGE
    return None


cdef tuple names_of(str key, object value, list problem):
    """Return a filter's names, sorted and distinct; None with a text in `problem` when it is no such filter."""
    cdef Py_ssize_t size = 0
    cdef set names = set()
    if type(value) is not list:
        value = [value]
    if not value:
        problem.append(f"{key} must not be empty")
        return None
    for name in <list>value:
        if type(name) is not str:
            problem.append(f"{key} holds something that is not a string")
            return None
        PyUnicode_AsUTF8AndSize(name, &size)
        if size == 0 or size > MAX_NAME_BYTES or "\0" in name:
            problem.append(f"{key} holds a name that is not 1 to {MAX_NAME_BYTES} bytes long, or has a NUL in it")
            return None
        names.add(name)
    return tuple(sorted(names))


cdef tuple device_list(object value, list problem):
    """Return canonical device ids in the order of asking, or None with a text in `problem`."""
    cdef dict seen = {}
    if type(value) is not list:
        value = [value]
    if not value:
        problem.append("device_id must not be empty")
        return None
    for item in <list>value:
        device = canonical_device(item)
        if device is None:
            problem.append("device_id holds something that is neither an integer nor a string of 1 to 64 bytes")
            return None
        seen[device] = None
    return tuple(seen)


cdef DeviceSet devices_of(object value, list problem):
    """Return the devices of an unsubscribe command, or None with a text in `problem`."""
    cdef tuple devices = device_list(value, problem)
    return None if devices is None else device_set(devices)


cdef Selection select(int channel, dict message, list problem):
    """Return the filters of a subscribe command, or None with a text in `problem`.

    A filter may stand at the top level (existing JavaScript clients), inside `filters` (existing Python
    clients), or in both, where `filters` wins. null is as good as absent. Unknown keys are an error inside
    `filters` only: at the top level they may belong to the command.
    """
    cdef Selection selection = Selection.__new__(Selection)
    cdef tuple names = <tuple>FILTER_NAMES[channel]
    cdef tuple known = ("device_id",) + names + ("frequency",)
    cdef bint has_frequency = names[0] == "metrics"
    cdef object filters = message.get("filters")
    cdef str key
    selection.frequency = frequency_of(None)
    if channel == Channel.SYSTEM:
        known = known[1:]
    if filters is None:
        filters = {}
    elif type(filters) is not dict:
        problem.append("filters must be an object")
        return None
    for key in <dict>filters:
        if key not in known:
            problem.append(f"the channel {_CHANNEL_NAMES[channel]} has no such filter; "
                           f"it has {', '.join([n for n in known if n and (has_frequency or n != 'frequency')])}")
            return None
    for key in known:
        if key is None:
            continue
        value = (<dict>filters).get(key)
        if value is None:
            value = message.get(key)
        if value is None:
            continue
        if key == "device_id":
            selection.device_order = device_list(value, problem)
            if selection.device_order is None:
                return None
            selection.devices = device_set(selection.device_order)
        elif key == "frequency":
            if type(value) is list and len(value) == 1:
                value = value[0]
            if not has_frequency:
                problem.append("frequency is for values, not for events: this channel has none")
                return None
            selection.frequency = frequency_of(value)
            if selection.frequency is None:
                problem.append('frequency must be "real-time", a number with ms, s, m or h, '
                               'or {"every": ..., "deadband": ...}')
                return None
        elif key == names[0]:
            selection.first = names_of(key, value, problem)
            if selection.first is None:
                return None
        else:
            selection.second = names_of(key, value, problem)
            if selection.second is None:
                return None
    return selection


cdef bint take_recovery(Selection selection, dict message, list problem) except -1:
    """Take `snapshot`, `recover` and `since` of a subscribe command; False with a text in `problem`: one is wrong."""
    cdef dict since
    for key in ("snapshot", "recover"):
        if message.get(key) is not None and type(message[key]) is not bool:
            problem.append(f"{key} must be true or false")
            return False
    selection.snapshot = message.get("snapshot") is True
    selection.recovers = message.get("recover") is True
    if message.get("since") is None:
        return True
    if type(message["since"]) is not dict:
        problem.append('since must be {"epoch": ..., "offset": ...}, as a position was told')
        return False
    since = message["since"]
    if type(since.get("epoch")) is not str or type(since.get("offset")) is not int or not (
            0 <= since["offset"] <= MAX_OFFSET):
        problem.append('since must be {"epoch": ..., "offset": ...}, as a position was told')
        return False
    selection.recovers = True
    selection.epoch = since["epoch"]
    selection.offset = since["offset"]
    return True


cdef dict selection_filters(int channel, Selection selection, frozenset denied):
    """Return the filters in force, as a subscribe_response shows them."""
    cdef dict filters = {}
    cdef tuple names = <tuple>FILTER_NAMES[channel]
    if selection.devices is not None:
        filters["device_id"] = [device for device in selection.device_order if device not in denied]
    if selection.first is not None:
        filters[names[0]] = list(selection.first)
    if selection.second is not None:
        filters[names[1]] = list(selection.second)
    return filters


@cython.final
cdef class Selection:
    """The filters of a subscribe command in their normal form; fields in commands.pxd."""


def parse(bytes text not None, *, uint32_t max_depth=16):
    """Decode one message, for tests and fuzzing: (message, None) or (None, ErrorCode number)."""
    cdef int error = 0
    cdef Outline sketch
    outline(text, len(text), &sketch, NULL, 0)
    if sketch.depth > max_depth:
        return None, <int>ErrorCode.INVALID_MESSAGE
    message = decode(text, len(text), &error)
    if error:
        return None, error
    number = command_of(message)
    if number < 0:
        return None, -number
    id_of(message, &error)
    return (None, error) if error else (message, None)


def item_sizes(bytes text not None, Py_ssize_t max_items=64):
    """Return the sizes of the entries of a batch, for tests; None when the text is no batch."""
    cdef Py_ssize_t sizes[1024]
    cdef Outline sketch
    max_items = min(max_items, 1024)
    outline(text, len(text), &sketch, sizes, max_items)
    if not sketch.is_batch:
        return None
    return [sizes[i] for i in range(min(sketch.items, max_items))]


def selection(int channel, dict message not None):
    """Return (devices, first, second) of a subscribe command, or the text of what is wrong; for tests."""
    cdef list problem = []
    cdef Selection result = select(channel, message, problem)
    if result is None:
        return problem[0]
    return None if result.devices is None else frozenset(result.devices), result.first, result.second
