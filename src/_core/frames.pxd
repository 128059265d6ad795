"""WebSocket messages out of WebSocket frames (RFC 6455, 5.4 to 5.6 and 8.1).

picows parses frame headers and unmasks; what a frame may be where, and whether text is UTF-8, is decided here.
No socket, no clock: a frame goes in, a verdict comes out. A message in one frame (nearly all of them) is not
copied: `message` points into the frame.
"""
from libc.stdint cimport uint8_t, uint32_t

from .buffer cimport ByteBuffer


# Verdicts below zero: the connection has to be closed with that code, negated.
cdef enum Verdict:
    FRAME_MORE = 0                  # taken; the message goes on in another frame
    FRAME_TEXT = 1                  # a whole text message, valid UTF-8 (where it is not compressed)
    FRAME_BINARY = 2                # a whole binary message
    FRAME_PING = 3
    FRAME_PONG = 4
    FRAME_CLOSE = 5


cdef struct Utf8State:
    uint8_t pending                 # continuation bytes that are still to come
    uint8_t low                     # allowed range of the next one
    uint8_t high


cdef struct Assembler:
    # The fragmented message in the making; opcode 0: there is none, and everything else is empty.
    uint8_t opcode
    bint compressed                 # the last message was, or the one in the making is (RFC 7692, 6.2)
    uint32_t fragments
    Utf8State utf8
    ByteBuffer data
    # Bounds; 0: none.
    Py_ssize_t max_size             # bytes a message
    uint32_t max_fragments
    bint inflates                   # compressed messages were negotiated
    # What the last verdict speaks of; valid until the next frame.
    const char *message
    Py_ssize_t message_size


cdef int assemble(Assembler *self, uint8_t opcode, bint fin, bint rsv1, bint reserved,
                  const char *payload, Py_ssize_t size) except -1
cdef void assembler_free(Assembler *self) noexcept
cdef bint utf8_feed(Utf8State *state, const char *data, Py_ssize_t size) noexcept nogil
cdef int close_code_of(const char *payload, Py_ssize_t size) noexcept
