"""The client comes back as the close code says, and asks for what it missed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from cluster import client as client_module
from cluster.client import Client
from core.wire_client import CLOSE, TEXT, frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OPENED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
TIMEOUT = 30.0


class FakeServer:
    """Says to each connection in turn what it was told to, and notes what each one subscribed with."""

    def __init__(self, *says: bytes) -> None:
        self.since: list[dict[str, Any] | None] = []
        self._says = list(says)
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        commands = [await _command(reader) for _ in range(2)]
        assert [command["type"] for command in commands] == ["auth", "subscribe"]
        self.since.append(commands[1].get("since"))
        writer.write(OPENED + (self._says.pop(0) if self._says else b""))
        await reader.read()
        writer.close()


async def _command(reader: asyncio.StreamReader) -> dict[str, Any]:
    _, size = await reader.readexactly(2)
    size &= 127
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    mask = await reader.readexactly(4)
    data = bytes(byte ^ mask[place % 4] for place, byte in enumerate(await reader.readexactly(size)))
    return orjson.loads(data)  # type: ignore[no-any-return]


def says(**message: object) -> bytes:
    return frame(TEXT, orjson.dumps(message), mask=None)


def answer(offset: int, **more: object) -> bytes:
    position = {"epoch": "e", "offset": offset}
    return says(type="auth_response", success=True) + says(type="subscribe_response", position=position, **more)


def close(code: int) -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big"), mask=None)


@asynccontextmanager
async def served(*told: bytes) -> AsyncIterator[tuple[FakeServer, Client, list[object]]]:
    """Start a server and a client of it; what the client tells is in the list."""
    fake, heard = FakeServer(*told), list[object]()
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = Client(
        [port],
        "token",
        "telemetry",
        [1],
        on_message=lambda message: heard.append(message["offset"]),
        on_gap=lambda: heard.append("gap"),
        on_return=lambda: heard.append("return"),
    )
    client.start()
    try:
        yield fake, client, heard
    finally:
        client.leave()
        server.close()


async def connections(fake: FakeServer, count: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        while len(fake.since) < count:
            await asyncio.sleep(0.01)


async def test_it_asks_for_what_came_behind_the_last_message() -> None:
    message = says(type="telemetry_update", channel="telemetry", device_id=1, offset=9)
    told = (answer(5) + message + close(1012), answer(9, recovered=True) + close(4200), answer(0, recovered=False))
    async with served(*told) as (fake, client, heard):
        await connections(fake, 3)
        async with asyncio.timeout(TIMEOUT):
            while heard[-1] != "gap":
                await asyncio.sleep(0.01)
        position = {"epoch": "e", "offset": 9}
        assert fake.since == [None, position, position]
        assert heard == [9, "return", "return", "gap"]
        assert client.returns == {"1012": 1, "4200": 1}


async def test_a_resync_is_a_gap_and_moves_the_position() -> None:
    resync = says(type="resync", channel="telemetry", position={"epoch": "f", "offset": 3})
    async with served(answer(5) + resync + close(1012)) as (fake, _, heard):
        await connections(fake, 2)
        assert heard == ["gap"]
        assert fake.since[1] == {"epoch": "f", "offset": 3}


@pytest.mark.parametrize("code", [4001, 4003, 4010])
async def test_it_does_not_come_back_where_that_is_of_no_use(code: int) -> None:
    async with served(answer(5) + close(code)) as (fake, client, _):
        async with asyncio.timeout(TIMEOUT):
            while not client.ended:
                await asyncio.sleep(0.01)
        await asyncio.sleep(2 * client_module.SPREAD)
        assert (len(fake.since), client.ended) == (1, f"close {code}")


@pytest.mark.parametrize("told", [close(4102), close(1001), b""])
async def test_it_waits_longer_each_time_where_something_is_wrong(told: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 0.05)  # who is not answered is given up
    async with served(told, told, told) as (fake, client, _):
        await connections(fake, 3)
        assert client._delay > client_module.FIRST_DELAY
        assert client.returns.total() >= 2
