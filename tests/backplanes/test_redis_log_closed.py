"""A connection to Redis that closes before redis-py has written to it."""

from __future__ import annotations

import asyncio

import pytest

from valtronics_fast.backplanes.log import LogError
from valtronics_fast.backplanes.redis_log import RedisLog
from valtronics_fast.config import BackplaneConfig


async def test_a_transport_that_was_closed_under_it_is_a_loss_of_the_log() -> None:
    """What uvloop raises then is no OSError."""
    loop = asyncio.get_running_loop()
    closed: asyncio.Future[None] = loop.create_future()

    class Peer(asyncio.Protocol):
        def connection_lost(self, _: Exception | None) -> None:
            closed.set_result(None)

    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    async with server:
        transport, _ = await loop.create_connection(Peer, *server.sockets[0].getsockname())
        transport.abort()
        await closed

        async def command() -> None:
            transport.writelines([b"PING\r\n"])

        log = RedisLog(BackplaneConfig(url="redis://127.0.0.1"))
        with pytest.raises(LogError, match="closed"):
            await log._call(command())
