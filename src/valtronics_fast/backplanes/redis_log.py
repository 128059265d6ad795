"""A log on Redis or Valkey: a stream for each lane, and a channel on which its entries are told.

One script appends: it takes offsets from a counter that follows the server's clock in microseconds (so that none is
given twice after a crash that lost some), adds to the streams, and publishes. Redis runs one script after the other and
sends what is published in that order: that is the order of the log. All keys have one hash tag, so that a cluster keeps
them on one of its nodes.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from valtronics_fast.backplanes.log import Batch, Entry, LogError, Opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Sequence

    from redis.asyncio.connection import AbstractConnection

    from valtronics_fast.backplanes.log import Receiver
    from valtronics_fast.config import BackplaneConfig

__all__ = ["APPEND", "RedisLog"]

TIMEOUT = 3.0
"""Seconds that Redis has to answer."""

MAX_READ = 1000
"""Entries of a lane that are read at a time."""

_Message = tuple[bytes, bytes, bytes]
"""What comes on a connection that has subscribed: a kind, a channel, and what it is about."""

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
redis.call('PUBLISH', KEYS[1] .. ':all', (redis.call('GET', KEYS[1]) or '0') .. ' ' .. ARGV[1])
return 1
"""


class RedisLog:
    """A log on Redis.

    Args:
        config: the settings.
    """

    name = "redis"

    def __init__(self, config: BackplaneConfig) -> None:
        self._url = config.url
        self._entries = config.entries
        self._key = f"{{{config.prefix}}}:log"
        self._lanes = {f"{self._key}:{lane}".encode(): lane for lane in range(256)}
        self._client: redis.asyncio.Redis | None = None
        self._connection: AbstractConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._receiver: Receiver
        self._inbox = b""
        # Channels that are about to be followed or left -> what waits for Redis to say so.
        self._changing: dict[tuple[bytes, bytes], asyncio.Future[None]] = {}

    async def open(self, node: str, receiver: Receiver) -> Opened:
        """Connect: once for commands, and once for what comes."""
        self._receiver = receiver
        self._inbox = f"{self._key}:node:{node}".encode()
        self._client = await self._call(self._find())
        self._append_script = self._client.register_script(APPEND)
        self._announce_script = self._client.register_script(_ANNOUNCE)
        self._connection = self._client.connection_pool.make_connection()
        await self._call(self._connection.connect())
        self._reader = asyncio.create_task(self._read(self._connection), name="redis-reader")
        await self._subscribe(b"SUBSCRIBE", [f"{self._key}:all".encode(), self._inbox])
        await self._call(self._client.set(f"{self._key}:epoch", secrets.token_hex(8), nx=True))
        epoch = await self._call(self._client.get(f"{self._key}:epoch"))
        head = await self._call(self._client.get(self._key))
        return Opened(epoch.decode(), int(head or 0))

    async def _find(self) -> redis.asyncio.Redis:
        """Return a client of the server that is the log's."""
        scheme, _, rest = self._url.partition("://")
        if scheme.startswith("valkey"):
            scheme = scheme.replace("valkey", "redis")
        return redis.asyncio.Redis.from_url(
            f"{scheme}://{rest}",
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
        )

    async def close(self) -> None:
        """Let go of both connections."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        for waiting in self._changing.values():
            waiting.cancel()
        self._changing.clear()
        connection, self._connection = self._connection, None
        client, self._client = self._client, None
        with suppress(RedisError, OSError):
            if connection is not None:
                await connection.disconnect(nowait=True)
            if client is not None:
                await client.aclose()

    async def append(self, batches: Sequence[Batch]) -> None:
        """Append in one script."""
        arguments: list[Any] = [self._entries]
        for lane, offsets, blob in batches:
            arguments += (lane, offsets, blob)
        await self._call(self._append_script([self._key], arguments))

    async def announce(self, data: bytes) -> None:
        """Publish on the channel that all nodes listen to."""
        await self._call(self._announce_script([self._key], [data]))

    async def send(self, node: str, data: bytes) -> None:
        """Publish on a node's own channel."""
        await self._call(self._redis().publish(f"{self._key}:node:{node}", data))

    async def follow(self, lanes: Collection[int]) -> None:
        """Subscribe to lanes' channels."""
        await self._subscribe(b"SUBSCRIBE", [f"{self._key}:{lane}".encode() for lane in lanes])

    async def unfollow(self, lanes: Collection[int]) -> None:
        """Unsubscribe from lanes' channels."""
        await self._subscribe(b"UNSUBSCRIBE", [f"{self._key}:{lane}".encode() for lane in lanes])

    async def read(self, lane: int, after: int | None) -> tuple[int, list[Entry]]:
        """Read a lane's stream; nothing of it is missing that was not cut off at its beginning."""
        key = f"{self._key}:{lane}"
        if after is None:
            found = await self._call(self._redis().xrevrange(key, count=MAX_READ))
            found.reverse()
        else:
            # An entry that begins before it may end behind it.
            found = await self._call(self._redis().xrange(key, min=f"{max(0, after - MAX_READ)}-0"))
        entries = [Entry(int(name.split(b"-")[0]), fields[b"b"]) for name, fields in found]
        first = await self._call(self._redis().xrange(key, count=1))
        added, length = await self._count(key)
        begins = int(first[0][0].split(b"-")[0]) if first else 0
        floor = 0 if added == length else begins - 1
        if after is None and len(entries) == MAX_READ:
            floor = max(floor, entries[0].offset - 1)
        return floor, entries

    async def _count(self, key: str) -> tuple[int, int]:
        """Return how many entries a stream has had and has; before Redis 7 it does not know the first."""
        if not await self._call(self._redis().exists(key)):
            return 0, 0
        info = await self._call(self._redis().xinfo_stream(key))
        return info.get("entries-added", -1), info["length"]

    def _redis(self) -> redis.asyncio.Redis:
        if self._client is None:
            raise LogError("Redis: not connected")
        return self._client

    async def _call(self, work: Awaitable[Any]) -> Any:
        """Await what Redis does; its errors become the log's."""
        try:
            return await work
        except (RedisError, OSError, TimeoutError) as error:
            raise LogError(f"Redis: {type(error).__name__}: {error}") from error

    async def _subscribe(self, command: bytes, channels: Collection[bytes]) -> None:
        """Send a (UN)SUBSCRIBE, and wait until Redis has done it for each channel."""
        if not channels:
            return
        if self._connection is None:
            raise LogError("Redis: not connected")
        loop = asyncio.get_running_loop()
        waiting = [self._changing.setdefault((command.lower(), one), loop.create_future()) for one in channels]
        await self._call(self._connection.send_command(command, *channels))
        try:
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*waiting)
        except (TimeoutError, asyncio.CancelledError) as error:
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise
            raise LogError("Redis: a subscription was not answered") from error

    async def _read(self, connection: AbstractConnection) -> None:
        """Hand on what comes, until the connection ends."""
        try:
            while True:
                kind, channel, content = cast("_Message", await connection.read_response(timeout=math.inf))
                if kind != b"message":
                    waiting = self._changing.pop((kind, channel), None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(None)
                elif channel == self._inbox:
                    self._receiver.told(content)
                else:
                    offset, _, data = content.partition(b" ")
                    lane = self._lanes.get(channel)
                    if lane is None:
                        self._receiver.heard(data, int(offset))
                    else:
                        self._receiver.received(lane, int(offset), data)
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            self._receiver.lost(error)
