"""The log on a real Redis: offsets, what is kept and for how long, what it says when something is wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import redis.asyncio

from core.harness import until
from redis_server import Redis
from valtronics_fast.backplanes.log import Batch, Entry, LogError
from valtronics_fast.backplanes.redis_log import MAX_READ, RedisLog
from valtronics_fast.config import BackplaneConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Heard:
    """What a log has handed on."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, bytes]] = []
        self.announced: list[tuple[bytes, int]] = []
        self.messages: list[bytes] = []
        self.losses: list[Exception] = []

    def received(self, lane: int, offset: int, blob: bytes, /) -> None:
        self.entries.append((lane, offset, blob))

    def heard(self, data: bytes, offset: int, /) -> None:
        self.announced.append((data, offset))

    def told(self, data: bytes, /) -> None:
        self.messages.append(data)

    def lost(self, error: Exception, /) -> None:
        self.losses.append(error)


@pytest.fixture
async def log(redis_server: Redis) -> AsyncIterator[RedisLog]:
    log = RedisLog(BackplaneConfig(url=redis_server.url, entries=100))
    yield log
    await log.close()


async def test_entries_come_in_order_with_their_offsets(log: RedisLog) -> None:
    heard = Heard()
    await log.open("1", heard, "", 0)
    await log.follow([1, 2])
    await log.append([Batch(1, 3, b"a"), Batch(2, 1, b"b c"), Batch(3, 1, b"not followed")])
    await log.append([Batch(1, 512, b"")])
    position = await log.sync()
    assert [(lane, blob) for lane, _, blob in heard.entries] == [(1, b"a"), (2, b"b c"), (1, b"")]
    first, second, third = [offset for _, offset, _ in heard.entries]
    assert second == first + 3
    assert third > second + 1
    assert position == third + 511
    assert position < 2**53
    await log.announce(b"hello")
    await log.send("1", b"to one")
    await log.send("2", b"to another")
    await until(lambda: heard.announced and heard.messages)
    assert (heard.announced, heard.messages) == ([(b"hello", position)], [b"to one"])
    await log.unfollow([1])
    await log.append([Batch(1, 1, b"x"), Batch(2, 1, b"y")])
    await log.sync()
    assert heard.entries[-1][2] == b"y"
    assert len(heard.entries) == 4


async def test_what_is_kept_can_be_read(log: RedisLog) -> None:
    await log.open("1", Heard(), "", 0)
    assert await log.read([], 0) == {}
    empty = await log.read(range(20), None)
    assert all(kept == (0, []) for kept in empty.values())
    await log.append([Batch(1, 2, b"a"), Batch(2, 1, b"b"), Batch(1, 1, b"c")])
    found = await log.read([1, 2, 3], None)
    [(first, a), (second, c)] = found[1].entries
    assert (a, c, second - first, found[1].floor) == (b"a", b"c", 3, 0)
    assert found[2] == (0, [Entry(first + 2, b"b")])
    # What begins before an offset may end behind it, and comes with it.
    assert (await log.read([1], second))[1] == (0, found[1].entries)
    assert (await log.read([1], second + 600))[1] == (0, [])


async def test_what_was_cut_off_is_told(log: RedisLog) -> None:
    await log.open("1", Heard(), "", 0)
    for _ in range(10):
        await log.append([Batch(1, 1, b"x" * 100)] * 64)
    floor, entries = (await log.read([1], None))[1]
    assert 100 <= len(entries) < 300
    assert floor == entries[0].offset - 1


