"""The connection of the conformance server; what it is for is in tests/conformance."""

from __future__ import annotations

import asyncio

from conformance.peer import connected
from core.wire_client import BINARY, CLOSE, CONTINUATION, TEXT, Frame, frame
from valtronics_fast._core.echo import Echo
from valtronics_fast.testing.echo import EchoServer


async def test_text_comes_back_as_text_and_binary_as_binary() -> None:
    async with connected() as client:
        await client.write(frame(TEXT, "é".encode()) + frame(BINARY, b"\xff"))
        await client.write(frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b"))
        assert [await client.receive() for _ in range(3)] == [
            Frame(TEXT, "é".encode()), Frame(BINARY, b"\xff"), Frame(TEXT, b"ab"),
        ]  # fmt: skip


async def test_a_peer_that_does_not_read_is_bounded() -> None:
    async with EchoServer(queue_limit=1 << 20) as server, connected(server) as client:
        (connection,) = server.hub.connections()
        assert isinstance(connection, Echo)
        for _ in range(200):
            await client.write(frame(BINARY, b"x" * 65536))
            await asyncio.sleep(0)
            assert connection.queued_bytes <= 1 << 20
            if connection.close_code:
                break
        while (received := await client.receive()).opcode != CLOSE:
            pass
        assert received.payload[:2] == (4102).to_bytes(2, "big")
