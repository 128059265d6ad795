"""Formats beside JSON text: MessagePack and compressed messages."""

from __future__ import annotations

import json
import struct
import zlib

import msgpack
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.harness import Server, telemetry
from core.wire_client import BINARY, CONTINUATION, PING, TEXT, frame
from valtronics_fast._core import formats
from valtronics_fast._core.encode import closing_frame, text_frame
from valtronics_fast._core.formats import convert, inflate, read
from valtronics_fast._core.frames import FrameAssembler
from valtronics_fast._core.wire import CloseCode, ErrorCode

NAMES = st.text(st.characters(codec="utf-8"), max_size=8)
INTEGERS = st.integers(-(2**63), 2**64 - 1)
LEAVES = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | NAMES
DOCUMENTS = st.dictionaries(
    NAMES,
    st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=20),
)
LONG = {"text": "temperature " * 100}
SUBSCRIBE = {"type": "subscribe", "channel": "telemetry"}


def parts(data: bytes) -> tuple[int, bytes]:
    """Return the first byte and the payload of a frame."""
    size = data[1]
    start = 2 if size < 126 else 4 if size == 126 else 10
    length = size if size < 126 else int.from_bytes(data[2:start], "big")
    assert len(data) == start + length
    return data[0], data[start:]


def expanded(payload: bytes, bits: int = 15) -> bytes:
    return zlib.decompress(payload + b"\x00\x00\xff\xff\x03\x00", -bits)