async def test_no_more_is_read_at_a_time_than_that(redis_server: Redis) -> None:
    log = RedisLog(BackplaneConfig(url=redis_server.url, entries=10 * MAX_READ))
    await log.open("1", Heard(), "", 0)
    for _ in range(MAX_READ // 50 + 1):
        await log.append([Batch(1, 1, b"x")] * 50)
    floor, entries = (await log.read([1], None))[1]
    assert len(entries) == MAX_READ
    assert floor == entries[0].offset - 1
    floor, entries = (await log.read([1], 0))[1]
    assert (floor, len(entries)) == (0, MAX_READ + 50)
    await log.close()


async def test_offsets_go_on_behind_what_a_node_has_seen(redis_server: Redis, log: RedisLog) -> None:
    """As after a failover to a replica that has less."""
    epoch = await log.open("1", Heard(), "", 0)
    await log.append([Batch(1, 1, b"x")])
    position = await log.sync()
    await log.close()
    ahead = position + 10**12
    assert await log.open("1", Heard(), "another", ahead) == epoch
    assert await log.sync() == position
    await log.close()
    assert await log.open("1", Heard(), epoch, ahead) == epoch
    await log.append([Batch(1, 1, b"y")])
    assert await log.sync() == ahead + 1


async def test_a_log_that_has_lost_everything_is_another_one(tmp_path: Path) -> None:
    with Redis(tmp_path) as server:
        log, heard = RedisLog(BackplaneConfig(url=server.url)), Heard()
        epoch = await log.open("1", heard, "", 0)
        server.kill()
        await until(lambda: heard.losses)
        with pytest.raises(LogError):
            await log.append([Batch(1, 1, b"x")])
        await log.close()
        server.start()
        assert await log.open("1", heard, epoch, 0) != epoch
        await log.close()


@pytest.mark.parametrize("what", ["append", "announce", "send", "follow", "unfollow", "sync", "read"])
async def test_nothing_works_that_is_not_open(log: RedisLog, what: str) -> None:
    await log.open("1", Heard(), "", 0)
    await log.close()
    await log.close()
    calls = {
        "append": lambda: log.append([Batch(1, 1, b"")]), "announce": lambda: log.announce(b""),
        "send": lambda: log.send("1", b""), "follow": lambda: log.follow([1]), "unfollow": lambda: log.unfollow([1]),
        "sync": log.sync, "read": lambda: log.read([1], 0),
    }  # fmt: skip
    with pytest.raises(LogError):
        await calls[what]()


async def test_what_waits_ends_with_the_connection(redis_server: Redis, log: RedisLog) -> None:
    await log.open("1", Heard(), "", 0)
    redis_server.freeze()
    try:
        waiting = [asyncio.ensure_future(log.sync()), asyncio.ensure_future(log.follow([1]))]
        await asyncio.sleep(0.1)
        await log.close()
        for one in waiting:
            with pytest.raises(LogError):
                await one
    finally:
        redis_server.thaw()


async def test_a_redis_that_evicts_is_told_of(redis_server: Redis, caplog: pytest.LogCaptureFixture) -> None:
    admin = redis.asyncio.Redis.from_url(redis_server.url)
    await admin.config_set("maxmemory", "100mb")
    log = RedisLog(BackplaneConfig(url=redis_server.url))
    for policy, is_told in (("noeviction", False), ("volatile-lru", False), ("allkeys-lru", True)):
        await admin.config_set("maxmemory-policy", policy)
        caplog.clear()
        await log.open("1", Heard(), "", 0)
        await log.close()
        assert ("evict" in caplog.text) is is_told
    await admin.aclose()


async def test_keys_that_are_something_else_are_an_error(redis_server: Redis, log: RedisLog) -> None:
    admin = redis.asyncio.Redis.from_url(redis_server.url)
    await admin.set("{valtronics}:log:1", "not a stream")
    await log.open("1", Heard(), "", 0)
    with pytest.raises(LogError, match="WRONGTYPE"):
        await log.read([1], 0)
    with pytest.raises(LogError, match="WRONGTYPE"):
        await log.append([Batch(1, 1, b"x")])
    await admin.aclose()


async def test_what_cannot_be_read_ends_the_connection(redis_server: Redis, log: RedisLog) -> None:
    heard = Heard()
    await log.open("1", heard, "", 0)
    admin = redis.asyncio.Redis.from_url(redis_server.url)
    await admin.publish("{valtronics}:log:all", "x y")
    await until(lambda: heard.losses)
    await admin.aclose()
