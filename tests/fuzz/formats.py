"""Targets: what may be negotiated beside JSON text, which is compressed messages and MessagePack.

What a session with one of them answers must be what one without it answers to the same commands as JSON text.
"""

from __future__ import annotations

import zlib
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
from websockets.exceptions import InvalidHeaderFormat, NegotiationError
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    _extract_parameters,
)
from websockets.headers import parse_extension

from core.oracle import is_text
from fuzz.peerless import Peerless
from fuzz.target import Target
from valtronics_fast import extensions
from valtronics_fast._core.formats import inflate, read
from valtronics_fast._core.wire import ERROR_NAMES, ErrorCode, Opcode
from valtronics_fast.extensions import EXTENSION, MAX_OFFERS, Deflate, negotiate_deflate

if TYPE_CHECKING:
    from collections.abc import Callable

    from valtronics_fast._core.connection import Connection

FRAME_SIZE = 512  # bytes, of the sessions that inflate
BOMB = 40  # times that a payload is repeated
BLANKS = " \t"
DEPTH = 100  # deeper than any bound, and less than what any library refuses
# What differs from one moment to the next.
CLOCKS = ("timestamp", "expires_at", "expires_in")


def _told(peerless: Peerless, session: Connection) -> list[dict[str, Any]]:
    """End a session; return what it was told, without the clocks."""
    answers = peerless.disconnect(session)
    for answer in answers:
        assert answer["type"] != "error" or answer["error"] in ERROR_NAMES.values()
        if answer["type"] in {"pong", "auth_response"}:
            for name in CLOCKS:
                answer.pop(name, None)
    assert peerless.host.errors == []
    peerless.check()
    return answers


# --- Sec-WebSocket-Extensions


def _chosen(header: str) -> tuple[list[Any], int] | None:
    """Return the offer to accept, as websockets reads the header, and the bits of its window; None: there is none."""
    offers = 0
    for element in header.split(","):
        if not element.strip(BLANKS):
            continue
        try:
            ((name, parameters),) = parse_extension(element.strip(BLANKS))
        except (InvalidHeaderFormat, ValueError):
            return None
        offers += 1
        if offers > MAX_OFFERS:
            return None
        if name != EXTENSION:
            continue
        try:
            _, _, server_bits, _ = _extract_parameters(parameters, is_server=True)
        except NegotiationError:
            continue
        if server_bits != 8:  # zlib makes no such stream
            return parameters, server_bits or 15
    return None


def _agreed(offered: list[Any], answer: str) -> PerMessageDeflate:
    """Return what a client that has made the offer makes of the answer (RFC 7692, section 7.1)."""
    no_server, no_client, server_bits, client_bits = _extract_parameters(offered, is_server=True)
    if client_bits == 8:
        client_bits = True  # websockets makes no such streams, and may do without
    client = ClientPerMessageDeflateFactory(no_server, no_client, server_bits, client_bits)
    ((name, parameters),) = parse_extension(answer)
    assert name == EXTENSION
    return client.process_response_params(parameters, [])


def start_offers() -> Callable[[bytes], None]:
    """Lines of Sec-WebSocket-Extensions: what is accepted is what websockets would, and a client can live with it."""

    def run(data: bytes) -> None:
        lines = data.decode("latin-1").split("\n")
        found = negotiate_deflate(lines)
        if "\\" in data.decode("latin-1"):
            return  # an escape within quotes, which is declined
        # websockets wants no blanks around "=".
        expected = _chosen("=".join(part.strip(BLANKS) for part in ", ".join(lines).split("=")))
        assert (found is None) == (expected is None), (found, expected)
        if found is None or expected is None:
            return
        assert isinstance(found, Deflate)
        offered, bits = expected
        assert found.bits == bits
        agreed = _agreed(offered, found.answer)
        assert agreed.remote_no_context_takeover
        assert agreed.local_no_context_takeover
        assert agreed.remote_max_window_bits >= bits

    return run


# --- Compressed messages


