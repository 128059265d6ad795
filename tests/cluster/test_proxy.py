"""The proxy harms what goes through it as it is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from cluster.proxy import Mode, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT = 30.0
MOMENT = 0.3


@asynccontextmanager
async def echoing(delay: float = 0.0) -> AsyncIterator[Proxy]:
    """Run a proxy before a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data)
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1], delay=delay) as proxy:
        yield proxy


async def exchange(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection that works."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"one")
    async with asyncio.timeout(TIMEOUT):
        assert await reader.readexactly(3) == b"one"
    return reader, writer


async def test_it_swallows_on_connections_that_stay_open_and_new_ones_work_afterwards() -> None:
    async with echoing() as proxy:
        reader, writer = await exchange(proxy)
        proxy.set(Mode.SWALLOW)
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), MOMENT)
        proxy.set(Mode.PASS)
        writer.write(b"three")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), MOMENT)
        (await exchange(proxy))[1].close()
        writer.close()


async def test_it_resets_connections_also_new_ones() -> None:
    async with echoing() as proxy:
        reader, writer = await exchange(proxy)
        proxy.set(Mode.REFUSE)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), TIMEOUT)
        writer.close()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await exchange(proxy)
        proxy.set(Mode.PASS)
        (await exchange(proxy))[1].close()


async def test_what_is_late_stays_in_order() -> None:
    async with echoing(delay=MOMENT) as proxy:
        reader, writer = await exchange(proxy)
        proxy.set(Mode.DELAY)
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), MOMENT)
        proxy.set(Mode.PASS)
        writer.write(b"three")
        async with asyncio.timeout(TIMEOUT):
            assert await reader.readexactly(8) == b"twothree"
        writer.close()
