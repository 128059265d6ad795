"""A log on Redis or Valkey: a stream for each lane, and a channel on which its entries are told.

One script appends: it takes offsets from a counter that follows the server's clock in microseconds (so that none is
given twice after a crash that lost some), adds to the streams, and publishes. Redis runs one script after the other and
sends what is published in that order: that is the order of the log. In a cluster the channels are sharded ones: a node
of the cluster keeps order only among what it publishes itself, and others would get everything for nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import RedisError, ResponseError

from valtronics_fast.backplanes.addresses import parse_address
from valtronics_fast.backplanes.log import Batch, Entry, Kept, LogError
from valtronics_fast.backplanes.redis_servers import TIMEOUT, find_redis
from valtronics_fast.logging import fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Sequence

    import redis.asyncio
    from redis.asyncio.connection import AbstractConnection

    from valtronics_fast.backplanes.log import Receiver
    from valtronics_fast.config import BackplaneConfig

__all__ = ["APPEND", "RedisLog"]

MAX_READ = 1000
"""Entries of a lane that are read at a time."""

LANES_AT_ONCE = 8
"""Lanes that are read with one request."""

LONGEST = 512
"""Offsets that an entry takes, at most (envelope.MAX_PACKETS)."""

_log = logging.getLogger(__name__)

_Message = tuple[bytes, bytes, bytes]
"""What comes on a connection that has subscribed: a kind, a channel, and what it is about."""

_OPEN = """
redis.call('SET', KEYS[1] .. ':epoch', ARGV[1], 'NX')
local epoch = redis.call('GET', KEYS[1] .. ':epoch')
if epoch == ARGV[2] and tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[3]) then
  redis.call('SET', KEYS[1], ARGV[3])
end
return epoch
"""
# A replica that has become the master may have less than a node has seen: no offset may be given again.

APPEND = """
local time = redis.call('TIME')
local last = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), time[1] * 1000000 + time[2] - 1)
for i = 2, #ARGV, 3 do
  local offset = string.format('%.0f', last + 1)
  last = last + tonumber(ARGV[i + 1])
  redis.call('XADD', KEYS[1] .. ':' .. ARGV[i], 'MAXLEN', '~', ARGV[1], offset .. '-0', 'b', ARGV[i + 2])
  redis.call('PUBLISH', KEYS[1] .. ':' .. ARGV[i], offset .. ' ' .. ARGV[i + 2])
