"""A reader that stops for a while beside one that reads on (protocol.md, section 6), through real sockets.

The publisher keeps a rate, but never gets ahead of the reader that reads on by more than it may have queued: so that
nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed

from harness import TIMEOUT, Client, Message, Site, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DEVICES = 1000
RATE = 5000  # messages a second
ALERT_EVERY = 100  # messages
TICK = 0.01  # seconds
AHEAD = 250  # messages that the publisher may be ahead of the reader that reads on: less than `queue_mark`
ROUNDS = (("temperature", "humidity"), ("temperature",), ("humidity",))  # what a device sends, in turn
CHUNK = 128 << 10  # bytes that catching up may put into a queue at a time, and a little more
MESSAGE = 8 << 10  # bytes that one has at most
NOISE = 12 << 20  # bytes by which the memory of a process may grow by itself
RECEIVE_BUFFER = 16 << 10  # bytes: little fits into the kernel, so that a reader that stops soon shows
SMALL = {"queue_mark": 256 << 10, "queue_size": 1 << 20, "queue_limit": 2 << 20}


def memory() -> int:
    """Return the resident bytes of this process; with AddressSanitizer, which frees nothing soon, those allocated."""
    library = ctypes.CDLL(None)
    if hasattr(library, "__sanitizer_get_current_allocated_bytes"):
        library.__sanitizer_get_current_allocated_bytes.restype = ctypes.c_size_t
        return int(library.__sanitizer_get_current_allocated_bytes())
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Published:
    """What has been published: by number, 0, 1, ...; every hundredth is an alert.

    Attributes:
        telemetry: how many messages were telemetry.
        newest: (device, metric) -> number of the message with its newest value.
        alerts: the alerts' numbers.
        alert_bytes: what they are as JSON, about.
    """

    def __init__(self, site: Site, padding: int, alert_padding: int) -> None:
        self.telemetry = 0
        self.newest: dict[tuple[int, str], int] = {}
        self.alerts: list[int] = []
        self.alert_bytes = 0
        self._publish = site.server.publish
        self._padding = "x" * padding
        self._alert_padding = "x" * alert_padding
        self._numbers = count()

    def publish(self) -> None:
        number = next(self._numbers)
        if number % ALERT_EVERY == 0:
            message: Message = {"type": "alert", "alert_id": number, "device_id": number % DEVICES, "severity": "info"}
            message |= {"title": "Hot", "message": self._alert_padding}
            self.alerts.append(number)
            self.alert_bytes += 300 + len(self._alert_padding)
        else:
            device, names = number % DEVICES, ROUNDS[number // DEVICES % len(ROUNDS)]
            metric = {"value": number, "note": self._padding}
            message = {"type": "telemetry_update", "device_id": device, "telemetry": dict.fromkeys(names, metric)}
            self.newest.update(((device, name), number) for name in names)
            self.telemetry += 1
        self._publish(message)


class Reader:
    """Makes sure that nothing comes twice or late, and keeps what came last.

    Attributes:
        client: the connection.
        telemetry: how many messages of telemetry have come.
        newest: (device, metric) -> the value that came last.
        alerts: the alerts that have come, in order.
        conflated: what notices have told of.
        pongs: answers to pings.
        close_code: of the connection's end; None: there was none.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.telemetry = 0
        self.newest: dict[tuple[int, str], int] = {}
        self.alerts: list[int] = []
        self.conflated = 0
        self.pongs = 0
        self.close_code: int | None = None

    async def read(self) -> None:
        """Take what comes up to the end of the connection."""
        receive = self.client.connection.recv
        try:
            while True:
                self._take(orjson.loads(await receive(decode=False)))
        except ConnectionClosed as error:
            self.close_code = error.rcvd.code if error.rcvd is not None else 1006

    def _take(self, message: Message) -> None:
        kind = message["type"]
        if kind == "telemetry_update":
            self.telemetry += 1
            for name, metric in message["telemetry"].items():
                key = (message["device_id"], name)
                assert metric["value"] > self.newest.get(key, -1), message
                self.newest[key] = metric["value"]
        elif kind == "alert":
            self.alerts.append(message["alert_id"])
        elif kind == "pong":
            self.pongs += 1
        else:
            assert (kind, message["code"]) == ("notice", "conflated"), message
            assert message["count"] > 0
            self.conflated += message["count"]

    def is_up_to_date(self, published: Published) -> bool:
        """Say whether all that was published has come, or been told of."""
        return self.telemetry + self.conflated >= published.telemetry and len(self.alerts) == len(published.alerts)

    def stop(self) -> None:
        self.client.connection.transport.pause_reading()

    def go_on(self) -> None:
        self.client.connection.transport.resume_reading()


