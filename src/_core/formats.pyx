"""Formats beside JSON text; formats.pxd has the overview."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport isfinite
from libc.stdint cimport uint8_t

from .encode cimport RSV1, frame_of, payload_size
from .wire cimport CloseCode, ErrorCode, Opcode

from zlib import DEFLATED as _DEFLATED, Z_SYNC_FLUSH as _Z_SYNC_FLUSH
from zlib import compressobj as _compressobj, decompressobj as _decompressobj, error as _zlib_error

from msgspec import msgpack as _msgpack
from orjson import loads

cdef enum:
    OPCODE = 0x0F
    MIN_DEFLATED = 128              # bytes; what is smaller hardly shrinks
    MIN_BITS = 9                    # zlib makes no raw stream with a window of 256 bytes
    LEVEL = 6                       # zlib's usual one: at these sizes a lower one saves nothing

# What a sender leaves out at the end of a message (RFC 7692, 7.2.1), and a last block without anything in it: with that
# the stream of a message that is whole has an end.
cdef bytes END = b"\0\0\xff\xff" b"\3\0"
# What is left of it when the sender ended the stream itself (7.2.3.4), with an empty block behind that or without.
cdef tuple LEFT = (b"", END, b"\0" + END)
cdef object pack = _msgpack.encode
cdef object unpack = _msgpack.decode


cdef bytes deflated(bytes payload, int max_bits):
    """Return a compressed message (RFC 7692, 7.2.1)."""
    cdef int bits = MIN_BITS
    cdef bytes data
    # The cost of a stream is mostly the setting up of its window: it is as large as the message needs.
    while bits < max_bits and (1 << bits) < PyBytes_GET_SIZE(payload):
        bits += 1
    stream = _compressobj(LEVEL, _DEFLATED, -bits, bits - 7)
    data = stream.compress(payload) + stream.flush(_Z_SYNC_FLUSH)
    return data[:PyBytes_GET_SIZE(data) - 4]


cdef bytes converted(bytes frame, uint8_t format):
    """Return a text frame as it goes to clients of a format; other frames are the same in all of them."""
    cdef Py_ssize_t size = payload_size(frame)
    cdef bytes payload
    cdef bytes small
    cdef int opcode = PyBytes_AS_STRING(frame)[0] & OPCODE
    if opcode != Opcode.OP_TEXT or not (format & FORMAT_MSGPACK or size >= MIN_DEFLATED):
        return frame
    payload = PyBytes_FromStringAndSize(PyBytes_AS_STRING(frame) + PyBytes_GET_SIZE(frame) - size, size)
    if format & FORMAT_MSGPACK:
        payload = pack(loads(payload))
        opcode = Opcode.OP_BINARY
    if format & FORMAT_DEFLATE and PyBytes_GET_SIZE(payload) >= MIN_DEFLATED:
        small = deflated(payload, format >> WINDOW_SHIFT)
        if PyBytes_GET_SIZE(small) < PyBytes_GET_SIZE(payload):
            return frame_of(<uint8_t>(opcode | RSV1), small)
    return frame_of(<uint8_t>opcode, payload)


cdef bytes inflated(const char *data, Py_ssize_t size, Py_ssize_t limit, int *error):
    """Return the message that was compressed, of at most `limit` bytes."""
    cdef bytes message, excess = b""
    if size == 0:
        return b""          # some compressors make nothing out of nothing
    stream = _decompressobj(-WINDOW_BITS)
    try:
        message = stream.decompress(PyBytes_FromStringAndSize(data, size), limit + 1 if limit else 0)
        if not limit or PyBytes_GET_SIZE(message) <= limit:
            excess = stream.decompress(END, 1)
    except _zlib_error:
        message = None
    if message is not None and limit and PyBytes_GET_SIZE(message) > limit:
        error[0] = CloseCode.CLOSE_TOO_BIG
        return None
    # A stream that breaks off would give a shortened message, or take the end for a part of it; of one that goes on
    # behind its end the rest would be lost.
    if message is None or excess or not stream.eof or stream.unused_data not in LEFT:
        error[0] = CloseCode.CLOSE_INVALID_UTF8         # RFC 6455, 7.4.1: data that is not consistent with its type
        return None
    return message


cdef inline bint is_json_leaf(object value) except -1:
    """Say whether a value is one that JSON can write, other than an array or an object."""
    if type(value) is float:
        return isfinite(value)
    return value is None or type(value) is str or type(value) is int or type(value) is bool


cpdef int depth_of(object value) except -1:
    """Return how deeply a dict or list nests (itself: 1; others: 0); 0, too: there is something that JSON cannot write.

    It goes level by level, so that depth costs no stack.
    """
    cdef list level = [value] if type(value) is dict or type(value) is list else []
    cdef list below
    cdef int depth = 0
    while level:
        depth += 1
        below = []
        for node in level:
            if type(node) is dict:
                for key in <dict>node:
                    if type(key) is not str:
                        return 0
                node = list((<dict>node).values())
            for child in <list>node:
                if type(child) is dict or type(child) is list:
                    below.append(child)
                elif not is_json_leaf(child):
                    return 0
        level = below
    return depth


cdef dict unpacked(const char *data, Py_ssize_t size, int *error, int *depth):
    cdef object value
    try:
        value = unpack(PyBytes_FromStringAndSize(data, size))
    except (ValueError, RecursionError):        # msgspec.DecodeError is a ValueError
        error[0] = ErrorCode.INVALID_JSON
        return None
    if type(value) is dict:
        depth[0] = depth_of(value)
    if depth[0] == 0:       # no object, or bytes, extensions, keys that are no strings, infinite numbers
        error[0] = ErrorCode.INVALID_MESSAGE
        return None
    return <dict>value


cdef Py_ssize_t packed_size(object value) except -1:
    """Return the bytes of a value as MessagePack."""
    return len(pack(value))


def convert(bytes frame not None, *, bint msgpack=False, int deflate=0):
    """Return a frame as it goes to clients of a format, for tests; deflate: bits of the window, 0: not compressed."""
    return converted(frame, (FORMAT_MSGPACK if msgpack else 0) | (
        FORMAT_DEFLATE | (deflate << WINDOW_SHIFT) if deflate else 0))


def inflate(bytes data not None, Py_ssize_t limit=0):
    """Return (message, 0) of a compressed one, or (None, CloseCode), for tests and fuzzing."""
    cdef int error = 0
    message = inflated(data, len(data), limit, &error)
    return message, error


def read(bytes data not None):
    """Return (dict, depth) of a MessagePack message, or (None, ErrorCode), for tests and fuzzing."""
    cdef int error = 0, depth = 0
    message = unpacked(data, len(data), &error, &depth)
    return message, error if message is None else depth
