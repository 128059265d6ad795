"""Several nodes as processes, a broker before them and a log between them, for the tests of MQTT in a cluster."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import jwt
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from process import SECRET, TIMEOUT, Running, running
from redis_server import Redis
from services import Mosquitto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

DEVICES = 10
TOKEN = jwt.encode({"sub": "watcher", "exp": 4_000_000_000, "monitor": True}, SECRET, algorithm="HS256")
BEARER = {"Authorization": f"Bearer {TOKEN}"}
# What is published while nobody is connected must not be dropped: a leader is missed after five seconds.
BROKER = ("max_queued_messages 0", "max_inflight_messages 100")


class Publisher:
    """Publishes numbers at a steady rate with QoS 1 (MQTT 3.1.1), of each device in turn; each device's begin with 0.

    Attributes:
        count: how many were published.
    """

    def __init__(self, broker: Mosquitto, rate: int) -> None:
        self.count = 0
        self._acknowledged = 0
        self._port = broker.port
        self._rate = rate
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(packet(0x10, text("MQTT") + b"\x04\x02\0\0" + text("publisher")))
        assert await reader.readexactly(4) == b"\x20\x02\0\0"
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._receive(reader))]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def stop(self) -> None:
        """Publish no more; what was published is at the broker then."""
        self._tasks[0].cancel()
        await until(lambda: self._acknowledged == self.count)

    async def _publish(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            while self.count < (loop.time() - began) * self._rate:
                number, device = divmod(self.count, DEVICES)
                identifier = (self.count % 65535 + 1).to_bytes(2, "big")
                topic = text(f"valtronics/devices/{device}/telemetry/n")
                self._writer.write(packet(0x32, topic + identifier + str(number).encode()))
                self.count += 1
            await asyncio.sleep(0.005)

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        while (await reader.readexactly(4))[0] == 0x40:
            self._acknowledged += 1

    async def published(self, more: int) -> None:
        """Wait until so many more have been published."""
        wanted = self.count + more
        await until(lambda: self.count >= wanted, TIMEOUT + more / self._rate)


def packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((kind, len(body))) + body


def text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


class Watcher:
    """A client that is subscribed to everything and counts.

    Attributes:
        numbers: device -> its numbers, in the order in which each of them came first.
        repeats: how many came that had come before.
        statuses: old and new, of all devices.
        other: what else came, by type.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.numbers: dict[int, list[int]] = {device: [] for device in range(DEVICES)}
        self.repeats = 0
        self.statuses: list[tuple[str, str]] = []
        self.other: Counter[str] = Counter()
        self._known: dict[int, set[int]] = {device: set() for device in range(DEVICES)}
        self._socket = socket
        self._task = asyncio.create_task(self._receive())

    async def _receive(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self._socket:
                message = json.loads(text)
                if message["type"] == "device_status_update":
                    self.statuses.append((message["old_status"], message["new_status"]))
                    continue
                if message["type"] != "telemetry_update":
                    self.other[message["type"]] += 1
                    continue
                device, number = message["device_id"], message["telemetry"]["n"]["value"]
                if number in self._known[device]:
                    self.repeats += 1
                else:
                    self._known[device].add(number)
                    self.numbers[device].append(number)

    @property
    def count(self) -> int:
        """How many numbers have come, each of them counted once."""
        return sum(map(len, self.numbers.values()))

    async def end(self) -> None:
        await self._socket.close()
        await self._task


class Site:
    """Nodes 0, 1, ...

    Attributes:
        nodes: the processes; one that was killed stays in its place.
    """

    def __init__(self, broker: Mosquitto, redis: Redis, nodes: list[Running], stack: AsyncExitStack) -> None:
        self.broker = broker
        self.redis = redis
        self.nodes = nodes
        self._stack = stack

    async def ask(self, node: int, path: str) -> Any:
        """Return what a node answers; {}: it does not."""
        timeout = aiohttp.ClientTimeout(total=5)
        with suppress(OSError, aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=BEARER) as session,
                session.get(self.nodes[node].http + path) as answer,
            ):
                return await answer.json()
        return {}

    async def mqtt(self, node: int) -> dict[str, Any]:
        """Return a node's figures of MQTT."""
        stats = await self.ask(node, "/api/v1/stats")
        found: dict[str, Any] = stats["producers"]["mqtt"] if stats else {}
        return found

    async def leader(self, *, but: int | None = None) -> int:
        """Wait until one node is connected to the broker, and return which one."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                for node in range(len(self.nodes)):
                    if node != but and self.nodes[node].process.returncode is None:
                        figures = await self.mqtt(node)
                        if figures.get("leads") and figures["connected"]:
                            return node
                await asyncio.sleep(0.1)

    async def watch(self, node: int, *channels: str) -> Watcher:
        """Subscribe to channels at a node; to telemetry when there are none."""
        url = self.nodes[node].url
        socket = await self._stack.enter_async_context(connect(url, additional_headers=BEARER, max_queue=None))
        watcher = Watcher(socket)
        self._stack.push_async_callback(watcher.end)
        wanted = channels or ("telemetry",)
        for channel in wanted:
            await socket.send(json.dumps({"type": "subscribe", "id": channel, "channel": channel}))
        await until(lambda: watcher.other["subscribe_response"] == len(wanted))
        return watcher


@asynccontextmanager
async def cluster(
    directory: Path, count: int, *, broker: Sequence[str] = (), **variables: str
) -> AsyncIterator[Site]:
    """Run a broker, a Redis and so many nodes.

    Args:
        directory: an empty one.
        count: of the nodes.
        broker: further settings of the broker.
        variables: of the nodes' environment.
    """
    for name in ("redis", "broker"):
        (directory / name).mkdir()
    async with AsyncExitStack() as stack:
        mosquitto = stack.enter_context(Mosquitto(directory / "broker", settings=[*BROKER, *broker]))
        redis = stack.enter_context(Redis(directory / "redis"))
        common = {
            "VFAST_AUTH__SECRET": SECRET,
            "VFAST_BACKPLANE__URL": redis.url,
            "VFAST_MQTT__URL": mosquitto.url,
            "VFAST_SYSTEM__INTERVAL": "0",
            **variables,
        }
        nodes = [await stack.enter_async_context(running(**common)) for _ in range(count)]
        yield Site(mosquitto, redis, nodes, stack)


async def until(condition: Callable[[], object], seconds: float = TIMEOUT) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def came_whole(watcher: Watcher, publisher: Publisher) -> None:
    """Wait until every number has come, and check that none came before a lower one of its device."""
    with suppress(TimeoutError):
        await until(lambda: watcher.count >= publisher.count)
    for device, numbers in watcher.numbers.items():
        wanted = range((publisher.count - device + DEVICES - 1) // DEVICES)
        missing = sorted(set(wanted) - set(numbers))
        assert not missing, f"device {device}: {len(missing)} of {len(wanted)} are missing: {missing[:10]} ..."
        wrong = [(at, pair) for at, pair in enumerate(pairwise(numbers)) if pair[1] != pair[0] + 1]
        assert numbers == list(wanted), f"device {device}: not in order, or not once, of {len(numbers)} at {wrong[:10]}"
