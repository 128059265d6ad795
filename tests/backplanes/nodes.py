"""Nodes of a cluster in one process, each a server of the core with a backplane; and what stands between them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from core.harness import Message, Server, subscribe, telemetry, until
from valtronics_fast.backplanes import open_backplane
from valtronics_fast.backplanes.shared import SharedBackplane
from valtronics_fast.config import BackplaneConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from core.wire_client import Client
    from valtronics_fast._core.session import Session
    from valtronics_fast.workers.link import Link


class Node(Server):
    """A node.

    Args:
        url: where the log is.
        link: leads to a supervisor, which is where memory:// is then.
        settings: of the backplane.
    """

    backplane: SharedBackplane

    def __init__(self, url: str, *, link: Link | None = None, **settings: Any) -> None:
        super().__init__(shared=True, history=settings.pop("history", 1000))
        self._config = BackplaneConfig(url=url, **settings)
        self._link = link
        self._follows: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        backplane = open_backplane(self._config, self._link)
        assert isinstance(backplane, SharedBackplane)
        self.backplane = backplane
        self.host.follow = self._follow  # type: ignore[method-assign]
        await backplane.start(self.hub)
        return self

    async def __aexit__(self, failure: object, *more: object) -> None:
        await self.backplane.stop()
        await super().__aexit__(failure, *more)

    def _follow(self, session: Session, lanes: list[int], offset: int, /) -> None:
        async def follow() -> None:
            await self.backplane.follow(lanes, offset)
            session.followed()

        task = asyncio.ensure_future(follow())
        self._follows.add(task)
        task.add_done_callback(self._follows.discard)

    def stat(self, name: str) -> Any:
        """Return one of the backplane's counters."""
        return self.backplane.stats()[name]

    def publish(self, device: int, *numbers: int) -> None:
        """Publish telemetry of a device."""
        for number in numbers:
            self.backplane.publish(telemetry(device, n=number))

    async def subscribed(self, **options: object) -> Client:
        """Return a client that gets all telemetry."""
        client = await self.login()
        answer = await subscribe(client, "telemetry", **options)
        assert answer["success"] is True
        return client

    def log(self) -> list[tuple[int, int, object]]:
        """Return offset, channel and device of the telemetry that is kept."""
        history = self.hub.histories[0]
        return history.since(history.lost, partitions=0) or []

    async def synced(self) -> None:
        """Return when everything has come that was published anywhere and is in the log."""
        await self.backplane.settled()
        await self.backplane._sync()


@asynccontextmanager
async def cluster(url: str, count: int = 2, **settings: Any) -> AsyncIterator[list[Node]]:
    """Run some nodes that know each other."""
    nodes = [Node(url, **settings) for _ in range(count)]
    started: list[Node] = []
    failure: BaseException | None = None
    try:
        for node in nodes:
            started.append(await node.__aenter__())
        await until(lambda: all(node.stat("nodes") == count - 1 for node in nodes))
        yield nodes
    except BaseException as error:
        failure = error
        raise
    finally:
        for node in reversed(started):
            await node.__aexit__(failure)


async def hear(client: Client, count: int) -> list[Message]:
    """Return the next data messages that a client gets; what else comes is left out."""
    heard: list[Message] = []
    while len(heard) < count:
        message = await client.hear()
        if message["type"] == "telemetry_update":
            heard.append(message)
    return heard


def number(message: Message) -> int:
    """Return the value that tests number messages with."""
    found: int = message["telemetry"]["n"]["value"]
    return found


class Proxy:
    """Stands between the nodes and a log, on a port of its own.

    Attributes:
        port: where it is.
        swallow: what a client has sent, and is passed on -> whether nothing comes back any more, and then the end.
        slow: nothing of what comes back is passed on, for the time being.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.swallow: Callable[[bytes], bool] = lambda _: False
        self.swallowed = 0
        self.flowing = asyncio.Event()
        self.flowing.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """End all connections, at once and without a word."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, here = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, here}
        is_cut = asyncio.Event()
        with suppress(OSError):
            await asyncio.gather(self._up(reader, here, is_cut), self._down(there, writer, is_cut))
        for one in (writer, here):
            one.transport.abort()
            self._writers.discard(one)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_cut: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            if self.swallow(data):
                self.swallowed += 1
                is_cut.set()
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_cut: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            await self.flowing.wait()
            if is_cut.is_set():
                break
            writer.write(data)
            await writer.drain()
        writer.transport.abort()
