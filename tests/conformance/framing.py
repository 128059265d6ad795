"""Frames, control frames, reserved bits and opcodes, fragments (RFC 6455, sections 5.2 to 5.5)."""

from __future__ import annotations

import struct

from conformance.case import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Case,
    binary,
    code,
    frame,
    message,
    pong,
    text,
)

SIZES = (0, 1, 124, 125, 126, 127, 128, 65_535, 65_536)
RESERVED_OPCODES = (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
OPCODES = {"continuation": CONTINUATION, "text": TEXT, "binary": BINARY, "close": CLOSE, "ping": PING, "pong": PONG}
FULL = bytes(range(125))


def _sized() -> list[Case]:
    cases = []
    for size in SIZES:
        characters = (b"abcdefghijklmno*" * (size // 16 + 1))[:size]
        octets = (bytes(range(256)) * (size // 256 + 1))[:size]
        cases += [
            Case(f"5.2 text of {size} bytes", frame(TEXT, characters), (text(characters),)),
            Case(f"5.2 binary of {size} bytes", frame(BINARY, octets), (binary(octets),)),
            Case(f"5.3 {size} bytes with a mask of zeros", frame(BINARY, octets, mask=bytes(4)), (binary(octets),)),
        ]
    for opcode, one in ((TEXT, text), (BINARY, binary)):
        several = b"".join(frame(opcode, b"%d" % i) for i in range(10))
        cases.append(Case(f"5.2 ten messages, opcode {opcode}", several, tuple(one(b"%d" % i) for i in range(10))))
    return cases


def _lengths() -> list[Case]:
    """Lengths that are not written in the shortest way, or have their highest bit set; a frame without a mask."""
    wrong = {
        "125 in 16 bits": b"\x82\xfe" + struct.pack("!H", 125),
        "0 in 16 bits": b"\x82\xfe" + struct.pack("!H", 0),
        "65535 in 64 bits": b"\x82\xff" + struct.pack("!Q", 65_535),
        "1 in 64 bits": b"\x82\xff" + struct.pack("!Q", 1),
        "a highest bit": b"\x82\xff" + struct.pack("!Q", 1 << 63),
        "all bits": b"\x82\xff" + b"\xff" * 8,
    }
    cases = [Case(f"5.2 length: {name}", head, ends=1002) for name, head in wrong.items()]
    for name, opcode in OPCODES.items():
        cases.append(Case(f"5.1 {name} without a mask", frame(opcode, b"", mask=None), ends=1002))
    return cases


def _pings() -> list[Case]:
    cases = [
        Case(f"5.5.2 ping with {name}", frame(PING, payload), (pong(payload),))
        for name, payload in {
            "nothing": b"", "text": b"Hello", "octets that are no text": b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff",
            "125 bytes": FULL,
        }.items()
    ]  # fmt: skip
    cases += [
        Case("5.5.2 ten pings", b"".join(frame(PING, b"%d" % i) for i in range(10)),
             tuple(pong(b"%d" % i) for i in range(10))),
        Case("5.5.3 a pong that nobody asked for", frame(PONG)),
        Case("5.5.3 a pong with a payload", frame(PONG, b"unsolicited")),
        Case("5.5.3 pongs around a ping", frame(PONG, b"x") + frame(PING, b"y") + frame(PONG, b"z"), (pong(b"y"),)),
    ]  # fmt: skip
    for name in ("ping", "pong", "close"):
        long = frame(OPCODES[name], code(1000) + b"x" * 124)
        cases += [
            Case(f"5.5 {name} of 126 bytes", long, ends=1002),
            Case(f"5.5 {name} in fragments", frame(OPCODES[name], b"", fin=False), ends=1002),
            Case(f"5.5 {name} in fragments, with its end",
                 frame(OPCODES[name], b"x", fin=False) + frame(CONTINUATION, b"y"), ends=1002),
            Case(f"5.5 {name} with its size in 16 bits", bytes((0x80 | OPCODES[name], 0xFE, 0, 125)), ends=1002),
        ]  # fmt: skip
    return cases


def _reserved() -> list[Case]:
    cases = []
    before, served = frame(TEXT, b"before"), text(b"before")
    for bits in range(1, 8):
        for name, opcode in OPCODES.items():
            data = code(1000) if opcode == CLOSE else b"x"
            cases.append(Case(f"5.2 RSV {bits:03b} on {name}", frame(opcode, data, reserved=bits), ends=1002))
        bad = frame(TEXT, b"x", reserved=bits)
        cases.append(Case(f"5.2 RSV {bits:03b} behind a message", before + bad + frame(PING), (served,), ends=1002))
    for opcode in RESERVED_OPCODES:
        for payload in (b"", b"reserved"):
            name = f"5.2 opcode {opcode} with {len(payload)} bytes"
            cases += [
                Case(name, frame(opcode, payload), ends=1002),
                Case(f"{name} behind a message", before + frame(opcode, payload) + frame(PING), (served,), ends=1002),
            ]
    return cases


def _fragments() -> list[Case]:
    one, two, three = b"one,", b"two,", b"three"
    whole = one + two + three
    cases = []
    for opcode, name, back in ((TEXT, "text", text), (BINARY, "binary", binary)):
        first, last = frame(opcode, one, fin=False), frame(CONTINUATION, three)
        middle = frame(CONTINUATION, two, fin=False)
        cases += [
            Case(f"5.4 {name} in two fragments", message(opcode, one, two), (back(one + two),)),
            Case(f"5.4 {name} in three fragments", first + middle + last, (back(whole),)),
            Case(f"5.4 {name} in empty fragments", message(opcode, b"", b"", b""), (back(b""),)),
            Case(f"5.4 {name}, empty but for the middle", message(opcode, b"", two, b""), (back(two),)),
            Case(f"5.4 {name}, a ping inside", first + frame(PING, b"p") + middle + last, (pong(b"p"), back(whole))),
            Case(f"5.4 {name}, a ping between all",
                 first + frame(PING, b"1") + middle + frame(PING, b"2") + last + frame(PING, b"3"),
                 (pong(b"1"), pong(b"2"), back(whole), pong(b"3"))),
            Case(f"5.4 {name}, a pong inside", first + frame(PONG, b"p") + middle + last, (back(whole),)),
            Case(f"5.4 {name}, closed inside", first + frame(CLOSE, code(1000)) + middle, ends=1000,
                 answer=code(1000)),
            Case(f"5.4 {name} of a hundred bytes, each a fragment",
                 message(opcode, *[b"*"] * 100), (back(b"*" * 100),)),
            Case(f"5.4 two {name}s, both in fragments", message(opcode, one, two) + message(opcode, two, three),
                 (back(one + two), back(two + three))),
            Case(f"5.4 {name} in the middle of another", first + frame(opcode, two) + last, ends=1002),
            Case(f"5.4 {name} begins in the middle of another", first + frame(opcode, two, fin=False), ends=1002),
            Case(f"5.4 {name} behind the end of another, as a continuation",
                 message(opcode, one, two) + frame(CONTINUATION, three), (back(one + two),), ends=1002),
        ]  # fmt: skip
        other = BINARY if opcode == TEXT else TEXT
        cases.append(Case(f"5.4 another opcode in the middle of {name}", first + frame(other, two), ends=1002))
    for fin in (True, False):
        alone = frame(CONTINUATION, b"x", fin=fin)
        cases += [
            Case(f"5.4 a continuation of nothing, FIN {fin:d}", alone, ends=1002),
            Case(f"5.4 a continuation of nothing behind a message, FIN {fin:d}", frame(TEXT, b"t") + alone,
                 (text(b"t"),), ends=1002),
            Case(f"5.4 a continuation of nothing behind a ping, FIN {fin:d}", frame(PING) + alone, (pong(),),
                 ends=1002),
            Case(f"5.4 an empty continuation of nothing, FIN {fin:d}", frame(CONTINUATION, b"", fin=fin), ends=1002),
        ]  # fmt: skip
    return cases


CASES = [*_sized(), *_lengths(), *_pings(), *_reserved(), *_fragments()]