@asynccontextmanager
async def reader(site: Site) -> AsyncIterator[Reader]:
    """Connect a reader of all telemetry and alerts; an error in what it gets ends the test."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", site.server.port))
    async with site.connect(sock=sock) as client:
        await client.authenticate(site.token(), notices=True)
        await client.subscribe("telemetry")
        await client.subscribe("alerts")
        found = Reader(client)
        reading = asyncio.create_task(found.read())
        try:
            yield found
        finally:
            found.go_on()
            await client.connection.close()
            await reading


class Observed:
    """A site with its publisher, and what was seen of its memory meanwhile.

    Attributes:
        config: the site's settings.
        queued: the most bytes that were queued for a connection.
        memory: the most memory.
    """

    def __init__(self, site: Site, published: Published, steady: Reader) -> None:
        self.queued = 0
        self.memory = 0
        self._site = site
        self._published = published
        self._steady = steady
        self.config = site.server.config

    async def run(self, seconds: float) -> None:
        """Publish at the rate; the steady reader is always given the time to keep up."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        each = int(RATE * TICK)
        for tick in range(int(seconds / TICK)):
            for _ in range(each):
                self._published.publish()
            self._look(tick)
            due = max(due + TICK, loop.time())
            await asyncio.sleep(due - loop.time())
            async with asyncio.timeout(TIMEOUT):
                while self._published.telemetry - self._steady.telemetry > AHEAD:
                    await asyncio.sleep(TICK)

    def kept(self) -> int:
        """Return the bytes that the hub counts for newest values and history; both are bounded."""
        hub: Any = self._site.server._hub
        return sum(one.nbytes for one in [*hub.histories, *hub.latest] if one is not None)

    def closing(self) -> bool:
        """Say whether the server has closed a connection."""
        return any(session.close_code for session in self._site.server._clients.sessions())

    def _look(self, tick: int) -> None:
        """Note how much there is, which must be within the settings."""
        hub: Any = self._site.server._hub
        limits, history = self.config.limits, self.config.history
        queued = [session.queued_bytes for session in self._site.server._clients.sessions()]
        self.queued = max(self.queued, *queued)
        assert max(queued) <= limits.queue_limit + MESSAGE  # it is let go of at the end of the turn
        assert hub.turn.backlog <= limits.all_queues
        assert all(table.nbytes <= history.latest_size for table in hub.latest if table is not None)
        assert all(one.nbytes <= history.size and len(one) <= history.messages for one in hub.histories)
        if tick % 50 == 0:
            self.memory = max(self.memory, memory())


@asynccontextmanager
async def observed(
    limits: Message, *padding: int, **server: object
) -> AsyncIterator[tuple[Observed, Published, Reader, Reader]]:
    """Serve, with a reader that will stop and one that will not, after enough messages to fill tables and history."""
    async with running(limits=limits, server=server) as site, reader(site) as slow, reader(site) as steady:
        published = Published(site, *padding)
        found = Observed(site, published, steady)
        await found.run(11_000 / RATE)
        await until(lambda: slow.is_up_to_date(published) and steady.is_up_to_date(published))
        assert slow.conflated == steady.conflated == 0
        found.queued = 0
        yield found, published, slow, steady


def check(one: Reader, published: Published) -> None:
    """A reader that is at the end has the newest of everything, every alert, and knows how much it has not got."""
    assert one.telemetry + one.conflated == published.telemetry
    assert one.newest == published.newest
    assert one.alerts == published.alerts
    assert one.close_code is None


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("seconds", "padding", "limits"), [(3, 300, SMALL), (60, 0, {})], ids=["3s", "60s"])
async def test_a_reader_that_stops_has_the_newest_when_it_reads_on(
    seconds: float, padding: int, limits: Message
) -> None:
    async with observed(limits, padding, 0) as (found, published, slow, steady):
        before, kept, alert_bytes = memory(), found.kept(), published.alert_bytes
        slow.stop()
        pings = 0
        for _ in range(0, int(seconds), 3):  # in a client that is merely slow something writes on: no ping_timeout
            await slow.client.send(type="ping")
            pings += 1
            await found.run(3)
        bounds = found.config.limits
        assert found.queued > bounds.queue_mark  # it has got behind
        assert found.queued <= bounds.queue_mark + (published.alert_bytes - alert_bytes) + CHUNK
        assert found.memory <= before + bounds.queue_limit + 1.5 * (found.kept() - kept) + NOISE
        slow.go_on()
        await found.run(1)
        await until(lambda: slow.is_up_to_date(published) and steady.is_up_to_date(published))
        check(slow, published)
        check(steady, published)
        assert steady.conflated == 0
        assert slow.conflated > published.telemetry * 0.2
        assert slow.pongs == pings
        # Live again: nothing is kept back any more.
        told = slow.conflated
        await found.run(0.1)
        await until(lambda: slow.is_up_to_date(published) and steady.is_up_to_date(published))
        check(slow, published)
        assert slow.conflated == told


async def test_more_alerts_than_may_wait_close_the_reader_that_stopped() -> None:
    patient = {"close_timeout": 60}  # a reader that stopped does not answer the CLOSE
    async with observed(SMALL, 300, 10_000, **patient) as (found, published, slow, steady):
        before, kept, bounds = memory(), found.kept(), found.config.limits
        slow.stop()
        while not found.closing():
            await found.run(0.1)
        assert bounds.queue_mark < found.queued
        assert found.memory <= before + bounds.queue_limit + 1.5 * (found.kept() - kept) + NOISE
        await found.run(0.5)
        slow.go_on()
        await until(lambda: slow.close_code is not None)
        assert slow.close_code == 4102
        assert slow.alerts == published.alerts[: len(slow.alerts)]  # up to where it ended
        assert len(slow.alerts) < len(published.alerts)
        await until(lambda: steady.is_up_to_date(published))
        check(steady, published)
        assert steady.conflated == 0
