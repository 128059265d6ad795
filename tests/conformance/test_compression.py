"""permessage-deflate (RFC 7692), against the echo server: every offer, every kind and size of message, every stream."""

from __future__ import annotations

import json
import zlib
from random import Random
from typing import TYPE_CHECKING

import pytest

from conformance.case import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, chopped, code, frame, outcome, write
from conformance.peer import connect
from core.wire_client import Client, Frame
from valtronics_fast.testing.echo import EchoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB = 1 << 10
RSV1 = 4
PLAIN = "permessage-deflate; client_max_window_bits"
OFFERS = {
    PLAIN: 15,
    f"{PLAIN}; server_no_context_takeover": 15,
    f"{PLAIN}; server_max_window_bits=9": 9,
    f"{PLAIN}; server_max_window_bits=15": 15,
    f"{PLAIN}; server_no_context_takeover; server_max_window_bits=9": 9,
    f"{PLAIN}; server_no_context_takeover; server_max_window_bits=15": 15,
    f"{PLAIN}; server_max_window_bits=8, {PLAIN}; server_max_window_bits=11, {PLAIN}": 11,
}
SIZES = (16, 64, 256, KIB, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB)
FRAGMENTS = (0, 256, KIB, 4 * KIB, 32 * KIB)  # bytes of a fragment; 0: one frame
HELLO = bytes.fromhex("f248cdc9c90700")


def _texts() -> Iterator[tuple[str, bytes]]:
    random = Random(1)
    records = [{"id": n, "name": f"device {random.randrange(99)}", "value": random.random()} for n in range(4000)]
    words = ["Habe", "nun", "ach", "Philosophie", "Juristerei", "und", "Medizin", "durchaus", "studiert", "heißem"]
    yield "json", json.dumps(records).encode()
    yield "prose", " ".join(random.choices(words, k=40_000)).encode()
    yield "markup", "".join(f"<li class='row'><a href='/{n}'>{n:x}</a></li>\n" for n in range(6000)).encode()


