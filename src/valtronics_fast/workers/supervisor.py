"""The process that starts the workers, keeps them running, and keeps the log between them.

It serves nobody by itself. It holds the ports, so that they stay the same and nobody else gets them; each worker
listens on them with SO_REUSEPORT, and the kernel spreads the connections. A worker that ends is started again alone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Self

import msgspec

from valtronics_fast.auth import Authenticator
from valtronics_fast.errors import ConfigError, StartError
from valtronics_fast.inherited import HTTP, WEBSOCKET, public_host
from valtronics_fast.listening import bind
from valtronics_fast.logging import fields
from valtronics_fast.reloading import prepare_reload
from valtronics_fast.tokens import with_secret
from valtronics_fast.workers import frames
from valtronics_fast.workers.bus import Bus
from valtronics_fast.workers.child import Child
from valtronics_fast.workers.port import WorkerPort
from valtronics_fast.workers.questions import Questions
from valtronics_fast.workers.segment import Layout, Segment
from valtronics_fast.workers.settings import Failed, Reloaded, WorkerSettings, decode, encode
from valtronics_fast.workers.watchdog import interval

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from valtronics_fast.config import Config

__all__ = ["Supervisor"]

STABLE = 10.0
"""Seconds that a worker must have lived to be started again at once."""

BACKOFF = (0.5, 30.0)
"""Seconds until a worker is started again that ended sooner: first, and at most."""

GRACE = 12.0
"""Seconds that a worker has to end, beyond those that its connections get: it ends running HTTP requests, too."""

_log = logging.getLogger(__name__)


class Supervisor:
    """Workers that serve as one.

    Args:
        config: the settings; a secret that has to be made up (see `Server`) is the same for all.
        workers: how many, more than one.
        sockets: listening sockets that were opened elsewhere, by WEBSOCKET and HTTP: all workers accept from them.

    Attributes:
        config: the settings in force.
        host, port: of the WebSocket port.
        http_host, http_port: of the HTTP port.
        stopping: whether the workers are to stop.
        children: the workers.
        bus: the log between them.
        on_drain: called when an operator has ordered a worker to drain, all of them that is; it begins `drain`.

    Raises:
        ConfigError: the keys for tokens can't be used.
    """

    def __init__(
        self, config: Config, workers: int, sockets: Mapping[str, Sequence[socket.socket]] | None = None
    ) -> None:
        self.config = with_secret(config)
        self._secret_made_up = self.config is not config
        self.host, self.port = config.server.host, config.server.port
        self.http_host, self.http_port = config.http.host, config.http.port
        self.stopping = asyncio.Event()
        self.children = [Child(index) for index in range(workers)]
        self.bus = Bus(config.backplane.entries, config.backplane.size)
        self.on_drain: Callable[[], object] = self._drain_soon
        self._draining: asyncio.Task[None] | None = None
        self._authenticator = Authenticator(self.config.auth)
        self._passed = dict(sockets or {})
        self._held: list[socket.socket] = []
        self._machine = secrets.randbits(63) | 1
        self._questions = Questions(self._figures)
        self._by_port: dict[WorkerPort, Child] = {}
        self._starts = 0
        self._segment: Segment
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()
        self._reloaded: dict[WorkerPort, asyncio.Future[list[str]]] = {}
        self._ending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the workers; return when all of them serve.

        Raises:
            ConfigError: a worker has found a fault in it.
            OSError: a port can't be bound to.
            StartError: a worker could not start.
        """
        config = self.config
        self._segment = Segment.create(self._layout(config))
        try:
            self.host, self.port = await self._find(WEBSOCKET, self.host, self.port)
            self.http_host, self.http_port = await self._find(HTTP, self.http_host, self.http_port)
            self._tasks = [asyncio.create_task(self._keep(child)) for child in self.children]
            self._watching = asyncio.create_task(self._watch(config.server.worker_timeout), name="watchdog")
            await self._all_ready()
        except BaseException:
            await self._end()
            raise
        _log.info("all workers serve", extra=fields(workers=len(self.children), port=self.port))

    async def _find(self, name: str, host: str, port: int) -> tuple[str, int]:
        """Return the address of a port: of the sockets that were passed on, or of ones that are held from now on."""
        if passed := self._passed.get(name):
            return public_host(passed), int(passed[0].getsockname()[1])
        for sock in await bind(host, port):  # nobody else is to have it, who would share it as our workers do
            sock.close()
        # Bound without listening, it stays ours whatever becomes of the workers.
        held = await bind(host, port, reuse_port=True)
        self._held += held
        return host, int(held[0].getsockname()[1])

    async def _all_ready(self) -> None:
        """Wait until all workers serve; raise what the first one has that can't."""
        ready = [asyncio.ensure_future(child.ready.wait()) for child in self.children]
        try:
            for one in ready:
                await asyncio.wait([one, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
                for task in self._tasks:
                    if task.done():
                        task.result()
        finally:
            for one in ready:
                one.cancel()

    # --- orders

    async def stop(self) -> None:
        """Have the workers stop (Server.stop), and wait for it; those that do not in time are killed. Idempotent."""
        await self._finish(frames.STOP, 0.0)

    async def drain(self) -> None:
        """Have the workers drain (Server.drain), and wait for it; those that do not in time are killed."""
        _log.info("draining", extra=fields(workers=len(self.children)))
        await self._finish(frames.DRAIN, self.config.server.drain_window)

    def _drain_soon(self) -> None:
        self._draining = asyncio.ensure_future(self.drain())

    async def _finish(self, order: int, window: float) -> None:
        if self._tasks and self._ending is None:
            self._ending = asyncio.ensure_future(self._wind_up(order, window))
        if self._ending is not None:
            await asyncio.shield(self._ending)

    async def _wind_up(self, order: int, window: float) -> None:
        self.stopping.set()
        self._order(order)
        _, late = await asyncio.wait(self._tasks, timeout=window + 2 * self.config.server.close_timeout + GRACE)
        if late:
            _log.error("workers do not stop, and are killed", extra=fields(workers=len(late)))
        await self._end()

    async def _end(self) -> None:
        """Kill who is left, and let go of everything."""
        self.stopping.set()
        for child in self.children:
            child.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._watching is not None:
            self._watching.cancel()
        for sock in self._held:
            sock.close()
        self._segment.close()

    async def reload(self, config: Config) -> list[str]:
        """Have the workers take a new configuration (Server.reload), once it is found to be in order.

        Returns:
            the names of settings that have changed and need a restart; of those are sizes of what workers share.

        Raises:
            ConfigError: with every fault; nothing has changed.
        """
        async with self._reloading:
            reload = await prepare_reload(
                self.config, config, self._authenticator, secret_made_up=self._secret_made_up
            )
            config, sizes = self._with_sizes(reload.config)
            asked = dict(self._by_port)
            if problems := await self._prepare(config, asked):
                await reload.discard(self._authenticator)
                raise ConfigError(problems)
            if reload.authenticator is not self._authenticator:  # each worker has its own; this one only shows faults
                self._authenticator = reload.authenticator
                await reload.authenticator.stop()
            self.config = config
            for port in self._by_port:
                if port not in asked:  # it has come meanwhile, with the settings before
                    port.put(frames.frame(frames.RELOAD, encode(self._for_workers(config))))
                port.put(frames.frame(frames.AGREED, b"\1"))
            return [*reload.unchanged, *sizes]

    async def _prepare(self, config: Config, asked: Mapping[WorkerPort, Child]) -> list[str]:
        """Have workers get ready for a new configuration; return what keeps one from it, and then nothing has changed.

        One that does not answer takes it when it goes on, or is replaced by one that has it.
        """
        loop = asyncio.get_running_loop()
        self._reloaded = {port: loop.create_future() for port in asked}
        order = frames.frame(frames.RELOAD, encode(self._for_workers(config)))
        for port in asked:
            port.put(order)
        if answers := self._reloaded.values():
            await asyncio.wait(answers, timeout=self.config.auth.timeout + GRACE)
        problems = []
        for port, answer in self._reloaded.items():
            if answer.done():
                problems += [f"worker {asked[port].index}: {problem}" for problem in answer.result()]
            elif port in self._by_port:
                _log.error("a worker does not reload yet", extra=fields(worker=asked[port].index))
        if problems:
            for port in asked:
                port.put(frames.frame(frames.AGREED, b"\0"))
        return problems

    def _layout(self, config: Config) -> Layout:
        """Return the layout of the shared memory that settings need."""
        limits = config.limits
        return Layout.of(len(self.children), limits.connections, limits.addresses, config.security.suspects)

    def _with_sizes(self, config: Config) -> tuple[Config, list[str]]:
        """Return the settings with the sizes of the memory that is shared, and the names of those that differ."""
        before, after = self.config, config
        kept = {"addresses": before.limits.addresses} if after.limits.addresses != before.limits.addresses else {}
        if self._layout(config).users > self._segment.layout.users:
            kept["connections"] = before.limits.connections
        names = [f"limits.{name}" for name in kept]
        if after.security.suspects != before.security.suspects:
            names.append("security.suspects")
        security = msgspec.structs.replace(after.security, suspects=before.security.suspects)
        limits = msgspec.structs.replace(after.limits, **kept)
        return msgspec.structs.replace(config, limits=limits, security=security), names

    def _order(self, kind: int, body: bytes = b"") -> None:
        for port in self._by_port:
            port.put(frames.frame(kind, body))

    # --- the life of a worker

    async def _keep(self, child: Child) -> None:
        """Keep one worker running."""
        delay = 0.0
        while not self.stopping.is_set():
            await self._start(child)
            code = await child.ended()
            served = child.ready.is_set()
            given_back = self._segment.give_back(child.index)
            if self.stopping.is_set():
                return
            if child.starts == 1 and not served:
                raise child.fault or StartError([f"worker {child.index} could not start: {_describe(code)}"])
            delay = 0.0 if child.lived >= STABLE else min(max(2 * delay, BACKOFF[0]), BACKOFF[1])
            _log.error(
                "a worker has ended",
                extra=fields(
                    worker=child.index,
                    pid=child.pid,
                    end=_describe(code),
                    problem=child.fault,
                    connections=given_back,
                    restart_in=delay,
                ),
            )
            try:
                async with asyncio.timeout(delay):
                    await self.stopping.wait()
            except TimeoutError:
                pass

    async def _watch(self, patience: float) -> None:
        """End the workers that hang: they are started again then."""
        while patience:
            await asyncio.sleep(interval(patience))
            for child in self.children:
                silent = child.look(self._segment.beats(child.index), interval(patience))
                if silent >= patience:
                    fault = fields(worker=child.index, pid=child.pid, seconds=round(silent, 1))
                    _log.error("a worker hangs", extra=fault)
                    child.abort()

    async def _start(self, child: Child) -> None:
        config = self.config
        settings = WorkerSettings(
            config=self._for_workers(config),
            index=child.index,
            start=self._starts,
            machine=self._machine,
            segment=self._segment.descriptor,
            layout=self._segment.layout,
            key=self._segment.key,
            sockets={name: [sock.fileno() for sock in passed] for name, passed in self._passed.items()},
        )
        self._starts += 1
        passed = [self._segment.descriptor, *(number for each in settings.sockets.values() for number in each)]

        def connect() -> WorkerPort:
            port = WorkerPort(
                config.backplane.queue, on_frame=self._take, on_lost=self.bus.drop, on_end=self._take_end
            )
            self._by_port[port] = child
            return port

        await child.start(settings, passed, connect, self._segment.beats(child.index))
        if child.port is not None and self.stopping.is_set():
            child.port.put(frames.frame(frames.STOP))
        elif child.port is not None and self.config is not config:  # it was changed meanwhile
            child.port.put(frames.frame(frames.RELOAD, encode(self._for_workers(self.config))))
            child.port.put(frames.frame(frames.AGREED, b"\1"))

    def _for_workers(self, config: Config) -> Config:
        """Return settings with the ports that were picked."""
        return msgspec.structs.replace(
            config,
            server=msgspec.structs.replace(config.server, port=self.port),
            http=msgspec.structs.replace(config.http, port=self.http_port),
        )

    def _take(self, port: WorkerPort, kind: int, body: bytes) -> None:
        """Take what a worker sends."""
        child = self._by_port[port]
        if kind == frames.ASK:
            others = {each.index: each.port if each.ready.is_set() else None for each in self.children}
            del others[child.index]
            self._questions.ask(port, body, others)
        elif kind == frames.TELL:
            self._questions.told(port, body)
        elif kind == frames.WIND_DOWN:
            self.on_drain()
        elif kind == frames.READY:
            child.ready.set()
        elif kind == frames.RELOADED:
            answer = self._reloaded.get(port)
            if answer is not None and not answer.done():
                answer.set_result(decode(Reloaded, body).problems)
        elif kind == frames.FAILED:
            child.note_failure(decode(Failed, body))
        else:
            self.bus.take(port, kind, body)

    def _take_end(self, port: WorkerPort) -> None:
        """A worker's stream has ended, and with that its use."""
        child = self._by_port.pop(port)
        answer = self._reloaded.get(port)
        if answer is not None and not answer.done():
            answer.set_result([])
        child.port = None
        self.bus.end(port)
        self._questions.leave(port)
        if not self.stopping.is_set() and child.ready.is_set():
            child.kill()

    def _figures(self) -> dict[str, object]:
        """Return what is told with the workers' figures."""
        return {
            "starts": {str(child.index): child.starts for child in self.children},
            "bus": {
                "entries": self.bus.appended,
                "position": self.bus.head,
                "kept_bytes": self.bus.kept.size,
                "dropped": self.bus.kept.dropped,
                "losses": self.bus.losses,
            },
        }


def _describe(code: int) -> str:
    """Say how a process ended."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"
