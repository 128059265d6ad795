"""The server: puts the parts together, starts them in order, and ends them so that nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Self

import msgspec

from valtronics_fast._core.census import census
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.addresses import TrustedProxies
from valtronics_fast.auth import Authenticator
from valtronics_fast.backplanes import open_backplane
from valtronics_fast.clients import Clients
from valtronics_fast.draining import Rebalancer, let_go
from valtronics_fast.gate import ServerGate, policy_of
from valtronics_fast.http_api import HttpApi
from valtronics_fast.http_dashboard import Dashboard
from valtronics_fast.http_guard import HttpGuard
from valtronics_fast.hub_setup import make_hub, reload_hub
from valtronics_fast.inherited import HTTP, WEBSOCKET, inherit, public_host
from valtronics_fast.inspection import Inspector
from valtronics_fast.listening import bind, open_port, serve
from valtronics_fast.logging import fields, tell_suppressed
from valtronics_fast.reception import Reception
from valtronics_fast.reloading import prepare_reload
from valtronics_fast.room import OwnRoom
from valtronics_fast.sources import make_producers
from valtronics_fast.statistics import Statistics, figures_of_hub, figures_of_parts, states_of_parts
from valtronics_fast.suspects import Suspects
from valtronics_fast.tls import ServerTls
from valtronics_fast.tokens import with_secret
from valtronics_fast.upkeep import Upkeep
from valtronics_fast.workers.whole import Whole

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

    from valtronics_fast._core.hub import Hub
    from valtronics_fast.config import Config, HttpConfig
    from valtronics_fast.producers.base import Producer
    from valtronics_fast.workers.context import Worker

__all__ = ["Server"]

_log = logging.getLogger(__name__)


class Server:
    """A WebSocket telemetry server. Made and used within one event loop; can be started once.

    Args:
        config: the settings (see `Config.load`). When they name no key for tokens at all, a random secret is made
            up for this run, and stands in `config.auth.secret`.
        worker: which of several processes this is; None: it is the only one.

    Raises:
        ConfigError: the keys for tokens, or the TLS files, can't be used.

    Attributes:
        config: the settings in force.
        host, port: of the WebSocket port; after `start` those that are really listened on, whatever was configured.
        http_host, http_port: of the HTTP port, likewise.
        inspector: looks at the connections; after `start`.
        on_drain: called when an operator orders a drain; it begins `drain`, or has it begun.
    """

    def __init__(self, config: Config, *, worker: Worker | None = None) -> None:
        self.config = with_secret(config)
        self._secret_made_up = self.config is not config
        config = self.config
        self.host, self.port = config.server.host, config.server.port
        self.http_host, self.http_port = config.http.host, config.http.port
        self._statistics = Statistics()
        bans = None if worker is None else worker.bans
        self._suspects = Suspects(config.security, bans, spare_loopback=config.demo)
        self._authenticator = Authenticator(config.auth)
        self._tls = ServerTls(config.tls, config.server.close_timeout) if config.tls.certfile else None
        self._worker = worker
        self._room = OwnRoom() if worker is None else worker.room
        self._backplane = open_backplane(config.backplane, None if worker is None else worker.link)
        self._whole = Whole(self, worker)
        self._producers: list[Producer] = []
        self._listeners: list[asyncio.Server] = []
        self._http: HttpApi | None = None
        self._guard: HttpGuard
        self._timer: asyncio.TimerHandle | None = None
        self._hub: Hub
        self._upkeep: Upkeep
        self._clients: Clients
        self.rebalancer: Rebalancer
        self.inspector: Inspector
        self.on_drain: Callable[[], object] = self._drain_soon
        self._gate: ServerGate
        self._reception: Reception
        self._started = False
        self._passed_on: frozenset[str] = frozenset()  # the ports whose sockets others may accept from, too
        self._reloading = asyncio.Lock()
        self._stopping: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, and start the producers.

        Raises:
            ConfigError: a descriptor that was passed on is no listening socket (`inherited`).
            OSError: a port can't be listened on; `stop` then ends what had been started.
            RuntimeError: it was started before.
        """
        if self._started:
            raise RuntimeError("a server can be started once; make another one")
        config = self.config
        passed_on = inherit(config) if self._worker is None else self._worker.sockets
        self._started = True
        self._hub = make_hub(config, shared=self._backplane.shared, worker=self._worker)
        machine = 0 if self._worker is None else self._worker.machine
        self._clients = Clients(
            config,
            self._hub,
            self._authenticator,
            self._statistics,
            publish=self.publish,
            follow=self._backplane.follow,
            suspects=self._suspects,
            room=self._room,
            elsewhere=self._backplane.connections_elsewhere,
        )
        self.rebalancer = Rebalancer(self._clients)
        self.inspector = Inspector(self._hub)
        self._gate = ServerGate(config, self._clients)
        strangers = None if self._tls is None else (lambda: self._reception.half_open)
        self._upkeep = Upkeep(self._hub, config.limits.memory, self._gate.hold, strangers)
        self._reception = Reception(
            self._gate,
            policy=policy_of(config, self.http_host, self.http_port),
            trusted=TrustedProxies(config.security.trusted_proxies),
            suspects=self._suspects,
            health=lambda: {"status": "ok" if self._stopping is None else "draining"},
            timeout=config.server.handshake_timeout,
            max_frame_size=config.limits.frame_size,
            proxy_protocol=config.server.proxy_protocol,
            tls=self._tls,
        )
        await self._authenticator.start()
        await self._backplane.start(self._hub, partial(self._clients.presence, machine))
        await self._listen(passed_on)
        self._tick()
        self._upkeep.start()
        if self._worker is None or not self._worker.index:  # there is one host, and one session at the broker
            succeeds = self._worker is not None and self._worker.succeeds
            self._producers = make_producers(
                config, self._room, self.deliveries, self._hub, self._backplane, succeeds=succeeds
            )
        for producer in self._producers:
            await producer.start(self.publish)
        _log.info("started", extra=fields(host=self.host, port=self.port, http_port=self.http_port))

    async def _listen(self, passed_on: Mapping[str, Sequence[socket.socket]]) -> None:
        """Accept connections, on the sockets that were passed on or on ones of our own."""
        sockets: list[socket.socket] = []
        try:
            given, shared = passed_on.get(WEBSOCKET, ()), self._worker is not None
            self.host, sockets = await open_port(self.host, self.port, given, reuse_port=shared)
            self.port = int(sockets[0].getsockname()[1])
            await self._start_http(passed_on.get(HTTP, ()))
            await serve(sockets, self._reception.protocol, self._listeners)
        except BaseException:
            for sock in (*sockets, *passed_on.get(HTTP, ())):
                sock.close()
            raise
        self._passed_on = frozenset(passed_on)

    async def _start_http(self, sockets: Sequence[socket.socket]) -> None:
        if sockets:
            self.http_host = public_host(sockets)
        elif self._worker is not None:
            sockets = await bind(self.http_host, self.http_port, reuse_port=True)
        config = self._http_config()
        verify, trusted = self._authenticator.verify, self._reception.trusted
        self._guard = HttpGuard(config, verify, trusted, self._suspects, self._statistics, demo=self.config.demo)
        self._guard.admin_tokens = self.config.auth.admin_tokens
        page = Dashboard(lambda: self.config, host=self.host, port=self.port, http_host=self.http_host)
        self._http = HttpApi(config, outlet=self._backplane, guard=self._guard, site=self._whole, dashboard=page)
        await self._http.start(sockets)
        self.http_port = self._http.port
        self._reception.policy = policy_of(self.config, self.http_host, self.http_port)

    def _http_config(self) -> HttpConfig:
        """Return the section `http` with the address that is really listened on, which decides who may see what."""
        return msgspec.structs.replace(self.config.http, host=self.http_host)

    def _tick(self) -> None:
        """Let the connections' timers fire, and come again."""
        now = time.monotonic()
        self._hub.advance(now)
        if self._guard.admin_on:
            self.inspector.tick(now)
        self._timer = asyncio.get_running_loop().call_later(self._hub.tick, self._tick)

    async def stop(self) -> None:
        """Close every connection at once (1001), and end. Nothing is lost that came in before.

        Idempotent; whoever calls it while another call, or `drain`, is at work waits for the same end.
        """
        await self._end(CloseCode.CLOSE_GOING_AWAY, 0.0)

    async def drain(self) -> None:
        """End as `stop` does, but for a restart: connections are closed (1012) evenly over `server.drain_window`.

        Until the last one is closed, data is taken in and delivered. Whoever connects is refused with HTTP 503; on a
        socket that was passed on nobody is, but waits there for the next process.
        """
        if self._started and self._stopping is None:
            _log.info("draining", extra=fields(connections=self._clients.active))
        await self._end(CloseCode.CLOSE_RESTART, self.config.server.drain_window)

    def _drain_soon(self) -> None:
        self._draining = asyncio.ensure_future(self.drain())

    async def _end(self, code: CloseCode, window: float) -> None:
        if not self._started:
            return
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop(code, window))
        await asyncio.shield(self._stopping)

    async def _stop(self, code: CloseCode, window: float) -> None:
        self.rebalancer.stop()
        if self._http is not None:
            await self._http.leave(listening=HTTP not in self._passed_on)
        if WEBSOCKET in self._passed_on:
            self._stop_listening()
            await self._reception.settle()
        self._gate.open = False
        await let_go(
            self._clients,
            code,
            window=window,
            patience=self.config.server.close_timeout,
            others=lambda: self._room.connections() > self._clients.active,
            end_input=self._end_input,
        )
        self._stop_listening()
        self._reception.close()
        if self._timer is not None:
            self._timer.cancel()
        self._upkeep.stop()
        if self._http is not None:
            await self._http.stop()
        await self._backplane.stop()
        await self._authenticator.stop()
        tell_suppressed(at_once=True)
        _log.info("stopped")

    async def _end_input(self) -> None:
        """Take in nothing more; what was begun is taken to its end."""
        for producer in self._producers:
            await producer.stop()
        if self._http is not None:
            await self._http.end_publishing()

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()

    async def reload(self, config: Config, *, agreed: Callable[[], Awaitable[bool]] | None = None) -> list[str]:
        """Take a new configuration, whole or not at all (docs/operations.md). Connections that are open stay.

        What can't change while the server runs keeps its value, also in `self.config`.

        Args:
            config: the settings; those of section `logging` are for the process to put in force.
            agreed: says, once nothing can fail here any more, whether others can take it, too; None: there are none.

        Returns:
            the names of settings that have changed and need a restart; none, if others can't take it.

        Raises:
            ConfigError: with every fault; nothing has changed.
        """
        if not self._started:
            raise RuntimeError("the server was not started")
        async with self._reloading:
            reload = await prepare_reload(self.config, config, self._authenticator, secret_made_up=self._secret_made_up)
            if agreed is not None and not await agreed():
                await reload.discard(self._authenticator)
                return []
            self.config = config = reload.config
            former, self._authenticator = self._authenticator, reload.authenticator
            trusted = TrustedProxies(config.security.trusted_proxies)
            self._suspects.reload(config.security)
            self._clients.reload(config, self._authenticator)
            self._gate.reload(config)
            self._upkeep.reload(config.limits.memory)
            policy = policy_of(config, self.http_host, self.http_port)
            self._reception.reload(policy, trusted, config.limits.frame_size)
            if self._tls is not None and reload.tls is not None:
                self._tls.take(reload.tls)
            if self._http is not None:
                self._http.reload(config.http)
                self._guard.reload(self._http_config(), self._authenticator.verify, trusted)
                self._guard.admin_tokens = config.auth.admin_tokens
            reload_hub(self._hub, config)
            if former is not self._authenticator:
                await former.stop()
            return reload.unchanged

    def rebalance(self, *, fraction: float | None = None, count: int | None = None, over: float | None = None) -> int:
        """Begin to close connections (4200), so that their clients come back elsewhere; return how many.

        Args:
            fraction: the part of all connections, rounded up; or
            count: how many, if there are so many.
            over: seconds that they are spread over; None: `server.drain_window`.

        Raises:
            BusyError: connections are being closed already.
        """
        server = self.config.server
        seconds = server.drain_window if over is None else over
        return self.rebalancer.start(fraction, count, seconds=seconds, patience=server.close_timeout)

    def publish(self, message: Mapping[str, object], /) -> int:
        """Publish a data message (protocol.md, section 3). To be called on the event loop's thread.

        Args:
            message: `type` says which kind; what is missing and can be known (times, ids) is filled in.

        Returns:
            How many subscriptions matched.

        Raises:
            PublicationError: the message is not valid; `code` is the wire's.
        """
        return self._backplane.publish(message)

    def deliveries(self) -> int:
        """Return how many data messages were sent to the clients of this process."""
        return sum(channel["deliveries"] for channel in self._hub.stats().values())

    def disconnect(self, code: int, *, user: str | None = None, count: int | None = None) -> int:
        """Close connections with a CloseCode, the newest first.

        Args:
            code: FORBIDDEN to throw somebody out, SERVER_FULL to shed load, REBALANCE to move it elsewhere.
            user: only this user's; None: everybody's.
            count: at most so many; None: all.

        Returns:
            How many were told to go.
        """
        return self._clients.disconnect(CloseCode(code), user, count)

    def stats(self) -> dict[str, object]:
        """Return the server's figures (docs/http-api.md)."""
        return {
            "ready": self._stopping is None,
            "connections_limit": self.config.limits.connections,
            **self._statistics.totals(census(self._hub)),
            **self._reception.stats(),
            "suspicion": self._suspects.stats(),
            **self._upkeep.stats(),
            **figures_of_hub(self._hub),
            "tokens": self._authenticator.stats(),
            **figures_of_parts(self._producers, self._backplane),
        }

    def explain(self, connection: int, device: int | str | None) -> dict[str, object] | None:
        """Return why a connection does or does not get a device's messages now; None: there is no such connection."""
        return self._clients.explain(connection, device)

    def health(self) -> dict[str, object]:
        """Return whether the server takes clients, and the state of each part.

        A part that is away (the MQTT broker, say) makes it degraded, not unready: to take every node out of
        the load balancer would not bring the broker back.
        """
        return {"ready": self._stopping is None, "checks": states_of_parts(self._producers, self._backplane)}