end
redis.call('SET', KEYS[1], string.format('%.0f', last))
return 1
"""

_ANNOUNCE = """
redis.call('PUBLISH', KEYS[1] .. ARGV[1], (redis.call('GET', KEYS[1]) or '0') .. ' ' .. ARGV[2])
return 1
"""


class RedisLog:
    """A log on Redis.

    Args:
        config: the settings.
    """

    name = "redis"

    def __init__(self, config: BackplaneConfig) -> None:
        self._address = parse_address(config.url)
        self._sharded = "S" if self._address.kind == "cluster" else ""
        self._entries = config.entries
        self._key = f"{{{config.prefix}}}:log"
        self._lanes = {f"{self._key}:{lane}".encode(): lane for lane in range(256)}
        self._client: redis.asyncio.Redis | None = None
        self._connection: AbstractConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._receiver: Receiver
        self._node = ""
        # Channels that are about to be followed or left -> what waits for Redis to say so.
        self._changing: dict[tuple[bytes, bytes], asyncio.Future[None]] = {}
        self._syncs: dict[bytes, asyncio.Future[int]] = {}
        self._sync_number = 0

    async def open(self, node: str, receiver: Receiver, epoch: str, position: int) -> str:
        """Connect: with some connections for commands, and one for what comes."""
        self._receiver = receiver
        self._node = node
        client = self._client = await self._call(find_redis(self._address, self._key))
        publish = f"'{self._sharded}PUBLISH'"
        self._append_script = client.register_script(APPEND.replace("'PUBLISH'", publish))
        self._announce_script = client.register_script(_ANNOUNCE.replace("'PUBLISH'", publish))
        arguments = [secrets.token_hex(8), epoch, position]
        found = await self._call(client.register_script(_OPEN)([self._key], arguments))
        connection = self._connection = client.connection_pool.make_connection()
        await self._call(connection.connect())
        self._reader = asyncio.create_task(self._read(connection), name="redis-reader")
        await self._subscribe("SUBSCRIBE", [f"{self._key}:all", f"{self._key}:node:{node}", f"{self._key}:sync:{node}"])
        await self._look_at_memory(client)
        return cast("bytes", found).decode(errors="replace")

    async def _look_at_memory(self, client: redis.asyncio.Redis) -> None:
        """Warn when Redis may throw away what nobody can tell to be missing."""
        with suppress(LogError):
            info = await self._call(client.info("memory"))
            policy = str(info.get("maxmemory_policy", ""))
            if info.get("maxmemory") and policy.startswith("allkeys"):
                _log.warning("Redis may evict the backplane's keys; noeviction is safe", extra=fields(policy=policy))

    async def close(self) -> None:
        """Let go of all connections."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        pending: list[asyncio.Future[Any]] = [*self._changing.values(), *self._syncs.values()]
        for waiting in pending:
            if not waiting.done():
                waiting.set_exception(LogError("Redis: the connection was closed"))
                waiting.exception()  # nobody may be left who waits for it
        self._changing.clear()
        self._syncs.clear()
        connection, self._connection = self._connection, None
        client, self._client = self._client, None
        with suppress(RedisError, OSError, TimeoutError, RuntimeError):
            async with asyncio.timeout(TIMEOUT):
                if connection is not None:
                    await connection.disconnect(nowait=True)
                if client is not None:
                    await client.aclose()

    async def append(self, batches: Sequence[Batch]) -> None:
        """Append in one script."""
        self._redis()
        arguments: list[Any] = [self._entries]
        for lane, offsets, blob in batches:
            arguments += (lane, offsets, blob)
        await self._call(self._append_script([self._key], arguments))

    async def announce(self, data: bytes) -> None:
        """Publish on the channel that all nodes listen to."""
        self._redis()
        await self._call(self._announce_script([self._key], [":all", data]))

    async def send(self, node: str, data: bytes) -> None:
        """Publish on a node's own channel."""
        client, channel = self._redis(), f"{self._key}:node:{node}"
        await self._call(client.spublish(channel, data) if self._sharded else client.publish(channel, data))

    async def follow(self, lanes: Collection[int]) -> None:
        """Subscribe to lanes' channels."""
        await self._subscribe("SUBSCRIBE", [f"{self._key}:{lane}" for lane in lanes])

    async def unfollow(self, lanes: Collection[int]) -> None:
        """Unsubscribe from lanes' channels."""
        await self._subscribe("UNSUBSCRIBE", [f"{self._key}:{lane}" for lane in lanes])

    async def sync(self) -> int:
        """Tell itself something: it comes behind what was published before, on the same connection."""
        self._redis()
        self._sync_number += 1
        number = str(self._sync_number).encode()
        come: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._syncs[number] = come
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._call(self._announce_script([self._key], [f":sync:{self._node}", number]))
                return await come
        except TimeoutError:
            raise LogError("Redis: what was published has not come") from None
        finally:
            self._syncs.pop(number, None)

    async def read(self, lanes: Collection[int], after: int | None) -> dict[int, Kept]:
        """Read lanes' streams; nothing of them is missing that was not cut off at their beginning."""
        found: dict[int, Kept] = {}
        left = list(lanes)
        while left:
            some, left = left[:LANES_AT_ONCE], left[LANES_AT_ONCE:]
            pipeline = self._redis().pipeline(transaction=False)
            for lane in some:
                key = f"{self._key}:{lane}"
                if after is None:
                    pipeline.xrevrange(key, count=MAX_READ)
                else:  # an entry that begins before it may end behind it
                    pipeline.xrange(key, min=f"{max(0, after - LONGEST)}-0")
                pipeline.xrange(key, count=1)
                pipeline.xinfo_stream(key)
            answers = iter(await self._call(pipeline.execute(raise_on_error=False)))
            for lane, entries, first, info in zip(some, answers, answers, answers, strict=True):
                found[lane] = _kept(entries, first, info, newest=after is None)
        return found

    def _redis(self) -> redis.asyncio.Redis:
        if self._client is None:
            raise LogError("Redis: not connected")
        return self._client

    async def _call(self, work: Awaitable[Any]) -> Any:
        """Await what Redis does; its errors become the log's."""
        try:
            return await work
        except (RedisError, OSError, TimeoutError, AttributeError, RuntimeError) as error:
            # The last two: it was disconnected, or its transport closed, before something could be sent.
            raise LogError(f"Redis: {type(error).__name__}: {error}") from error

    async def _subscribe(self, command: str, channels: Collection[str]) -> None:
        """Send a (UN)SUBSCRIBE, and wait until Redis has done it for each channel."""
        if not channels:
            return
        if self._connection is None or not self._connection.is_connected:
            raise LogError("Redis: not connected")
        loop = asyncio.get_running_loop()
        command = self._sharded + command
        kind = command.lower().encode()
        waiting = [self._changing.setdefault((kind, one.encode()), loop.create_future()) for one in channels]
        await self._call(self._connection.send_command(command, *channels))
        try:
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*waiting)
        except TimeoutError:
            raise LogError("Redis: a subscription was not answered") from None

    async def _read(self, connection: AbstractConnection) -> None:
        """Hand on what comes, until the connection ends."""
        inbox, syncs = f"{self._key}:node:{self._node}".encode(), f"{self._key}:sync:{self._node}".encode()
        message = f"{self._sharded.lower()}message".encode()
        try:
            while True:
                kind, channel, content = cast("_Message", await connection.read_response(timeout=math.inf))
                if kind != message:
                    self._change(kind, channel)
                    continue
                if channel == inbox:
                    self._receiver.told(content)
                    continue
                offset, _, data = content.partition(b" ")
                lane = self._lanes.get(channel)
                if lane is not None:
                    self._receiver.received(lane, int(offset), data)
                elif channel != syncs:
                    self._receiver.heard(data, int(offset))
                elif (come := self._syncs.get(data)) is not None and not come.done():
                    come.set_result(int(offset))
        except (RedisError, OSError, TimeoutError) as error:
            self._receiver.lost(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the log is opened again
            _log.exception("what came from Redis could not be read")
            self._receiver.lost(error)

    def _change(self, kind: bytes, channel: bytes) -> None:
        """Note that Redis has done what it was asked to; or, when it has not been asked, that a slot has moved away."""
        waiting = self._changing.pop((kind, channel), None)
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(None)
        elif kind == b"sunsubscribe":
            raise LogError("Redis: the slot is another node's now")


def _kept(entries: Any, first: Any, info: Any, *, newest: bool) -> Kept:
    """Return what a stream has, of Redis's answers about it."""
    for answer in (entries, first, info):
        if isinstance(answer, ResponseError) and "no such key" in str(answer):
            return Kept(0, [])
        if isinstance(answer, Exception):
            raise LogError(f"Redis: {type(answer).__name__}: {answer}")
    found = [Entry(int(name.split(b"-")[0]), values[b"b"]) for name, values in entries]
    if newest:
        found.reverse()
    # Before Redis 7 it does not know how many it has had.
    is_whole = info.get("entries-added", -1) == info["length"]
    floor = 0 if is_whole or not first else int(first[0][0].split(b"-")[0]) - 1
    if newest and len(found) == MAX_READ:
        floor = max(floor, found[0].offset - 1)
    return Kept(floor, found)
