"""Frames and messages of one connection (RFC 6455, sections 5 and 8); its ends are in test_connection_closing.py."""

from __future__ import annotations

import itertools
import struct

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from core.harness import Server, until
from core.wire_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Frame, frame, text

PING_COMMAND = b'{"type":"ping","id":1}'


def fragments(payload: bytes, *sizes: int) -> list[bytes]:
    """Return the frames of a text message whose first frames have these sizes."""
    cuts = [0, *itertools.accumulate(sizes), len(payload)]
    pieces = [payload[start:end] for start, end in itertools.pairwise(cuts)]
    return [frame(CONTINUATION if i else TEXT, piece, fin=i == len(pieces) - 1) for i, piece in enumerate(pieces)]


async def expect_pong(client: Client) -> None:
    answer = await client.hear()
    assert (answer["type"], answer["id"]) == ("pong", 1)


async def test_the_library_client_is_understood() -> None:
    async with Server() as server, connect(server.url) as socket:
        await socket.send(PING_COMMAND.decode())
        assert "pong" in str(await socket.recv())
        await socket.send(["{", '"type":', '"ping"', "}"])
        assert "pong" in str(await socket.recv())
        await (await socket.ping("x"))
        await socket.send(b"binary")
        with pytest.raises(ConnectionClosedError) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1003, "unsupported_data")


async def test_frames_that_come_byte_by_byte() -> None:
    async with Server() as server:
        client = await server.connect()
        data = b"".join(fragments(PING_COMMAND, 1, 3, 5)) + frame(PING, b"p")
        for i in range(len(data)):
            await client.write(data[i : i + 1])
            if i % 7 == 0:
                await until(lambda: True)
        await expect_pong(client)
        assert await client.receive() == Frame(PONG, b"p")


async def test_many_frames_in_one_segment() -> None:
    async with Server() as server:
        client = await server.connect()
        await client.write(b"".join(text({"type": "ping", "id": i}) for i in range(200)))
        assert [(await client.hear())["id"] for _ in range(200)] == list(range(200))


async def test_every_mask_and_length() -> None:
    """Lengths around those of each form of the header, up to the bound on a frame."""
    async with Server(message_size=0) as server:
        client = await server.connect()
        for size in (125, 126, 127, 65535, 65536):
            padding = "x" * (size - len('{"type":"ping","pad":""}'))
            payload = f'{{"type":"ping","pad":"{padding}"}}'.encode()
            for mask in (b"\0\0\0\0", b"\xff\x01\x80\x7f"):
                await client.write(frame(TEXT, payload, mask=mask))
                assert (await client.hear())["type"] == "pong"


async def test_control_frames_between_fragments() -> None:
    async with Server() as server:
        client = await server.connect()
        first, second, third = fragments(PING_COMMAND, 4, 0)
        await client.write(first + frame(PING, b"a") + second + frame(PONG) + frame(PING) + third)
        assert await client.receive() == Frame(PONG, b"a")
        assert await client.receive() == Frame(PONG, b"")
        await expect_pong(client)


async def test_a_message_of_as_many_fragments_as_may_be() -> None:
    async with Server(fragments=4) as server:
        client = await server.connect()
        for _ in range(2):
            await client.write(b"".join(fragments(PING_COMMAND, 1, 1, 1)))
            await expect_pong(client)
        await client.write(b"".join(fragments(PING_COMMAND, 0, 0, 0, 1)))
        assert await client.close_code() == 1009


async def test_the_sixty_fifth_fragment() -> None:
    async with Server() as server:
        client = await server.connect()
        await client.write(b"".join(fragments(b" " * 63 + PING_COMMAND, *[1] * 63)))
        await expect_pong(client)
        await client.write(b"".join(frame(CONTINUATION if i else TEXT, fin=False) for i in range(65)))
        assert await client.close_code() == 1009


async def test_a_frame_over_its_bound() -> None:
    async with Server() as server:
        client = await server.connect()
        await client.write(frame(TEXT, b" " * 65536))
        assert (await client.hear())["error"] == "message_too_large"
        await client.write(frame(TEXT, b" " * 65537))
        assert (await client.closing()) == ([], 1009, "too_big")


async def test_fragments_that_add_up_to_more_than_a_frame_may_have() -> None:
    async with Server(frame_size=2000) as server:
        client = await server.connect()
        await client.write(frame(TEXT, b" " * 1000, fin=False) + frame(CONTINUATION, b" " * 1000, fin=False))
        assert await client.settled() == []
        await client.write(frame(CONTINUATION, b" "))
        assert await client.close_code() == 1009


