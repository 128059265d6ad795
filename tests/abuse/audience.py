"""The good clients and their publisher: a numbered stream that has to reach everybody, in time and in order.

The publisher sends RATE messages a second over one HTTP request; every tenth is an alert, the others are telemetry.
Each of the two kinds is numbered 0, 1, 2, ... and each client has to get every number once and in order. Most clients
send a JSON ping a second as well. Beside those that stay, others come for a moment and go: they have to be let in.
Everything is on one event loop, whose clock takes all times.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Self

import orjson

from abuse.good_client import DEVICES, KINDS, GoodClient
from abuse.target import API_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from abuse.target import Target

CLIENTS = 50
QUIET = 5  # of them: they never ping, and answer the server's pings
RATE = 100  # messages a second
ALERT_EVERY = 10
TICK = 0.01
PING_INTERVAL = 1.0
PASSING_INTERVAL = 0.3  # seconds between one that has come and gone, and the next
ATTEMPTS = 3  # until one is not let in: it may itself be too slow for the handshake, on a busy machine
TIMEOUT = 60.0
HISTORY = 10_000  # `history.messages`
FILLERS = 2000  # devices that nobody wants to hear of, so that there is more to look through than is sent
HISTORY_SIZE = 16 << 20  # `history.size`
BULK = 16 << 10  # bytes of a large alert
CONNECTIONS_AN_ADDRESS = 10  # `limits.connection_rate`


class Latencies:
    """Seconds that something took, since the last `take`."""

    def __init__(self) -> None:
        self._found: list[float] = []

    def add(self, seconds: float) -> None:
        self._found.append(seconds)

    def take(self) -> tuple[float, float]:
        """Return the median and the 99th percentile in milliseconds, and begin anew."""
        found, self._found = sorted(self._found), []
        return (found[len(found) // 2] * 1000, found[len(found) * 99 // 100] * 1000) if found else (0.0, 0.0)


class Audience:
    """The good clients and their publisher, started and ended by an `async with` block.

    Attributes:
        clients: they.
        published: when each message was, by type and number.
        deliveries: from publishing to a client.
        round_trips: of pings.
        let_in: how many have come for a moment, and were served.
        faults: what went wrong with them.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.clients: list[GoodClient] = []
        self.published: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self.deliveries = Latencies()
        self.round_trips = Latencies()
        self.let_in = 0
        self.faults: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._passing = count()
        self._options: dict[str, Any] = {}
        if target.profile.tls:
            context = ssl.create_default_context()
            target.authority.configure_trust(context)
            self._options = {"ssl": context, "server_hostname": "127.0.0.1"}

    async def __aenter__(self) -> Self:
        for number in range(CLIENTS):
            address = f"127.0.1.{number // CONNECTIONS_AN_ADDRESS + 1}"
            self.clients.append(await self._connect(address, f"good-{number}", quiet=number < QUIET))
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

    async def _connect(self, address: str, user: str, **options: bool) -> GoodClient:
        """Let a client come from an address."""
        proxied = self._target.profile.proxied
        client = GoodClient(self, user, address=address if proxied else "", **options)
        where = {} if proxied else {"local_addr": (address, 0)}
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: client, "127.0.0.1", self._target.port, **where, **self._options)
        return client

    @asynccontextmanager
    async def others_passing(self) -> AsyncIterator[None]:
        """Let more good clients come and go, one after the other, beside the block."""
        ended = asyncio.Event()
        task = asyncio.create_task(self._pass(ended))
        try:
            yield
        finally:
            ended.set()
            await task

    async def _pass(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            number = next(self._passing)
            address = f"127.0.{2 + number // 2000}.{1 + number // CONNECTIONS_AN_ADDRESS % 200}"
            for attempt in range(ATTEMPTS):
                try:
                    async with asyncio.timeout(TIMEOUT):
                        client = await self._connect(address, f"passing-{number % 7}", passing=True)
                        await client.ready
                        client.say_goodbye()
                        await client.gone
                except (OSError, TimeoutError) as error:
                    if attempt == ATTEMPTS - 1:
                        self.faults.append(f"a good client was not let in: {error!r}")
                else:
                    self.let_in += 1
                    self.faults += client.faults
                    break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), PASSING_INTERVAL)

    async def certificate(self) -> bytes:
        """Return the certificate that the server shows to who connects now."""
        _, writer = await asyncio.open_connection(
            "127.0.0.1", self._target.port, local_addr=("127.0.0.8", 0), **self._options
        )
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return shown

    async def fill_history(self) -> None:
        """Publish as much as the server remembers: from then on, what it keeps takes no more memory."""
        stream = await Stream.open(self._target)
        names = [f"filler-{number}" for number in range(FILLERS)]
        values = [{"type": "telemetry_update", "device_id": name, "telemetry": {"n": 1}} for name in names]
        alert = {"type": "alert", "device_id": "filler", "severity": "info", "title": "filler", "message": "x" * BULK}
        for _ in range(HISTORY // FILLERS):
            stream.send(values)
            await stream.drain()
        for _ in range(HISTORY_SIZE // BULK):
            stream.send([alert])
            await stream.drain()
        await stream.close()

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