def packed(data: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


@given(DOCUMENTS)
def test_messagepack_holds_what_json_holds(document: dict[str, object]) -> None:
    first, payload = parts(convert(text_frame(document), msgpack=True))
    assert first == 0x82
    assert msgspec.msgpack.decode(payload) == document


@given(DOCUMENTS, st.integers(9, 15))
def test_a_compressed_frame_holds_what_the_other_holds(document: dict[str, object], bits: int) -> None:
    whole = text_frame(document | LONG)
    first, payload = parts(convert(whole, deflate=bits))
    assert first == 0xC1
    assert expanded(payload, bits) == parts(whole)[1]
    first, payload = parts(convert(whole, msgpack=True, deflate=bits))
    assert first == 0xC2
    assert msgspec.msgpack.decode(expanded(payload, bits)) == document | LONG


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_a_large_message_needs_no_larger_window_than_was_agreed(bits: int) -> None:
    text = "".join(f"metric {i * 7919 % 10007} " for i in range(6000))
    whole = text_frame({"text": text})
    assert expanded(parts(convert(whole, deflate=bits))[1], bits) == parts(whole)[1]


def test_small_messages_and_what_does_not_shrink_are_left_alone() -> None:
    small = text_frame({"type": "pong"})
    assert convert(small, deflate=15) == small
    noise = text_frame({"n": "".join(chr(33 + (i * i * 31 + i // 7 * 17) % 94) for i in range(90))})
    assert convert(noise, deflate=15)[0] in (0x81, 0xC1)
    assert len(convert(noise, deflate=15)) <= len(noise)


@pytest.mark.parametrize("control", [closing_frame(1000, "normal"), bytes((0x89, 0)), bytes((0x8A, 3)) + b"abc"])
def test_control_frames_are_the_same_in_every_format(control: bytes) -> None:
    assert convert(control, msgpack=True, deflate=15) == control


@given(st.binary(max_size=5000))
def test_what_was_compressed_comes_back(data: bytes) -> None:
    assert inflate(packed(data)) == (data, 0)
    assert inflate(packed(data), len(data) or 1) == (data, 0)


@given(st.binary(min_size=2, max_size=5000))
def test_more_than_is_allowed_is_too_big(data: bytes) -> None:
    assert inflate(packed(data), len(data) - 1) == (None, CloseCode.CLOSE_TOO_BIG)


@given(st.binary(min_size=1, max_size=500), st.integers(1, 500))
@example(b"\x90\x90\x90\x90\x91\x90\x90\x92\x90\x90\x93\x90\x90\x94\x95", 5)
def test_a_message_that_breaks_off_is_none(data: bytes, missing: int) -> None:
    whole = packed(data)
    left = whole[: max(len(whole) - missing, 1)]
    if left == b"\0":  # that is an empty message (RFC 7692, 7.2.3.6)
        assert inflate(left) == (b"", 0)
    else:
        assert inflate(left) in ((None, CloseCode.CLOSE_INVALID_UTF8), (data, 0))
    stored = b"\0" + struct.pack("<HH", len(data) + 10, 0xFFFF - len(data) - 10) + data
    assert inflate(stored) == (None, CloseCode.CLOSE_INVALID_UTF8)


def test_a_stream_that_ends_by_itself_and_what_may_stand_behind_it() -> None:
    """RFC 7692, 7.2.3.4: a last block, with an empty one behind it or, from some compressors, none."""
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    ended = stream.compress(b"Hello") + stream.flush()
    assert inflate(ended + b"\0") == (b"Hello", 0)
    assert inflate(ended) == (b"Hello", 0)
    assert inflate(b"") == (b"", 0)
    assert inflate(b"\0") == (b"", 0)
    for more in (b"\1", b"\0\0", ended, packed(b"more")):
        assert inflate(ended + more) == (None, CloseCode.CLOSE_INVALID_UTF8)


def test_a_bomb_is_not_expanded() -> None:
    bomb = packed(bytes(100_000_000))
    assert len(bomb) < 100_000
    assert inflate(bomb, 65_536) == (None, CloseCode.CLOSE_TOO_BIG)


@given(st.binary(min_size=1, max_size=200))
def test_what_is_no_compressed_message_is_a_message_or_refused(data: bytes) -> None:
    message, code = inflate(data, 65_536)
    assert (code == 0) == (message is not None)
    assert code in (0, CloseCode.CLOSE_INVALID_UTF8, CloseCode.CLOSE_TOO_BIG)


@given(DOCUMENTS)
def test_reading_messagepack(document: dict[str, object]) -> None:
    found, depth = read(msgspec.msgpack.encode(document))
    assert found == document

    def depth_of(value: object) -> int:
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if children is None else 1 + max((depth_of(child) for child in children), default=0)

    assert depth == depth_of(document)


@pytest.mark.parametrize("value", [None, 5, 1.5, "[[]]", b"{}", (1, [2])])
def test_what_is_neither_dict_nor_list_does_not_nest(value: object) -> None:
    assert formats.depth_of(value) == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", ErrorCode.INVALID_JSON),
        (b"\xc1", ErrorCode.INVALID_JSON),
        (b"\x81\xa1a", ErrorCode.INVALID_JSON),
        (b"\x80\x80", ErrorCode.INVALID_JSON),
        (b"\xdf\xff\xff\xff\xff", ErrorCode.INVALID_JSON),
        (b"\x81\xa1\xff\x01", ErrorCode.INVALID_JSON),
        (b"\x91" * 100_000 + b"\x01", ErrorCode.INVALID_JSON),
        (b"\x01", ErrorCode.INVALID_MESSAGE),
        (b"\x90", ErrorCode.INVALID_MESSAGE),
        (msgpack.packb({1: 2}), ErrorCode.INVALID_MESSAGE),
        (msgpack.packb({"a": [{None: 2}]}), ErrorCode.INVALID_MESSAGE),
        (msgpack.packb({"a": b"bytes"}), ErrorCode.INVALID_MESSAGE),
        (msgpack.packb({"a": [msgpack.ExtType(1, b"")]}), ErrorCode.INVALID_MESSAGE),
        (msgpack.packb({"a": {"b": msgpack.Timestamp(1)}}), ErrorCode.INVALID_MESSAGE),
        (msgpack.packb({"a": float("nan")}), ErrorCode.INVALID_MESSAGE),
        (msgpack.packb({"a": [[float("inf")]]}), ErrorCode.INVALID_MESSAGE),
    ],
)
def test_what_is_no_messagepack_object(data: bytes, code: ErrorCode) -> None:
    assert read(data) == (None, code)


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    found, number = read(data)
    assert found is not None or number in (ErrorCode.INVALID_JSON, ErrorCode.INVALID_MESSAGE)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_the_first_frame_of_a_message_says_that_it_is_compressed(opcode: int) -> None:
    kind = "text" if opcode == TEXT else "binary"
    assembler = FrameAssembler(inflates=True)
    assert assembler.feed(opcode, True, b"\xff", rsv1=True) == (kind, b"\xff")
    assert assembler.feed(opcode, False, b"\xff", rsv1=True) == ("more", None)
    assert assembler.feed(PING, True, b"") == ("ping", b"")
    assert assembler.feed(CONTINUATION, True, b"\xfe") == (kind, b"\xff\xfe")
    assert FrameAssembler(inflates=True).feed(TEXT, True, b"\xff") == (1007, None)


def test_where_the_bit_must_not_be() -> None:
    assert FrameAssembler().feed(TEXT, True, b"", rsv1=True) == (1002, None)
    assert FrameAssembler(inflates=True).feed(PING, True, b"", rsv1=True) == (1002, None)
    assert FrameAssembler(inflates=True).feed(TEXT, True, b"", True, rsv1=True) == (1002, None)
    assembler = FrameAssembler(inflates=True)
    assert assembler.feed(TEXT, False, b"", rsv1=True) == ("more", None)
    assert assembler.feed(CONTINUATION, True, b"", rsv1=True) == (1002, None)


async def test_connections_of_the_same_format_share_a_conversion() -> None:
    async with Server() as server:
        options = [{}, {"deflate": 15}, {"deflate": 15}, {"msgpack": True}, {"msgpack": True, "deflate": 9}]
        clients = [await server.connect(**one) for one in options]
        for client, one in zip(clients, options, strict=True):
            for command in ({"type": "auth", "token": server.token()}, SUBSCRIBE):
                data = msgspec.msgpack.encode(command) if "msgpack" in one else json.dumps(command).encode()
                await client.write(frame(BINARY if "msgpack" in one else TEXT, data))
        for client in clients:
            await client.receive()
        server.hub.publish(telemetry(1, text="x" * 1000))
        kinds = []
        for client in clients:
            received = await client.receive()
            kinds.append((received.opcode, client.compressed))
        assert kinds == [(TEXT, False), (TEXT, True), (TEXT, True), (BINARY, False), (BINARY, True)]
