"""A machine with several workers in one process: the supervisor's bus, and real streams between it and real servers."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from harness import Site, configuration, until
from valtronics_fast import Server
from valtronics_fast.backplanes.bus_log import BusLog
from valtronics_fast.workers import frames
from valtronics_fast.workers.bus import Bus
from valtronics_fast.workers.context import Worker
from valtronics_fast.workers.link import Link
from valtronics_fast.workers.port import WorkerPort
from valtronics_fast.workers.questions import Questions
from valtronics_fast.workers.segment import Layout, Segment
from valtronics_fast.workers.shared_bans import SharedBans
from valtronics_fast.workers.shared_room import SharedRoom

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from valtronics_fast.backplanes.log import Receiver


class Machine:
    """The supervisor's side, for as many workers as are connected.

    Attributes:
        bus: the log between them.
        questions: what they ask each other.
        ports: by worker, in the order in which they were connected.
        segment: what they share.
        drains: how often an operator has ordered all of them to drain.
    """

    def __init__(self, *, entries: int = 1000, size: int = 0, queue: int = 1 << 24, workers: int = 4) -> None:
        self.bus = Bus(entries, size)
        self.questions = Questions(lambda: {"starts": {}})
        self.ports: list[WorkerPort] = []
        self.segment = Segment.create(Layout.of(workers, 1000, 1000, 1000))
        self.drains = 0
        self._queue = queue
        self._links: list[Link] = []

    async def connect(self) -> Link:
        """Return the end of a new worker's stream."""
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, port = await loop.create_unix_connection(
            lambda: WorkerPort(self._queue, on_frame=self._take, on_lost=self.bus.drop, on_end=self._take_end),
            sock=ours,
        )
        self.ports.append(port)
        _, link = await loop.create_unix_connection(Link, sock=theirs)
        self._links.append(link)
        return link

    async def log(self, node: int, receiver: Receiver) -> BusLog:
        """Return a log that is open for a new worker."""
        log = BusLog(await self.connect())
        await log.open(f"{node:016x}", receiver, "", 0)
        return log

    async def start(self, **sections: Mapping[str, object]) -> Server:
        """Return a server that is one more worker, and runs."""
        index = len(self.ports)
        link = await self.connect()
        worker = Worker(
            index=index,
            start=index,
            machine=77,
            link=link,
            room=SharedRoom(self.segment, index),
            bans=SharedBans(self.segment),
            sockets={},  # each server here listens on ports of its own: a test knows which one it speaks to
        )
        server = Server(configuration(**sections), worker=worker)
        await server.start()
        return server

    def _take(self, port: WorkerPort, kind: int, body: bytes) -> None:
        if kind == frames.ASK:
            others = {index: each for index, each in enumerate(self.ports) if each is not port}
            self.questions.ask(port, body, {**others})
        elif kind == frames.TELL:
            self.questions.told(port, body)
        elif kind == frames.WIND_DOWN:
            self.drains += 1
        else:
            self.bus.take(port, kind, body)

    def _take_end(self, port: WorkerPort) -> None:
        self.bus.end(port)
        self.questions.leave(port)

    async def close(self) -> None:
        """End all streams."""
        for end in (*self.ports, *self._links):
            end.transport.abort()
        await asyncio.sleep(0)
        self.segment.close()


@asynccontextmanager
async def machine(**settings: int) -> AsyncIterator[Machine]:
    """Run the supervisor's side."""
    one = Machine(**settings)
    try:
        yield one
    finally:
        await one.close()


@asynccontextmanager
async def sites(count: int = 2, **sections: Mapping[str, object]) -> AsyncIterator[tuple[Machine, list[Site]]]:
    """Run servers that are the workers of one machine, and know each other."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(machine())
        servers = []
        for _ in range(count):
            servers.append(await one.start(**sections))
            stack.push_async_callback(servers[-1].stop)
        await until(lambda: all(each._backplane.stats()["nodes"] == count - 1 for each in servers))
        yield one, [Site(each) for each in servers]


class Listener:
    """Notes what comes from a log."""

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