def _packed(data: bytes, level: int = 6) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _finished(data: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush(zlib.Z_FINISH) + b"\0"


TREATMENTS: tuple[Callable[[bytes], bytes], ...] = (
    bytes,  # as if it were compressed
    _packed,
    _finished,
    lambda data: _packed(data, 0),
    lambda data: _packed(data * BOMB),
    lambda data: _packed(data)[:-1],
    lambda data: _packed(data) + data[:3],
)


def _inflated(data: bytes, limit: int) -> tuple[bytes | None, set[int]]:
    """Return the message, or None and the codes that the connection may be closed with; zlib is asked byte by byte."""
    if not data:
        return b"", {0}
    stream, message, end = zlib.decompressobj(-15), b"", b"\0\0\xff\xff\3\0"
    left = data + end
    while left and not stream.eof:
        try:
            message += stream.decompress(left[:1])
        except zlib.error:
            return None, {1007, 1009} if len(message) > limit else {1007}
        left = left[1:]
    if len(message) > limit:
        return None, {1009}
    whole = stream.eof and left in (b"", end, b"\0" + end)
    return (message, {0}) if whole else (None, {1007})


def start_inflate() -> Callable[[bytes], None]:
    """Messages into a session that has negotiated compression.

    The first byte says whether it is authenticated. Of each message: a byte for how it is compressed (from the bit 8
    on in how many fragments), a byte of flags (1: binary; 2: RSV1 in all fragments; 4: not compressed), a byte of size,
    the payload.
    """
    compressing, plain = Peerless(frame_size=FRAME_SIZE), Peerless(frame_size=FRAME_SIZE)

    def run(data: bytes) -> None:
        authenticated = bool(data[:1] and data[0] & 1)
        session = compressing.connect(authenticated=authenticated, deflate=9 + data[0] % 7 if data else 15)
        other = plain.connect(authenticated=authenticated)
        at, codes = 1, {0}
        while at + 3 <= len(data) and codes == {0} and session.close_code == 0:
            how, flags, size = data[at : at + 3]
            payload = data[at + 3 : at + 3 + size]
            at += 3 + size
            rsv1 = not flags & 4
            sent = TREATMENTS[how % 8 % len(TREATMENTS)](payload) if rsv1 else payload
            fragments = how // 8 % 8
            for number in range(fragments + 1):
                piece = sent[number * len(sent) // (fragments + 1) : (number + 1) * len(sent) // (fragments + 1)]
                opcode = Opcode.OP_CONTINUATION if number else Opcode.OP_BINARY if flags & 1 else Opcode.OP_TEXT
                compressing.deliver(
                    session, piece, opcode, fin=number == fragments, rsv1=rsv1 and (not number or bool(flags & 2))
                )
            message, codes = (sent, {0}) if not rsv1 else _inflated(sent, FRAME_SIZE)
            if rsv1 and fragments and flags & 2:
                codes = {1002, 1009}
            elif len(sent) > FRAME_SIZE:
                codes = {1009}
            elif message is not None and flags & 1:
                codes = {1003}
            elif message is not None and not is_text(message):
                codes = {1007}
            elif message is not None:
                plain.deliver(other, message)
            for limit in (1, len(payload), FRAME_SIZE):
                small, _ = inflate(sent, limit)
                assert small is None or len(small) <= limit or limit == 0
            if codes == {0}:
                compressing.turn()
                plain.turn()
        assert session.close_code == other.close_code if codes == {0} else session.close_code in codes, codes
        assert _told(compressing, session) == _told(plain, other)

    return run


# --- MessagePack


def _is_json(value: object) -> bool:
    """Say whether JSON can write a value down."""
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    return isfinite(value) if isinstance(value, float) else value is None or isinstance(value, (str, int))


def _depth(value: object) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(_depth, children), default=0)


def _unpacked(data: bytes) -> object:
    """Return what the msgpack package makes of the bytes; None: nothing that a message could be."""
    try:
        value = msgpack.unpackb(data, strict_map_key=False)
    except Exception:  # noqa: BLE001 - it has many
        return None
    return value if isinstance(value, dict) and _is_json(value) else None


def start_messagepack() -> Callable[[bytes], None]:
    """Messages into a session that has negotiated MessagePack.

    A byte of flags: 1, it is authenticated; 2, they are given as JSON with a NUL behind each, else each has two bytes
    of size before it.
    """
    packed, plain = Peerless(), Peerless()

    def messages(data: bytes) -> list[bytes]:
        if data[0] & 2:
            return [msgpack.packb(value) for text in data[1:].split(b"\0") if (value := _loaded(text)) is not None]
        found, at = [], 1
        while at + 2 <= len(data):
            size = int.from_bytes(data[at : at + 2], "big")
            found.append(data[at + 2 : at + 2 + size])
            at += 2 + size
        return found

    def run(data: bytes) -> None:
        if not data:
            return
        session = packed.connect(authenticated=bool(data[0] & 1), msgpack=True)
        other = plain.connect(authenticated=bool(data[0] & 1))
        same = True  # up to the first message that JSON has no equal of
        for message in messages(data):
            value, (found, number) = _unpacked(message), read(message)
            if value is None:
                assert found is None or _depth(found) > DEPTH
                assert found is not None or number in (ErrorCode.INVALID_JSON, ErrorCode.INVALID_MESSAGE)
            elif _depth(value) < DEPTH:
                assert repr(found) == repr(value)  # 1, 1.0 and True are not the same
                assert number == _depth(value)
            text = orjson.dumps(value) if _depth(value) < DEPTH else b""
            same = same and value is not None and max(len(text), len(message)) <= 1024
            packed.receive(session, message, Opcode.OP_BINARY)
            plain.receive(other, text if same else b"{}")
        answers, others = _told(packed, session), _told(plain, other)
        if same:
            assert answers == others

    return run


def _loaded(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


TARGETS = {
    "offers": Target(start_offers, (extensions,)),
    "inflate": Target(start_inflate),
    "messagepack": Target(start_messagepack),
}
