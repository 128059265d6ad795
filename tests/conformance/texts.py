"""What is UTF-8, and at which byte it is seen that something is not (RFC 6455, section 8.1; RFC 3629)."""

from __future__ import annotations

from conformance.case import CONTINUATION, PING, TEXT, Case, chopped, frame, message, pong, text
from core.oracle import begins_text

# The first and last characters of each length, those beside the surrogates, and some that are no characters.
EDGES = (
    0x00, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x1FFFE, 0x1FFFF, 0x2FFFE,
    0x8FFFF, 0xFFFFE, 0x10FFFE, 0x10FFFF,
)  # fmt: skip
GREETING = "Grüße, κόσμε, мир, 世界, 🌡".encode()
VALID = {
    "a greeting": GREETING,
    "an accent of its own": "e\u0301".encode(),
    "a byte order mark": b"\xef\xbb\xbftext",
    **{f"U+{point:04X}": chr(point).encode() for point in EDGES},
}
INVALID = {
    "a lone continuation byte 80": b"\x80",
    "a lone continuation byte BF": b"\xbf",
    "six continuation bytes": b"\x80\xbf\x80\xbf\x80\xbf",
    "FE": b"\xfe",
    "FF": b"\xff",
    "C0 and a space": b"\xc0 ",
    "an overlong slash of two bytes": b"\xc0\xaf",
    "an overlong slash of three bytes": b"\xe0\x80\xaf",
    "an overlong slash of four bytes": b"\xf0\x80\x80\xaf",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "an overlong NUL": b"\xc0\x80",
    "the last overlong form of two bytes": b"\xc1\xbf",
    "the last overlong form of three bytes": b"\xe0\x9f\xbf",
    "the last overlong form of four bytes": b"\xf0\x8f\xbf\xbf",
    "the first surrogate": b"\xed\xa0\x80",
    "the last surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "the first beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "F5": b"\xf5\x80\x80\x80",
    "a second byte that is missing": b"\xc3x",
    "a third byte that is missing": b"\xe2\x82x",
    "a fourth byte that is missing": b"\xf0\x9f\x8cx",
    "a start within a character": b"\xe2\xc3\xa9",
    "a greeting with a surrogate": GREETING + b"\xed\xa0\x80edited",
}
CUT_OFF = {"two": b"\xc3", "three, one there": b"\xe2", "three, two there": b"\xe2\x82", "four, one there": b"\xf0",
           "four, two there": b"\xf0\x9f", "four, three there": b"\xf0\x9f\x8c"}  # fmt: skip


def _seen_at(data: bytes) -> int:
    """Return the index of the byte at which it is clear that this begins no text."""
    return next(at for at in range(len(data)) if not begins_text(data[: at + 1]))


def _valid() -> list[Case]:
    cases = []
    for name, data in VALID.items():
        each = message(TEXT, *chopped(data, 1))
        pings = b"".join(
            frame(CONTINUATION if at else TEXT, data[at : at + 1], fin=at == len(data) - 1) + frame(PING, b"%d" % at)
            for at in range(len(data))
        )
        pongs = [pong(b"%d" % at) for at in range(len(data))]
        cases += [
            Case(f"8.1 {name}", frame(TEXT, data), (text(data),)),
            Case(f"8.1 {name}, each byte a fragment", each, (text(data),)),
            Case(f"8.1 {name}, pings between its bytes", pings, (*pongs[:-1], text(data), pongs[-1])),
        ]
    return cases


def _invalid() -> list[Case]:
    cases = []
    for name, data in INVALID.items():
        seen = _seen_at(data)
        bytewise = chopped(data[: seen + 1], 1)
        begun = message(TEXT, data[: seen + 1], unfinished=True)
        cases += [
            Case(f"8.1 {name}", frame(TEXT, data), ends=1007),
            Case(f"8.1 {name}, behind a message", frame(TEXT, b"x") + frame(TEXT, data), (text(b"x"),), ends=1007),
            Case(f"8.1 {name}, each byte a fragment", message(TEXT, *chopped(data, 1)), ends=1007),
            # The message is not over, and never will be: the server must not wait for that.
            Case(f"8.1 {name}, at once", begun, ends=1007),
            Case(f"8.1 {name}, at once in fragments of a byte", message(TEXT, *bytewise, unfinished=True), ends=1007),
            Case(f"8.1 {name}, at once behind a ping",
                 message(TEXT, b"begun ", unfinished=True) + frame(PING, b"p")
                 + frame(CONTINUATION, data[: seen + 1], fin=False), (pong(b"p"),), ends=1007),
        ]  # fmt: skip
        if seen:
            # One byte less may still become text: the server must wait.
            waiting = message(TEXT, data[:seen], unfinished=True) + frame(PING, b"p")
            cases.append(Case(f"8.1 {name}, not too early", waiting, (pong(b"p"),)))
    for name, data in CUT_OFF.items():
        cases += [
            Case(f"8.1 cut off: {name}", frame(TEXT, b"x" + data), ends=1007),
            Case(f"8.1 cut off in the last fragment: {name}", message(TEXT, b"x", data), ends=1007),
            Case(f"8.1 cut off before an empty fragment: {name}", message(TEXT, data, b""), ends=1007),
            Case(f"8.1 not cut off yet: {name}", message(TEXT, data, unfinished=True) + frame(PING), (pong(),)),
        ]
    return cases


CASES = [*_valid(), *_invalid()]