@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("reserved", [1, 2, 4, 7])
async def test_reserved_bits_are_a_violation(opcode: int, reserved: int) -> None:
    async with Server() as server:
        client = await server.connect()
        payload = struct.pack("!H", 1000) if opcode == CLOSE else PING_COMMAND
        await client.write(frame(opcode, payload, reserved=reserved))
        assert await client.close_code() == 1002


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, PING_COMMAND, mask=None),
        frame(3, b""),
        frame(7, b"x"),
        frame(0xB, b""),
        frame(0xF, b""),
        frame(CONTINUATION, PING_COMMAND),
        frame(CONTINUATION, PING_COMMAND, fin=False),
        frame(TEXT, b"{", fin=False) + frame(TEXT, PING_COMMAND),
        frame(TEXT, b"{", fin=False) + frame(BINARY, PING_COMMAND),
        frame(PING, b"", fin=False),
        frame(PONG, b"", fin=False),
        frame(CLOSE, b"", fin=False),
        frame(PING, b"x" * 126),
        frame(PONG, b"x" * 126),
        # Lengths that are not written in the shortest way, and one with the highest bit.
        b"\x81\xfe\x00\x7d\0\0\0\0" + b" " * 125,
        b"\x81\xff" + struct.pack("!Q", 65535) + b"\0\0\0\0" + b" " * 65535,
        b"\x81\xff" + struct.pack("!Q", 1 << 63) + b"\0\0\0\0",
    ],
)
async def test_violations_of_the_framing(data: bytes) -> None:
    async with Server() as server:
        client, other = await server.connect(), await server.connect()
        await client.write(data)
        assert await client.close_code() == 1002
        await other.write(frame(TEXT, PING_COMMAND))
        await expect_pong(other)


BEHIND_IT = {
    "not masked": (frame(TEXT, PING_COMMAND, mask=None), 1002),
    "reserved opcode": (frame(3), 1002),
    "reserved bit": (frame(TEXT, PING_COMMAND, reserved=4), 1002),
    "long ping": (frame(PING, b"x" * 126), 1002),
    "too big": (b"\x81\xff" + struct.pack("!Q", 1 << 40) + b"\0\0\0\0", 1009),
    "code 1": (frame(CLOSE, b"\0\1"), 1002),
    "half a code": (frame(CLOSE, b"\3"), 1002),
}


@pytest.mark.parametrize(("data", "code"), BEHIND_IT.values(), ids=BEHIND_IT)
async def test_what_came_before_a_violation_is_served(data: bytes, code: int) -> None:
    """Also in the same segment, where picows looks ahead; what comes behind it is not."""
    async with Server(frame_size=1 << 20) as server:
        for before in (1, 2, 3):
            client = await server.connect()
            command = frame(TEXT, PING_COMMAND)
            await client.write(command * before + frame(PING, b"p") + data + command)
            for _ in range(before):
                await expect_pong(client)
            assert await client.receive() == Frame(PONG, b"p")
            assert (await client.closing())[:2] == ([], code)
            assert await client.rest() == []


@pytest.mark.parametrize(
    "frames",
    [
        [b"\xff"],
        [b'{"type":"\xc3"}'],
        [b"\xed\xa0\x80"],
        [b"\xc0\xaf"],
        [b"\xf4\x90\x80\x80"],
        [b'{"a":"\xe2\x82', b'"}'],
        [b"\xe2\x82", b""],
    ],
)
async def test_text_that_is_not_utf8(frames: list[bytes]) -> None:
    async with Server() as server:
        client = await server.connect()
        data = b"".join(frames)
        await client.write(b"".join(fragments(data, *map(len, frames[:-1]))))
        assert (await client.closing()) == ([], 1007, "invalid_utf8")


async def test_bad_text_ends_the_connection_before_its_message_is_whole() -> None:
    async with Server() as server:
        client = await server.connect()
        await client.write(frame(TEXT, b"\xf0\x80", fin=False))
        assert await client.close_code() == 1007


async def test_text_may_be_split_within_a_character() -> None:
    async with Server() as server:
        client = await server.connect()
        payload = '{"type":"ping","id":1,"x":"é€𝄞"}'.encode()
        for cut in range(len(payload) + 1):
            await client.write(b"".join(fragments(payload, cut)))
            await expect_pong(client)


@pytest.mark.parametrize("payload", [b"", PING_COMMAND, b"\xff"])
async def test_binary_is_not_negotiated(payload: bytes) -> None:
    async with Server() as server:
        client = await server.connect()
        await client.write(frame(BINARY, payload))
        assert await client.closing() == ([], 1003, "unsupported_data")


async def test_pings_are_answered_with_their_payload() -> None:
    async with Server() as server:
        client = await server.connect()
        for payload in (b"", b"x", bytes(range(125))):
            await client.send(PING, payload)
            assert await client.receive() == Frame(PONG, payload)
        await client.send(PONG, b"nobody asked")
        assert await client.settled() == []


async def test_counters_of_what_came() -> None:
    """Messages however many frames they have, and bytes with every form of the header."""
    async with Server(message_size=0, frame_size=0) as server:
        client = await server.connect()
        data = b"".join(fragments(PING_COMMAND, 3)) + frame(PING, b"ab")
        for size in (125, 126, 65535, 65536):
            data += frame(TEXT, b" " * size)
        await client.write(data)
        assert len(await client.settled()) == 5
        assert client.session.messages_in == 5
        assert client.session.bytes_in == len(data) + len(frame(PING, b"barrier 1"))
        assert client.session.dropped == 0
        assert client.session.age > 0
