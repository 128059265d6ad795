"""Large messages, in frames, fragments and segments of any size, and many small ones, one after the other."""

from __future__ import annotations

import asyncio

import pytest

from conformance.case import BINARY, TEXT, chopped, frame, message, write
from conformance.peer import connected
from core.wire_client import PONG, Client, Frame

KIB, MIB = 1 << 10, 1 << 20
CHARACTERS = "0123456789 °é€🌡 "


def payload(opcode: int, size: int) -> bytes:
    """Return so many bytes; those of a text are text, with characters of every length."""
    if opcode == BINARY:
        return (bytes(range(256)) * (size // 256 + 1))[:size]
    text = (CHARACTERS * (size // len(CHARACTERS) + 1)).encode()[:size]
    return text.decode(errors="ignore").encode().ljust(size, b".")


async def echoed(client: Client, pieces: list[bytes], expected: Frame) -> None:
    """Send pieces of one message while the other end is read, which must be an echo of it."""
    writing = asyncio.ensure_future(client.write(b"".join(pieces)) if len(pieces) == 1 else write(client, pieces))
    received = await client.receive()
    await writing
    assert received.opcode == expected.opcode
    assert received.payload == expected.payload  # a comparison of frames would print megabytes


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB])
async def test_one_frame(opcode: int, size: int) -> None:
    async with connected() as client:
        data = payload(opcode, size)
        await echoed(client, [frame(opcode, data)], Frame(opcode, data))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("part", [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB])
async def test_four_megabytes_in_fragments(opcode: int, part: int) -> None:
    async with connected() as client:
        data = payload(opcode, 4 * MIB)
        await echoed(client, [message(opcode, *chopped(data, part))], Frame(opcode, data))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("piece", [64, 128, 256, 512, KIB, 2 * KIB])
async def test_a_frame_in_small_segments(opcode: int, piece: int) -> None:
    async with connected() as client:
        data = payload(opcode, 256 * KIB)
        await echoed(client, chopped(frame(opcode, data), piece), Frame(opcode, data))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 16, 64, 256, KIB, 4 * KIB])
async def test_a_thousand_messages_one_after_the_other(opcode: int, size: int) -> None:
    async with connected() as client:
        data = payload(opcode, size)
        for _ in range(1000):
            await client.send(opcode, data)
            assert await client.receive() == Frame(opcode, data)


async def test_a_message_that_a_client_fragments_by_itself() -> None:
    async with connected() as client:
        data = payload(TEXT, 65_536)
        await echoed(client, chopped(message(TEXT, *chopped(data, 1300)), 1300), Frame(TEXT, data))


async def test_sizes_around_those_of_buffers() -> None:
    """picows' buffer begins with 2,048 bytes and doubles, and the kernel keeps 16 KiB of what was not read."""
    async with connected() as client:
        for base in (2048, 4096, 8192, 16_384, 32_768, 65_536):
            for size in range(base - 20, base + 3):
                data = payload(BINARY, size)
                await client.write(frame(BINARY, data) + frame(9, b"p"))
                assert await client.receive() == Frame(BINARY, data)
                assert await client.receive() == Frame(PONG, b"p")
