"""Publications and answers -> WebSocket frames; encode.pxd has the overview."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from .bitset cimport vfast_ctz64
from .publication cimport MASK_WORDS, MetricMask, Publication, mask_add, publication_of
from .wire cimport CloseCode, Opcode

from orjson import dumps

cdef enum:
    MAX_HEADER = 10                 # bytes of the longest unmasked header
    MAX_REASON = 123                # bytes of a close reason: 125 of a control frame less the code
    FIN = 0x80

cdef bytes BATCH_HEAD = b'{"type":"batch","messages":['
cdef bytes BATCH_TAIL = b"]}"


cdef Py_ssize_t write_header(char *header, uint8_t opcode, Py_ssize_t size) noexcept:
    """Write the header of an unmasked, unfragmented frame; return its length."""
    cdef int i
    header[0] = <char>(FIN | opcode)
    if size < 126:
        header[1] = <char>size
        return 2
    if size < 65536:
        header[1] = 126
        header[2] = <char>(size >> 8)
        header[3] = <char>(size & 0xFF)
        return 4
    header[1] = 127
    for i in range(8):
        header[2 + i] = <char>((<uint64_t>size >> (56 - 8 * i)) & 0xFF)
    return 10


cdef inline char *written(char *out, const char *data, Py_ssize_t size) noexcept:
    """Copy to where `out` points; return where it ends."""
    memcpy(out, data, size)
    return out + size


cdef bytes frame(uint8_t opcode, const char *payload, Py_ssize_t size):
    cdef char header[MAX_HEADER]
    cdef Py_ssize_t header_size = write_header(header, opcode, size)
    cdef bytes result = PyBytes_FromStringAndSize(NULL, header_size + size)
    memcpy(PyBytes_AS_STRING(result), header, header_size)
    memcpy(PyBytes_AS_STRING(result) + header_size, payload, size)
    return result


cdef bytes frame_of(uint8_t opcode, bytes payload):
    """Return the frame of a payload."""
    return frame(opcode, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))


cdef bytes frame_of_json(object document):
    """Return the text frame of a JSON document."""
    return frame_of(Opcode.OP_TEXT, dumps(document))


cdef bytes close_frame(int code, str reason):
    """Return a CLOSE frame; without a payload for CLOSE_NO_STATUS (RFC 6455, 5.5.1)."""
    cdef bytes text
    if code == CloseCode.CLOSE_NO_STATUS:
        return frame(Opcode.OP_CLOSE, b"", 0)
    text = reason.encode()[:MAX_REASON].decode(errors="ignore").encode()      # not cut within a character
    return frame_of(Opcode.OP_CLOSE, bytes((code >> 8, code & 0xFF)) + text)


cdef bytes frame_of_pieces(bytes head, list pieces, bytes tail, const MetricMask *mask):
    """Return the text frame of the pieces that the mask names, with commas between them, and what stands around them.

    It is measured first and then written in place: every byte is copied once.
    """
    cdef uint64_t word
    cdef Py_ssize_t w, i, header_size
    cdef Py_ssize_t payload = PyBytes_GET_SIZE(head) + PyBytes_GET_SIZE(tail)
    cdef Py_ssize_t last_comma = 0  # bytes of the comma behind the last piece, over which the tail is written
    cdef char header[MAX_HEADER]
    cdef char *out
    cdef bytes result
    for w in range(MASK_WORDS):
        word = mask.words[w]
        while word:
            payload += PyBytes_GET_SIZE(pieces[64 * w + <Py_ssize_t>vfast_ctz64(word)]) + 1
            last_comma = 1
            word &= word - 1
    payload -= last_comma
    header_size = write_header(header, Opcode.OP_TEXT, payload)
    result = PyBytes_FromStringAndSize(NULL, header_size + payload)
    out = written(PyBytes_AS_STRING(result), header, header_size)
    out = written(out, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
    for w in range(MASK_WORDS):
        word = mask.words[w]
        while word:
            i = 64 * w + <Py_ssize_t>vfast_ctz64(word)
            out = written(out, PyBytes_AS_STRING(pieces[i]), PyBytes_GET_SIZE(pieces[i]))
            out[0] = c","
            out += 1
            word &= word - 1
    written(out - last_comma, PyBytes_AS_STRING(tail), PyBytes_GET_SIZE(tail))
    return result


cdef bytes frame_of_batch(list frames):
    """Return the frame of a message that holds those of several text frames (protocol.md, section 7)."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(BATCH_HEAD) + PyBytes_GET_SIZE(BATCH_TAIL) + len(frames) - 1
    cdef Py_ssize_t header_size, payload
    cdef char header[MAX_HEADER]
    cdef char *out
    cdef bytes result, message
    for message in frames:
        size += payload_size(message)
    header_size = write_header(header, Opcode.OP_TEXT, size)
    result = PyBytes_FromStringAndSize(NULL, header_size + size)
    out = written(PyBytes_AS_STRING(result), header, header_size)
    out = written(out, PyBytes_AS_STRING(BATCH_HEAD), PyBytes_GET_SIZE(BATCH_HEAD))
    for message in frames:
        payload = payload_size(message)
        out = written(out, PyBytes_AS_STRING(message) + PyBytes_GET_SIZE(message) - payload, payload)
        out[0] = c","
        out += 1
    written(out - 1, PyBytes_AS_STRING(BATCH_TAIL), PyBytes_GET_SIZE(BATCH_TAIL))
    return result


cdef bytes with_offset(bytes text, uint64_t offset):
    """Return the text of a JSON object, or its end, with one more field."""
    return text[:len(text) - 1] + b',"offset":%d}' % offset


cdef bytes frame_of_publication(Publication publication, const MetricMask *mask, uint64_t offset):
    """Return the text frame of a publication with the metrics that the mask names (events: whole).

    PublicationError when something in it is not JSON.
    """
    publication.serialise(mask)
    if publication.text is not None:
        return frame_of(Opcode.OP_TEXT, with_offset(publication.text, offset) if offset else publication.text)
    return frame_of_pieces(publication.head, publication.pieces,
                           with_offset(publication.tail, offset) if offset else publication.tail, mask)


def encode(message, metrics=None, *, uint64_t offset=0):
    """Return the frame of a data message, for tests and benchmarks.

    Args:
        message: a data message.
        metrics: the names to project to; None: all.
        offset: that of the message in its channel, which it is to tell; 0: not.
    """
    cdef Publication publication = publication_of(message)
    cdef MetricMask mask
    cdef Py_ssize_t i
    for i in range(MASK_WORDS):
        mask.words[i] = 0
    for i in range(publication.count):
        if metrics is None or publication.names[i] in metrics:
            mask_add(&mask, i)
    return frame_of_publication(publication, &mask, offset)


def batch_frame(list frames not None):
    """Return the frame of a batch of text frames, for tests."""
    return frame_of_batch(frames)


def text_frame(document):
    """Return the text frame of a JSON document, for tests."""
    return frame_of_json(document)


def closing_frame(int code, str reason not None=""):
    """Return a CLOSE frame, for tests."""
    return close_frame(code, reason)
