"""WebSocket messages out of WebSocket frames; frames.pxd has the overview."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .buffer cimport buffer_append, buffer_free
from .types cimport vfast_guard, vfast_invariant
from .wire cimport CloseCode, Opcode


cdef bint utf8_feed(Utf8State *state, const char *data, Py_ssize_t size) noexcept nogil:
    """Check the next bytes of a UTF-8 text; False at the first byte that no valid text can have there.

    The state says after the last byte whether the text may end here (`pending` is 0). Ranges are those of
    the Unicode Standard, table 3-7 (no surrogates, no overlong forms, nothing beyond U+10FFFF).
    """
    cdef const uint8_t *bytes = <const uint8_t *>data
    cdef Py_ssize_t i = 0
    cdef uint64_t word
    cdef uint8_t byte
    while i < size:
        if state.pending == 0:
            while i + 8 <= size:            # eight ASCII bytes at a time
                memcpy(&word, bytes + i, 8)
                if word & <uint64_t>0x8080808080808080:
                    break
                i += 8
            if i == size:
                return True
        byte = bytes[i]
        i += 1
        vfast_invariant(state.pending <= 3)
        if state.pending:
            if byte < state.low or byte > state.high:
                return False
            state.pending -= 1
            state.low, state.high = 0x80, 0xBF
        elif byte >= 0x80:
            state.low, state.high = 0x80, 0xBF
            if 0xC2 <= byte <= 0xDF:
                state.pending = 1
            elif 0xE0 <= byte <= 0xEF:
                state.pending = 2
                if byte == 0xE0:
                    state.low = 0xA0
                elif byte == 0xED:
                    state.high = 0x9F
            elif 0xF0 <= byte <= 0xF4:
                state.pending = 3
                if byte == 0xF0:
                    state.low = 0x90
                elif byte == 0xF4:
                    state.high = 0x8F
            else:
                return False
    return True


cdef int close_code_of(const char *payload, Py_ssize_t size) noexcept:
    """Return the code of a CLOSE payload, CLOSE_NO_STATUS for an empty one, or the negated code to close with.

    RFC 6455, 7.4: codes that may not be on the wire and those that nobody has registered are violations.
    """
    cdef int code
    cdef Utf8State state = Utf8State(0, 0, 0)
    if size == 0:
        return CloseCode.CLOSE_NO_STATUS
    if vfast_guard(b"close.half-a-code", size == 1):
        return -CloseCode.CLOSE_PROTOCOL_VIOLATION
    code = (<uint8_t>payload[0] << 8) | <uint8_t>payload[1]
    if vfast_guard(b"close.code", not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999)):
        return -CloseCode.CLOSE_PROTOCOL_VIOLATION
    if vfast_guard(b"close.utf8", not utf8_feed(&state, payload + 2, size - 2) or state.pending):
        return -CloseCode.CLOSE_INVALID_UTF8
    return code


cdef void assembler_free(Assembler *self) noexcept:
    """Give the memory of a fragmented message back, whole or in the making."""
    self.opcode = 0
    self.fragments = 0
    self.utf8.pending = 0
    buffer_free(&self.data)


cdef int assemble(Assembler *self, uint8_t opcode, bint fin, bint rsv1, bint reserved,
                  const char *payload, Py_ssize_t size) except -1:
    """Take one frame; return a Verdict, or -1000 and below: the connection must close with that code, negated.

    Called by the session for each frame in order. Control frames may stand between the fragments of a
    message. `self.message` is set with every verdict from FRAME_TEXT on; after a message of several frames the
    caller gives its memory back with assembler_free() once it has read it.
    """
    cdef bint first = opcode != Opcode.OP_CONTINUATION
    cdef bint unexpected = rsv1 and not (self.inflates and (opcode == Opcode.OP_TEXT or opcode == Opcode.OP_BINARY))
    if vfast_guard(b"frames.reserved", reserved or unexpected):
        return -CloseCode.CLOSE_PROTOCOL_VIOLATION      # nothing that uses it is negotiated
    self.message = payload
    self.message_size = size
    if opcode == Opcode.OP_PING or opcode == Opcode.OP_PONG or opcode == Opcode.OP_CLOSE:
        if vfast_guard(b"frames.control", not fin or size > 125):
            return -CloseCode.CLOSE_PROTOCOL_VIOLATION
        if opcode == Opcode.OP_PING:
            return Verdict.FRAME_PING
        return Verdict.FRAME_PONG if opcode == Opcode.OP_PONG else Verdict.FRAME_CLOSE
    if vfast_guard(b"frames.opcode", opcode > Opcode.OP_BINARY):
        return -CloseCode.CLOSE_PROTOCOL_VIOLATION
    if vfast_guard(b"frames.sequence", first != (self.opcode == 0)):
        return -CloseCode.CLOSE_PROTOCOL_VIOLATION
    if vfast_guard(b"frames.size", self.max_size and self.data.size + size > self.max_size):
        return -CloseCode.CLOSE_TOO_BIG
    if first:
        vfast_invariant(self.fragments == 0)
        vfast_invariant(self.utf8.pending == 0)
        vfast_invariant(self.data.size == 0)
        self.opcode = opcode
        self.compressed = rsv1
    self.fragments += 1
    if vfast_guard(b"frames.fragments", self.max_fragments and self.fragments > self.max_fragments):
        return -CloseCode.CLOSE_TOO_BIG
    opcode = self.opcode
    if opcode == Opcode.OP_TEXT and not self.compressed:
        if vfast_guard(b"frames.utf8", not utf8_feed(&self.utf8, payload, size)):
            return -CloseCode.CLOSE_INVALID_UTF8
        if vfast_guard(b"frames.utf8-end", fin and self.utf8.pending):
            return -CloseCode.CLOSE_INVALID_UTF8
    if first and fin:
        self.opcode = 0
        self.fragments = 0
        return Verdict.FRAME_TEXT if opcode == Opcode.OP_TEXT else Verdict.FRAME_BINARY
    buffer_append(&self.data, payload, size)
    if not fin:
        return Verdict.FRAME_MORE
    self.message = self.data.data
    self.message_size = self.data.size
    self.opcode = 0
    self.fragments = 0
    self.data.size = 0
    return Verdict.FRAME_TEXT if opcode == Opcode.OP_TEXT else Verdict.FRAME_BINARY


VERDICTS = {int(Verdict.FRAME_MORE): "more", int(Verdict.FRAME_TEXT): "text", int(Verdict.FRAME_BINARY): "binary",
            int(Verdict.FRAME_PING): "ping", int(Verdict.FRAME_PONG): "pong", int(Verdict.FRAME_CLOSE): "close"}


@cython.final
cdef class FrameAssembler:
    """The assembler as a Python object, for tests and fuzzing.

    Args:
        max_size: bytes a message; 0: no bound.
        max_fragments: frames a message; 0: no bound.
        inflates: whether messages may be compressed; they are given as they came.
    """
    cdef Assembler _assembler

    def __init__(self, Py_ssize_t max_size=0, uint32_t max_fragments=0, *, bint inflates=False):
        self._assembler.inflates = inflates
        self._assembler.max_size = max_size
        self._assembler.max_fragments = max_fragments

    def __dealloc__(self):
        assembler_free(&self._assembler)

    def feed(self, uint8_t opcode, bint fin, bytes payload not None, bint reserved=False, *, bint rsv1=False):
        """Return (verdict, message): a word and the bytes, or a close code and None."""
        cdef int verdict = assemble(&self._assembler, opcode, fin, rsv1, reserved, payload, len(payload))
        if verdict < 0:
            return -verdict, None
        if verdict == Verdict.FRAME_MORE:
            return "more", None
        message = PyBytes_FromStringAndSize(self._assembler.message, self._assembler.message_size)
        if verdict <= Verdict.FRAME_BINARY and self._assembler.data.capacity:
            assembler_free(&self._assembler)
        return VERDICTS[verdict], message


def is_utf8(list chunks not None):
    """Say whether the chunks, one after the other, are a UTF-8 text."""
    cdef Utf8State state = Utf8State(0, 0, 0)
    cdef bytes chunk
    for chunk in chunks:
        if not utf8_feed(&state, chunk, len(chunk)):
            return False
    return state.pending == 0


def close_code(bytes payload not None):
    """Return the code of a CLOSE payload, or the negated code to close with."""
    return close_code_of(payload, len(payload))
