"""Publications and answers -> WebSocket frames; encode.pxd has the overview."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from .buffer cimport ByteBuffer, buffer_append_bytes, buffer_append_char, buffer_free
from .publication cimport MASK_WORDS, MetricMask, Publication, publication_of
from .wire cimport Channel, CloseCode, ErrorCode, Opcode

from orjson import dumps

from .publication import PublicationError

cdef enum:
    MAX_HEADER = 10                 # bytes of the longest unmasked header
    MAX_REASON = 123                # bytes of a close reason: 125 of a control frame less the code
    FIN = 0x80


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


cdef object append_metrics(ByteBuffer *out, Publication publication, const MetricMask *mask):
    """Append the pieces of the metrics that the mask names, separated by commas."""
    cdef Py_ssize_t i
    cdef bint follows = False
    for i in range(publication.count):
        if not (mask.words[i >> 6] >> (i & 63)) & 1:
            continue
        if follows:
            buffer_append_char(out, c",")
        buffer_append_bytes(out, publication.piece(i))
        follows = True


cdef object append_values(ByteBuffer *out, Publication publication, const MetricMask *mask):
    """Append a telemetry_update or system_status_update with the fields in their documented order."""
    if publication.channel == Channel.TELEMETRY:
        buffer_append_bytes(out, b'{"type":"telemetry_update","channel":"telemetry","device_id":')
        buffer_append_bytes(out, dumps(publication.device_as_given))
        buffer_append_bytes(out, b',"telemetry":{')
        append_metrics(out, publication, mask)
        buffer_append_bytes(out, b"}}")
    else:
        buffer_append_bytes(out, b'{"type":"system_status_update","channel":"system","metrics":{')
        append_metrics(out, publication, mask)
        buffer_append_bytes(out, b'},"timestamp":')
        buffer_append_bytes(out, dumps(publication.timestamp))
        buffer_append_char(out, c"}")


cdef bytes frame_of_publication(Publication publication, const MetricMask *mask):
    """Return the text frame of a publication with the metrics that the mask names (events: whole).

    PublicationError when something in it is not JSON.
    """
    cdef ByteBuffer out = ByteBuffer(NULL, 0, 0)
    try:
        if publication.document is not None:
            return frame_of(Opcode.OP_TEXT, dumps(publication.document))
        append_values(&out, publication, mask)
        return frame(Opcode.OP_TEXT, out.data, out.size)
    except TypeError as error:
        raise PublicationError(ErrorCode.INVALID_MESSAGE, f"not JSON: {error}") from None
    finally:
        buffer_free(&out)


def encode(message, metrics=None):
    """Return the frame of a data message, for tests and benchmarks.

    Args:
        message: a data message.
        metrics: the names to project to; None: all.
    """
    cdef Publication publication = publication_of(message)
    cdef MetricMask mask
    cdef Py_ssize_t i
    for i in range(MASK_WORDS):
        mask.words[i] = 0
    for i in range(publication.count):
        if metrics is None or publication.names[i] in metrics:
            mask.words[i >> 6] |= (<uint64_t>1) << (i & 63)
    return frame_of_publication(publication, &mask)


def text_frame(document):
    """Return the text frame of a JSON document, for tests."""
    return frame_of_json(document)


def closing_frame(int code, str reason not None=""):
    """Return a CLOSE frame, for tests."""
    return close_frame(code, reason)
