"""What the compiled core should do, written slowly and obviously: the tests compare the two.

Each oracle follows protocol.md, an RFC or the header of its module, not the module's code.
"""

from __future__ import annotations

import json
import re
import struct
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_DECIMAL = re.compile(r"0|-?[1-9][0-9]*")
_SPACE = re.compile(r"[ \t\n\r]*")


def device_key(value: object) -> int | str | None:
    """Return the canonical device id (protocol.md, section 3), None when the value is no device id."""
    if type(value) is int:
        return value if -(2**63) <= value < 2**63 else None
    if not isinstance(value, str):
        return None
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return None
    if not 1 <= size <= 64 or "\0" in value:
        return None
    # A decimal that is not the form of any 64-bit integer stays a name.
    if _DECIMAL.fullmatch(value) and -(2**63) <= int(value) < 2**63:
        return int(value)
    return value


class SlotModel:
    """A set of slots with the shapes that bitset.pxd permits it.

    A set becomes dense with its 64th slot or later, when it holds more than one slot in 32 up to its highest.
    It stays so while that is more than one in 64, and 32 slots. A dense set may be allocated up to a quarter
    further than it has to reach, and then reaches there without another look; within that quarter either
    shape is right.
    """

    def __init__(self) -> None:
        self.slots: set[int] = set()
        self.shape = "inline"
        self.words = 0                          # a dense set: words of 64 slots that it had to reach so far
        self.permitted = {"inline"}

    def add(self, slot: int) -> bool:
        new = slot not in self.slots
        self.slots.add(slot)
        count = len(self.slots)
        if self.shape == "dense":
            self.words = max(self.words, slot // 64 + 1)
            self.permitted = self._while_dense(ahead=1.25)
        elif new and count >= 64 and count * 32 > max(self.slots):
            self.permitted = {"dense"}
        else:
            # Sparse from the third slot on, inline again when one is left.
            sparse = count > 2 or self.shape == "sparse"
            self.permitted = {"sparse" if sparse else "inline"}
        return new

    def discard(self, slot: int) -> bool:
        there = slot in self.slots
        self.slots.discard(slot)
        if self.shape == "dense":
            self.permitted = self._while_dense(ahead=1)
        else:
            self.permitted = {"sparse" if self.shape == "sparse" and len(self.slots) > 1 else "inline"}
        return there

    def settle(self, shape: str) -> None:
        """Take over which of the permitted shapes the real set has."""
        if shape == "dense" != self.shape:
            self.words = max(self.slots) // 64 + 1
        self.shape = shape

    def _while_dense(self, ahead: float) -> set[str]:
        count = len(self.slots)
        if count < 32 or count * ahead < self.words:
            return {"sparse"}
        return {"dense"} if count > self.words * 1.25 + 1 else {"dense", "sparse"}


class BucketModel:
    """A token bucket in exact arithmetic."""

    def __init__(self, rate: Fraction, burst: Fraction, now: Fraction) -> None:
        self.rate, self.burst, self.seen = rate, burst, now
        self.tokens = burst

    def take(self, now: Fraction, count: Fraction = Fraction(1)) -> bool:
        if self.rate == 0:
            return True
        passed = max(now - self.seen, Fraction(0))      # a clock that goes backwards gives nothing
        self.seen += passed
        self.tokens = min(self.tokens + passed * self.rate, self.burst)
        if self.tokens < count:
            return False
        self.tokens -= count
        return True

    def wait(self) -> Fraction:
        return Fraction(0) if self.rate == 0 else max(1 - self.tokens, Fraction(0)) / self.rate


class WheelModel:
    """Timers in a dict: slot -> the tick in which it fires."""

    def __init__(self, tick: Fraction, now: Fraction) -> None:
        self.tick = tick
        self.past = floor(now / tick)
        self.due: dict[int, int] = {}

    def arm(self, slot: int, deadline: Fraction) -> None:
        self.due[slot] = max(ceil(deadline / self.tick), self.past + 1)

    def disarm(self, slot: int) -> None:
        self.due.pop(slot, None)

    def advance(self, now: Fraction) -> set[int]:
        self.past = max(self.past, floor(now / self.tick))
        fired = {slot for slot, due in self.due.items() if due <= self.past}
        for slot in fired:
            del self.due[slot]
        return fired


def is_text(data: bytes) -> bool:
    """Say whether the bytes are a UTF-8 text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


# One of these completes any text that ends inside a character: every lead byte allows 0x80 or 0xBF behind it.
_ENDINGS = [b"", b"\x80", b"\x80\x80", b"\x80\x80\x80", b"\xbf\x80", b"\xbf\x80\x80"]


def begins_text(data: bytes) -> bool:
    """Say whether some UTF-8 text begins with the bytes."""
    return any(is_text(data + ending) for ending in _ENDINGS)


class MessageModel:
    """WebSocket messages out of frames (RFC 6455, 5.4 to 5.6): keeps and judges all fragments each time."""

    def __init__(self, max_size: int = 0, max_fragments: int = 0) -> None:
        self.max_size, self.max_fragments = max_size, max_fragments
        self.kind = 0
        self.fragments: list[bytes] = []

    def feed(self, opcode: int, fin: bool, payload: bytes, reserved: bool) -> tuple[str | int, bytes | None]:
        """Return (verdict, message), or the code to close with and None."""
        if reserved:                                            # 5.2: no extension, no reserved bit
            return 1002, None
        if opcode in {8, 9, 10}:                                # 5.5: short and never fragmented
            names = {8: "close", 9: "ping", 10: "pong"}
            return (names[opcode], payload) if fin and len(payload) <= 125 else (1002, None)
        if opcode not in {0, 1, 2}:
            return 1002, None
        if (opcode == 0) != bool(self.fragments):               # 5.4: nothing goes on, or one inside another
            return 1002, None
        if opcode:
            self.kind = opcode
        self.fragments.append(payload)
        message = b"".join(self.fragments)
        if 0 < self.max_size < len(message) or 0 < self.max_fragments < len(self.fragments):
            return 1009, None
        if self.kind == 1 and not (is_text(message) if fin else begins_text(message)):
            return 1007, None
        if not fin:
            return "more", None
        self.fragments = []
        return ("text" if self.kind == 1 else "binary"), message


def server_frame(opcode: int, payload: bytes) -> bytes:
    """Return a final, unmasked frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size <= 125:
        return struct.pack("!BB", 0x80 + opcode, size) + payload
    if size <= 0xFFFF:
        return struct.pack("!BBH", 0x80 + opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 + opcode, 127, size) + payload


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _members(text: str) -> Iterator[tuple[str, int]]:
    """Yield the keys of the JSON object in `text`, each with the index of its value."""
    decoder = json.JSONDecoder()
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)                   # behind the colon
        yield key, at
        at = _skip(text, decoder.raw_decode(text, at)[1])
        at = _skip(text, at + 1) if text[at] == "," else at


def batch_item_sizes(data: bytes) -> list[int] | None:
    """Return the bytes of each item of a batch, without the white space around it; None: no batch.

    The text is a valid JSON object; of members with the same key the last counts.
    """
    text = data.decode()
    decoder = json.JSONDecoder()
    members = dict(_members(text))
    if "type" not in members or decoder.raw_decode(text, members["type"])[0] != "batch":
        return None
    sizes: list[int] = []
    if "messages" not in members or text[members["messages"]] != "[":
        return sizes
    at = _skip(text, members["messages"] + 1)
    while text[at] != "]":
        end = decoder.raw_decode(text, at)[1]
        sizes.append(len(text[at:end].encode()))
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at
    return sizes
