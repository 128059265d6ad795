"""A numbered stream through the broker: what it has acknowledged, and what became of that.

A publisher of MQTT 3.1.1 that sends the numbers 0, 1, 2, ... with QoS 1, and never twice. What the server must
deliver is what the broker acknowledged while the server had its subscriptions there: once, in order, to everybody. Two
things are not the server's loss, and are told apart by where they lie in a *life* of the broker, which passes on in
order: the first numbers of a life, which came before the server was back; and the last ones before it was killed, which
died with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from abuse.good_client import BROKER

if TYPE_CHECKING:
    from collections.abc import Sequence

TOPIC = f"valtronics/devices/{BROKER}/telemetry/n".encode()
CONNECT = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x00\x00\x06abuser"  # clean session, no keep-alive
CONNACK = b"\x20\x02\x00\x00"
PUBACK = 0x40
BATCH = 5
TICK = 0.01


@dataclass
class Life:
    """What was published between a start of the broker and its end.

    Attributes:
        first, end: numbers that were sent: first <= n < end.
        subscribed: all from this one on were sent when the server was there.
        settled: all before this one had arrived before the broker's end.
        acknowledged: those that the broker has confirmed.
    """

    first: int
    end: int
    subscribed: int = 0
    settled: int = 0
    acknowledged: set[int] = field(default_factory=set)

    def judge(self, received: Sequence[int]) -> tuple[Counter[str], list[str]]:
        """Compare with the numbers that a client got of this life, in their order: return counts, and faults."""
        counts: Counter[str] = Counter()
        faults = []
        got = set(received)
        if len(got) != len(received):
            faults.append(f"{len(received) - len(got)} numbers came twice")
        if list(received) != sorted(received):
            faults.append("numbers came out of order")
        first, last = min(received, default=self.end), max(received, default=self.first)
        for number in self.acknowledged:
            if number in got:
                counts["arrived"] += 1
            elif number > last and number >= self.settled:
                counts["died with the broker"] += 1
            elif number < first and number < self.subscribed:
                counts["sent before the server was back"] += 1
            else:
                counts["lost"] += 1
        counts["not acknowledged"] = self.end - self.first - len(self.acknowledged)
        if counts["lost"]:
            faults.append(f"{counts['lost']} acknowledged numbers were lost")
        return counts, faults


class MqttStream:
    """Publishes without a pause over one connection, from `open` until it is lost or `close`.

    Attributes:
        life: what is sent over this connection.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: int) -> None:
        self.life = Life(first, first)
        self._reader = reader
        self._writer = writer
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._listen())]

    @classmethod
    async def open(cls, port: int, first: int) -> Self:
        """Connect to the broker, and send from this number on."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CONNECT)
        if await reader.readexactly(4) != CONNACK:
            raise ConnectionError("the broker does not want us")
        return cls(reader, writer, first)

    async def _send(self) -> None:
        while True:
            for _ in range(BATCH):
                body = struct.pack("!H", len(TOPIC)) + TOPIC + struct.pack("!H", self.life.end % 0xFFFF + 1)
                body += str(self.life.end).encode()
                self._writer.write(bytes((0x32, len(body))) + body)
                self.life.end += 1
            await self._writer.drain()
            await asyncio.sleep(TICK)

    async def _listen(self) -> None:
        base = self.life.first
        while True:
            kind, _, identifier = struct.unpack("!BBH", await self._reader.readexactly(4))
            if kind == PUBACK:
                number = base + (identifier - 1 - base) % 0xFFFF
                self.life.acknowledged.add(number)

    async def pause(self) -> None:
        """Send no more, and wait until all is acknowledged."""
        self._tasks[0].cancel()
        while len(self.life.acknowledged) < self.life.end - self.life.first:
            await asyncio.sleep(TICK)

    async def close(self) -> Life:
        """End; return what was sent."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
                await task
        self._writer.transport.abort()
        return self.life
