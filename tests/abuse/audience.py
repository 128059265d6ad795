"""The good clients: they receive a numbered stream in time, and note what is lost, comes twice or out of order.

The publisher sends RATE messages a second over one HTTP request; every tenth is an alert, the others are telemetry.
Each of the two kinds is numbered 0, 1, 2, ... and each client has to get every number once and in order. Most clients
send a JSON ping a second as well. Everything is on one event loop, whose clock takes all times.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

import orjson

from abuse.target import API_KEY, token
from core.wire_client import CLOSE, HANDSHAKE, PING, PONG, TEXT, frame, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from abuse.target import Target

CLIENTS = 50
QUIET = 5  # of them: they never ping, and answer the server's pings
RATE = 100  # messages a second
ALERT_EVERY = 10
DEVICES = 5
TICK = 0.01
PING_INTERVAL = 1.0
TIMEOUT = 60.0
CONNECTIONS_AN_ADDRESS = 10  # `limits.connection_rate`
KINDS = ("telemetry_update", "alert")


class Sequence:
    """What one client has got of the messages 0, 1, 2, ...

    Attributes:
        end: the number behind the highest one that has come.
        missing: lower numbers that have not.
        repeated, disordered: how many came twice; how many came behind a higher one.
    """

    def __init__(self) -> None:
        self.end = 0
        self.missing: set[int] = set()
        self.repeated = 0
        self.disordered = 0

    def take(self, number: int) -> None:
        """Note a message."""
        if number == self.end:
            self.end += 1
        elif number > self.end:
            self.missing.update(range(self.end, number))
            self.end = number + 1
        elif number in self.missing:
            self.missing.remove(number)
            self.disordered += 1
        else:
            self.repeated += 1

    def lost(self, published: int) -> int:
        """Return how many of the published messages have not come."""
        return len(self.missing) + published - self.end


class Latencies:
    """Seconds that something took, since the last `clear`."""

    def __init__(self) -> None:
        self._found: list[float] = []

    def add(self, seconds: float) -> None:
        self._found.append(seconds)

    def take(self) -> tuple[float, float]:
        """Return the median and the 99th percentile in milliseconds, and begin anew."""
        found, self._found = sorted(self._found), []
        return (found[len(found) // 2] * 1000, found[len(found) * 99 // 100] * 1000) if found else (0.0, 0.0)


class GoodClient(asyncio.Protocol):
    """One of them.

    Args:
        audience: what all share.
        user: its name.
        quiet: it never pings.

    Attributes:
        sequences: what it has got, by the type of the message.
        faults: what should not have come.
        ready: done when it is subscribed.
    """

    def __init__(self, audience: Audience, user: str, *, quiet: bool) -> None:
        self._audience = audience
        self._user = user
        self._quiet = quiet
        self._buffer = b""
        self._open = False
        self._pings: dict[int, float] = {}
        self._ping_count = 0
        self._transport: asyncio.Transport
        self.sequences = {kind: Sequence() for kind in KINDS}
        self.markers: set[str] = set()
        self.faults: list[str] = []
        self.ready = asyncio.get_running_loop().create_future()
        self.leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        devices = [*range(DEVICES), "marker"]
        self._transport.write(
            HANDSHAKE.format("/ws").encode()
            + text({"type": "auth", "token": token(self._user)})
            + text({"type": "subscribe", "channel": "telemetry", "device_id": devices})
            + text({"type": "subscribe", "channel": "alerts", "device_id": devices, "id": 1})
        )

    def connection_lost(self, error: Exception | None) -> None:
        if not self.leaving:
            self.faults.append(f"the connection ended: {error}")
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("a good client was not let in"))

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        at = 0
        if not self._open:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self._buffer = data
                return
            self._open = True
            if not data.startswith(b"HTTP/1.1 101"):
                self.faults.append(data[:80].decode(errors="replace"))
        while len(data) - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                if len(data) - at < 4:
                    break
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if len(data) < start + size:
                break
            self._take(data[at] & 15, data[start : start + size])
            at = start + size
        self._buffer = data[at:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            self.faults.append(f"close {int.from_bytes(payload[:2], 'big')}")
        elif opcode == TEXT:
            self._take_message(orjson.loads(payload))

    def _take_message(self, message: dict[str, object]) -> None:
        now = time.perf_counter()
        kind = message["type"]
        if kind == "telemetry_update" and message["device_id"] != "marker":
            self._take_number(str(kind), message["telemetry"]["n"]["value"], now)  # type: ignore[index]
        elif kind == "alert" and message["device_id"] != "marker":
            self._take_number(str(kind), message["alert_id"], now)  # type: ignore[arg-type]
        elif kind == "alert":
            self.markers.add(str(message["title"]))
        elif kind == "pong" and (sent := self._pings.pop(int(str(message["client_timestamp"])), None)):
            self._audience.round_trips.add(now - sent)
        elif kind == "subscribe_response" and not self.ready.done():
            self.ready.set_result(None)
        elif kind not in ("auth_response", "subscribe_response"):
            self.faults.append(repr(message)[:200])

    def _take_number(self, kind: str, number: int, now: float) -> None:
        published = self._audience.published[kind]
        if not 0 <= number < len(published):
            self.faults.append(f"{kind} {number} was never published")
            return
        self.sequences[kind].take(number)
        self._audience.deliveries.add(now - published[number])

    def ping(self) -> None:
        """Ask for a round trip."""
        if not self._quiet and self._open:
            self._pings[self._ping_count] = time.perf_counter()
            self._transport.write(text({"type": "ping", "timestamp": str(self._ping_count)}))
            self._ping_count += 1

    def leave(self) -> None:
        self.leaving = True
        self._transport.abort()


class Audience:
    """The good clients and their publisher, started and ended by an `async with` block.

    Attributes:
        clients: they.
        published: when each message was, by type and number.
        deliveries: from publishing to a client.
        round_trips: of pings.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.clients: list[GoodClient] = []
        self.published: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self.deliveries = Latencies()
        self.round_trips = Latencies()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in range(CLIENTS):
            address = f"127.0.1.{number // CONNECTIONS_AN_ADDRESS + 1}"
            _, client = await loop.create_connection(
                lambda number=number: GoodClient(self, f"good-{number}", quiet=number < QUIET),  # type: ignore[misc]
                "127.0.0.1",
                self._target.port,
                local_addr=(address, 0),
            )
            self.clients.append(client)
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*(client.ready for client in self.clients))
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._ping())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self.clients:
            client.leave()

    async def _publish(self) -> None:
        """Publish at RATE for ever; what a pause has held up follows at once."""
        stream = await Stream.open(self._target)
        started, count = time.monotonic(), 0
        try:
            while True:
                due = int((time.monotonic() - started) * RATE)
                stream.send(self._next(number) for number in range(count, due))
                count = due
                if stream.ended():
                    raise RuntimeError(f"the publisher's request was ended: {stream.answer()!r}")
                await asyncio.sleep(TICK)
        finally:
            stream.abort()

    def _next(self, count: int) -> dict[str, object]:
        kind = KINDS[count % ALERT_EVERY == 0]
        times = self.published[kind]
        number, device = len(times), count % DEVICES
        times.append(time.perf_counter())
        if kind == "alert":
            return {"type": kind, "device_id": device, "alert_id": number, "severity": "info", "title": "numbered"}
        return {"type": kind, "device_id": device, "telemetry": {"n": number}}

    async def _ping(self) -> None:
        """Let each client ping, one after the other."""
        while True:
            for client in self.clients:
                client.ping()
                await asyncio.sleep(PING_INTERVAL / CLIENTS)

    def failure(self) -> str | None:
        """Return why the publisher has ended; None: it has not."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                return repr(task.exception())
        return None

    async def settled(self) -> None:
        """Return when every client has what is published up to now, or TIMEOUT has passed."""
        ends = {kind: len(times) for kind, times in self.published.items()}
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline and not self.failure():
            good = [one for one in self.clients if not one.faults]
            if all(one.sequences[kind].end >= end for one in good for kind, end in ends.items()):
                return
            await asyncio.sleep(0.05)

    def tally(self) -> tuple[int, int, int]:
        """Return how many messages were lost, came twice, came out of order so far; to be called when settled."""
        found = [sequence for client in self.clients for sequence in client.sequences.values()]
        lost = sum(len(sequence.missing) for sequence in found)
        for kind, times in self.published.items():
            # What was published within the last moment may be on its way.
            settled = sum(1 for at in times[-RATE * 2 :] if at > time.perf_counter() - 1)
            lost += sum(max(0, len(times) - settled - one.sequences[kind].end) for one in self.clients)
        return lost, sum(one.repeated for one in found), sum(one.disordered for one in found)


class Stream:
    """A request that publishes messages, one a line, for as long as it is open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, target: Target) -> Self:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
        writer.write(
            b"POST /api/v1/publish HTTP/1.1\r\nHost: localhost\r\nX-API-Key: " + API_KEY.encode() + b"\r\n"
            b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        return cls(reader, writer)

    def send(self, messages: Iterable[dict[str, object]]) -> None:
        """Send messages, if there are any."""
        lines = b"".join(orjson.dumps(message) + b"\n" for message in messages)
        if lines:
            self._writer.write(b"%x\r\n%b\r\n" % (len(lines), lines))

    async def drain(self) -> None:
        """Wait until the server has taken most of it."""
        await self._writer.drain()

    def ended(self) -> bool:
        """Say whether the server has answered or closed."""
        return self._reader.at_eof() or bool(self._reader._buffer) or self._writer.is_closing()

    def answer(self) -> bytes:
        """Return what there is of the server's answer."""
        return bytes(self._reader._buffer[:500])

    def abort(self) -> None:
        """Cut the connection."""
        self._writer.transport.abort()

    async def close(self) -> bytes:
        """End the request, and return the answer."""
        self._writer.write(b"0\r\n\r\n")
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        size = next(line.removeprefix(b"content-length:") for line in lines if line.startswith(b"content-length:"))
        body = await self._reader.readexactly(int(size))
        self._writer.close()
        return body
