"""The closing handshake (RFC 6455, sections 5.5.1 and 7)."""

from __future__ import annotations

from conformance.case import BINARY, CLOSE, CONTINUATION, PING, TEXT, Case, code, frame, message, pong, text

ALLOWED = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
FORBIDDEN = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 32_768, 65_535)
NORMAL = code(1000)
CLOSED = frame(CLOSE, NORMAL)
REASONS = {
    "a byte": b"x",
    "text": "at the café: 23 °C".encode(),
    "123 bytes": b"*" * 123,
    "123 bytes of long characters": "\U0001f321".encode() * 30 + b"abc",
}
NO_TEXT = {
    "a lone byte": b"\xff",
    "an overlong form": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "half a character at its end": b"ok \xe2\x82",
    "a bad byte in the middle": b"\xce\xba\xe1\xbd\xb9\xff\xcf\x83",
}
BEHIND = {
    "text": frame(TEXT, b"x"),
    "a ping": frame(PING, b"x"),
    "binary": frame(BINARY, b"\xff"),
    "another CLOSE": CLOSED,
    "a CLOSE with another code": frame(CLOSE, code(1001)),
    "an empty CLOSE": frame(CLOSE),
    "a CLOSE with a bad code": frame(CLOSE, code(0)),
    "three CLOSEs": CLOSED * 3,
    "the rest of a message": frame(CONTINUATION, b"x"),
    "a reserved opcode": frame(3),
    "a reserved bit": frame(TEXT, b"x", reserved=4),
    "no frame at all": b"GET / HTTP/1.1\r\n\r\n",
}

CASES = [
    Case("5.5.1 empty, answered 1000", frame(CLOSE), ends=1000, answer=NORMAL),
    Case("5.5.1 of one byte", frame(CLOSE, b"\x03"), ends=1002),
    Case("5.5.1 of one byte, zero", frame(CLOSE, b"\x00"), ends=1002),
    *[Case(f"7.4.1 code {number}", frame(CLOSE, code(number)), ends=number, answer=code(number)) for number in ALLOWED],
    *[Case(f"7.4.1 code {number}", frame(CLOSE, code(number)), ends=1002) for number in FORBIDDEN],
    *[Case(f"7.4.1 code {number} with a reason", frame(CLOSE, code(number, b"x")), ends=1002) for number in FORBIDDEN],
    *[Case(f"7.1.6 reason: {name}", frame(CLOSE, code(1000, reason)), ends=1000, answer=NORMAL)
      for name, reason in REASONS.items()],
    *[Case(f"7.1.6 reason: {name}", frame(CLOSE, code(1000, reason)), ends=1007) for name, reason in NO_TEXT.items()],
    *[Case(f"5.5.1 {size} bytes", frame(CLOSE, code(1000, b"x" * (size - 2))), ends=1000, answer=NORMAL)
      for size in range(2, 126)],
    *[Case(f"5.5.1 {size} bytes", frame(CLOSE, code(1000, b"x" * (size - 2))), ends=1002)
      for size in (126, 200, 65_536)],
    *[Case(f"5.5.1 behind it: {name}", CLOSED + behind, ends=1000, answer=NORMAL) for name, behind in BEHIND.items()],
    Case("5.5.1 256 KiB behind it", CLOSED + frame(BINARY, bytes(256 << 10)), ends=1000, answer=NORMAL),
    Case("5.5.1 behind a message", frame(TEXT, b"x") + CLOSED, (text(b"x"),), ends=1000, answer=NORMAL),
    Case("5.5.1 behind 256 KiB", frame(TEXT, b"x" * (256 << 10)) + CLOSED, (text(b"x" * (256 << 10)),), ends=1000,
         answer=NORMAL),
    Case("5.5.1 behind a ping", frame(PING, b"p") + CLOSED, (pong(b"p"),), ends=1000, answer=NORMAL),
    Case("5.5.1 within a message", message(TEXT, b"x", unfinished=True) + CLOSED + frame(CONTINUATION, b"y"),
         ends=1000, answer=NORMAL),
]  # fmt: skip