DATA: dict[str, tuple[int, bytes]] = {
    **{name: (TEXT, text) for name, text in _texts()},
    "picture": (BINARY, b"".join(bytes([row // 2 % 256, 255 - row % 256]) * 256 for row in range(512))),
    "noise": (BINARY, Random(2).randbytes(256 * KIB)),
}


def deflated(data: bytes, level: int = 6, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """Return a compressed message (RFC 7692, 7.2.1)."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def compressed(opcode: int, data: bytes, fragment: int = 0) -> bytes:
    """Return the frames of a message that is compressed already."""
    parts = chopped(data, fragment) if fragment else [data]
    return b"".join(
        frame(CONTINUATION if i else opcode, part, fin=i == len(parts) - 1, reserved=0 if i else RSV1)
        for i, part in enumerate(parts)
    )


async def heard(client: Client, bits: int) -> Frame:
    """Return the next message, inflated with a window of so many bits, which is enough for every one by itself."""
    found = await client.receive()
    if not client.compressed:
        return found
    stream = zlib.decompressobj(-bits)
    return Frame(found.opcode, stream.decompress(found.payload + b"\0\0\xff\xff"))


def cut(text: bytes, start: int, size: int) -> bytes:
    """Return so many bytes of a text from a place on, and again from its beginning where it ends."""
    twice = (text + text)[start % len(text) :][:size]
    return twice.decode(errors="ignore").encode().ljust(size, b".")


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("offer", OFFERS)
async def test_messages_of_every_size(offer: str, kind: str) -> None:
    opcode, data = DATA[kind]
    async with EchoServer() as server:
        client = await connect(server.port, offer=offer)
        try:
            for number, size in enumerate(SIZES):
                for fragment in FRAGMENTS if size >= 8 * KIB else (0,):
                    start = 7919 * number
                    message = cut(data, start, size) if opcode == TEXT else (data[start:] + data)[:size]
                    await client.write(compressed(opcode, deflated(message), fragment))
                    found = await heard(client, OFFERS[offer])
                    assert found.opcode == opcode
                    assert found.payload == message  # a comparison of frames would print them
                    assert client.compressed == (size >= 128 and opcode == TEXT)  # see Echo
        finally:
            client.close()


@pytest.mark.parametrize("kind", DATA)
async def test_a_thousand_messages_one_after_the_other(kind: str) -> None:
    opcode, data = DATA[kind]
    async with EchoServer() as server:
        client = await connect(server.port, offer=PLAIN)
        for number in range(1000):
            message = cut(data, 97 * number, 500) if opcode == TEXT else data[97 * number :][:500]
            await client.write(compressed(opcode, deflated(message)))
            assert await heard(client, 15) == Frame(opcode, message)
        client.close()


STREAMS: dict[str, tuple[bytes, bytes]] = {
    "7.2.3.1 one block": (HELLO, b"Hello"),
    "7.2.3.3 no compression": (bytes.fromhex("000500faff48656c6c6f00"), b"Hello"),
    "7.2.3.4 BFINAL": (bytes.fromhex("f348cdc9c9070000"), b"Hello"),
    "7.2.3.5 two blocks": (bytes.fromhex("f248050000 00ffffcac9c90700"), b"Hello"),
    "7.2.3.6 an empty message": (b"\0", b""),
    "nothing": (b"", b""),
    **{f"level {level}": (deflated(b"abc" * 99, level), b"abc" * 99) for level in range(10)},
    **{f"strategy {way}": (deflated(b"abc" * 99, 6, way), b"abc" * 99) for way in range(5)},
}
BROKEN: dict[str, bytes] = {
    "7.2.3.2 of the window before": bytes.fromhex("f200110000"),
    "a block of an unknown type": b"\x06",
    "cut short": HELLO[:-2],
    "more behind the end": bytes.fromhex("f348cdc9c90700") + HELLO,
    "text that is no UTF-8": deflated(b"\xff\xfe"),
    "half a character": deflated("€".encode()[:2]),
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("size", [0, 1, 3])
async def test_streams_as_they_may_be(stream: str, size: int) -> None:
    sent, message = STREAMS[stream]
    async with EchoServer() as server:
        client = await connect(server.port, offer=PLAIN)
        await write(client, [compressed(TEXT, sent, size)])
        assert await heard(client, 15) == Frame(TEXT, message)
        client.close()


@pytest.mark.parametrize("stream", BROKEN)
async def test_streams_that_are_none(stream: str) -> None:
    async with EchoServer() as server:
        client = await connect(server.port, offer=PLAIN)
        await write(client, [compressed(TEXT, BROKEN[stream])])
        assert await outcome(client, closes=False) == [Frame(CLOSE, code(1007, b"invalid_utf8"))]
        client.close()


async def test_messages_that_are_not_compressed_and_frames_in_between() -> None:
    async with EchoServer() as server:
        client = await connect(server.port, offer=PLAIN)
        first, second = frame(TEXT, HELLO[:3], fin=False, reserved=RSV1), frame(CONTINUATION, HELLO[3:])
        await client.write(frame(TEXT, b"plain") + first + frame(PING, b"p") + second + frame(BINARY, b"\xff"))
        frames = [await client.receive() for _ in range(4)]
        assert sorted(frames) == sorted(
            [Frame(TEXT, b"plain"), Frame(PONG, b"p"), Frame(TEXT, b"Hello"), Frame(BINARY, b"\xff")]
        )
        client.close()


@pytest.mark.parametrize(
    "sent",
    [
        frame(TEXT, HELLO[:3], fin=False, reserved=RSV1) + frame(CONTINUATION, HELLO[3:], reserved=RSV1),
        frame(TEXT, b"H", fin=False) + frame(CONTINUATION, HELLO, reserved=RSV1),
        frame(PING, b"", reserved=RSV1),
        frame(CLOSE, code(1000), reserved=RSV1),
        frame(TEXT, HELLO, reserved=RSV1 | 2),
        frame(TEXT, HELLO, reserved=RSV1 | 1),
    ],
)
async def test_the_bit_where_it_must_not_be(sent: bytes) -> None:
    """RFC 7692, 6: on the first frame of a message only, and on no control frame."""
    async with EchoServer() as server:
        client = await connect(server.port, offer=PLAIN)
        await write(client, [sent])
        assert [each.payload[:2] for each in await outcome(client, closes=False)] == [code(1002)]
        client.close()
