"""Publishers: each has devices of its own, and sends their messages over HTTP, to one node as long as that answers.

What is not answered is sent again, to the next node: at least once. Receivers tell the repeat by what is in the
message, here its number.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp

from cluster.nodes import API_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.ledger import Published, Stream
    from cluster.nodes import Node

TICK = 0.1
"""Seconds between two requests."""

TIMEOUT = 5.0
"""Seconds that a node has to answer one."""

ALERT_EVERY = 10
"""Messages, of which one is an alert."""

PROBE_TICK = 0.2
MAX_PROBES = 25

Numbered = tuple[tuple[str, int], int]


def message_of(stream: Stream, number: int) -> dict[str, object]:
    """Return a message of a stream."""
    channel, device = stream
    if channel == "alerts":
        return {"type": "alert", "device_id": device, "alert_id": number, "severity": "info", "title": "numbered"}
    return {"type": "telemetry_update", "device_id": device, "telemetry": {"n": number}}


class Publisher:
    """One of them.

    Args:
        session: makes the requests.
        published: where it notes what it sends.
        nodes: the first one is where it sends to, unless that does not answer.
        devices: its own.
        rate: messages a second.

    Attributes:
        retries: requests that were not answered.
        refused: answers that were no success.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        published: Published,
        nodes: Sequence[Node],
        devices: Sequence[int],
        rate: float,
    ) -> None:
        self.retries = 0
        self.refused: list[str] = []
        self._session = session
        self._published = published
        self._nodes = nodes
        self._node = 0
        self._devices = devices
        self._rate = rate
        self._count = 0
        self._paused = asyncio.Event()
        self._idle = asyncio.Event()
        self._going = asyncio.Event()
        self._going.set()

    async def run(self) -> None:
        """Publish for ever."""
        began = time.monotonic()
        sent = 0
        while True:
            if not self._going.is_set():
                self._idle.set()
                await self._going.wait()
                began, sent = time.monotonic(), 0
            due = int((time.monotonic() - began) * self._rate)
            if due > sent:
                await self._send([self._next() for _ in range(due - sent)])
                sent = due
            await asyncio.sleep(TICK)

    async def pause(self) -> None:
        """Send nothing until `go_on`; return when everything is answered."""
        self._idle.clear()
        self._going.clear()
        await self._idle.wait()

    async def round(self) -> None:
        """While it pauses: send a message of each stream."""
        streams = [(channel, device) for device in self._devices for channel in ("telemetry", "alerts")]
        await self._send([(stream, self._published.next(stream)) for stream in streams])

    def go_on(self) -> None:
        """End the pause, and begin again with the first node."""
        self._node = 0
        self._going.set()

    def _next(self) -> Numbered:
        device = self._devices[self._count % len(self._devices)]
        # Another device's turn for an alert each time.
        turn = self._count % ALERT_EVERY == self._count // (ALERT_EVERY * len(self._devices)) % ALERT_EVERY
        stream = ("alerts" if turn else "telemetry", device)
        self._count += 1
        return stream, self._published.next(stream)

    async def _send(self, messages: list[Numbered]) -> None:
        """Send messages until a node says that it has them."""
        body = {"messages": [message_of(stream, number) for stream, number in messages]}
        while True:
            node = self._nodes[self._node % len(self._nodes)]
            try:
                answer = await post(self._session, node, body)
            except (aiohttp.ClientError, OSError, TimeoutError):
                self.retries += 1
                self._published.repeat(messages)
                self._node += 1
                await asyncio.sleep(TICK)
                continue
            if answer["accepted"] != len(messages):
                self.refused.append(repr(answer)[:300])
            return


async def post(session: aiohttp.ClientSession, node: Node, body: object) -> dict[str, object]:
    """Publish on a node, and return its answer."""
    async with session.post(
        f"http://127.0.0.1:{node.http_port}/api/v1/publish",
        json=body,
        headers={"X-API-Key": API_KEY},
        timeout=aiohttp.ClientTimeout(TIMEOUT),
    ) as response:
        response.raise_for_status()
        answer: dict[str, object] = await response.json()
        return answer


class Probes:
    """Finds out from which node to which one messages come: each node gets probes, and each has a client for them.

    Attributes:
        arrived: (from, to, when the probe was sent, when it came), by the nodes' places; the newest of each pair.
    """

    def __init__(self, session: aiohttp.ClientSession, nodes: Sequence[Node]) -> None:
        self._session = session
        self._nodes = nodes
        self._sent: list[list[float]] = [[] for _ in nodes]
        self._first: dict[tuple[int, int], tuple[float, float]] = {}
        self._since = 0.0

    async def run(self) -> None:
        """Send probes for ever."""
        async with asyncio.TaskGroup() as group:
            for place in range(len(self._nodes)):
                group.create_task(self._probe(place))

    async def _probe(self, place: int) -> None:
        """Send probes to a node, without waiting for answers."""
        waiting: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                if len(waiting) < MAX_PROBES:
                    task = group.create_task(self._send(place))
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
                await asyncio.sleep(PROBE_TICK)

    async def _send(self, place: int) -> None:
        times = self._sent[place]
        times.append(time.monotonic())
        probe = {"type": "telemetry_update", "device_id": f"probe-{place}", "telemetry": {"n": len(times) - 1}}
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            await post(self._session, self._nodes[place], probe)

    def devices(self) -> list[str]:
        """Return the devices that the probes are of."""
        return [f"probe-{place}" for place in range(len(self._nodes))]

    def arrive(self, place: int, device: str, number: int) -> None:
        """Note that a probe has come at a node's client."""
        origin = int(device.removeprefix("probe-"))
        sent = self._sent[origin][number]
        if sent >= self._since:
            self._first.setdefault((origin, place), (sent, time.monotonic()))

    def begin(self) -> None:
        """Count from now on."""
        self._since = time.monotonic()
        self._first.clear()

    async def healed(self, patience: float) -> float | None:
        """Return the seconds from `begin` until each node was heard on each other one; None: it took too long."""
        deadline = time.monotonic() + patience
        pairs = {(a, b) for a in range(len(self._nodes)) for b in range(len(self._nodes)) if a != b}
        while pairs - self._first.keys():
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(0.05)
        return max(came for pair, (_, came) in self._first.items() if pair in pairs) - self._since

    def silent(self) -> str:
        """Return between which nodes nothing has come since `begin`."""
        count = range(len(self._nodes))
        pairs = [(a, b) for a in count for b in count if a != b and (a, b) not in self._first]
        return ", ".join(f"{a} to {b}" for a, b in pairs)
