"""A Redis that does not answer, or not with what it was asked for: nobody waits for it without end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from redis.exceptions import RedisError

from core.harness import until
from harness import TIMEOUT
from valtronics_fast.backplanes import redis_log, redis_servers
from valtronics_fast.backplanes.addresses import parse_address
from valtronics_fast.backplanes.log import Batch, LogError
from valtronics_fast.backplanes.redis_log import RedisLog
from valtronics_fast.backplanes.redis_servers import find_redis
from valtronics_fast.config import BackplaneConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from redis_server import Redis

NOBODY: Any = Mock()
"""Gets what comes from a log that nothing comes from."""


@pytest.fixture
async def log(redis_server: Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisLog]:
    monkeypatch.setattr(redis_servers, "TIMEOUT", 0.2)
    monkeypatch.setattr(redis_log, "TIMEOUT", 0.2)
    log = RedisLog(BackplaneConfig(url=redis_server.url))
    await log.open("1", NOBODY, "", 0)
    yield log
    await log.close()


async def fails(work: Awaitable[object], match: str | None = None) -> None:
    """Have something end with an error of the log, in time."""
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(LogError, match=match):
            await work


async def test_commands_that_are_not_answered(redis_server: Redis, log: RedisLog) -> None:
    redis_server.freeze()
    try:
        await fails(log.append([Batch(1, 1, b"x")]))
    finally:
        redis_server.thaw()


async def test_subscriptions_that_are_not_answered(redis_server: Redis, log: RedisLog) -> None:
    redis_server.freeze()
    try:
        await fails(log.follow([1]), "not answered")
    finally:
        redis_server.thaw()


async def test_a_mark_that_does_not_come_back(log: RedisLog) -> None:
    await log._subscribe("UNSUBSCRIBE", [f"{log._key}:sync:1"])
    await fails(log.sync(), "has not come")
    assert not log._syncs


async def test_a_connection_that_does_not_end_is_left_behind(log: RedisLog, monkeypatch: pytest.MonkeyPatch) -> None:
    client = log._client
    assert client is not None
    aclose = client.aclose
    monkeypatch.setattr(client, "aclose", asyncio.Event().wait)
    async with asyncio.timeout(TIMEOUT):
        await log.close()
    await aclose()


async def test_a_subscription_is_for_the_connection_that_there_was(redis_server: Redis, log: RedisLog) -> None:
    """On another one, which the library would open, nobody is subscribed to anything else any more."""
    connection = log._connection
    assert connection is not None
    redis_server.kill()
    await until(lambda: not connection.is_connected)
    redis_server.start()
    await fails(log.follow([1]), "not connected")


def test_a_subscription_that_redis_has_ended_is_the_loss_of_the_log() -> None:
    """So a node of a cluster tells that a slot is another one's now."""
    log = RedisLog(BackplaneConfig(url="redis://127.0.0.1"))
    with pytest.raises(LogError, match="another node"):
        log._change(b"sunsubscribe", b"a channel")


async def test_sentinels_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_servers, "TIMEOUT", 0.2)
    asked = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RedisError, match="main"):
            await find_redis(parse_address(f"redis+sentinel://127.0.0.1:{port}/main"), "key")
    assert asked == 1
