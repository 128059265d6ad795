"""A running server of the core on picows and uvloop, and a client that speaks WebSocket by hand."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, cast

import orjson
import uvloop
from picows import ws_create_server

from core.wire_client import HANDSHAKE, TIMEOUT, Client, TlsClient
from valtronics_fast._core.checks import check_hub
from valtronics_fast._core.connection import Limits
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.session import Session

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from picows import WSUpgradeRequest

Message = dict[str, Any]

# protocol.md, section 4, but for the rate: what is not about it may send as much as it likes.
LIMITS: dict[str, float] = {
    "messages_per_second": 0,
    "message_size": 1024,
    "auth_size": 8192,
    "frame_size": 65536,
    "fragments": 64,
    "batch_items": 50,
    "subscriptions": 1000,
    "device_ids": 10000,
    "min_interval": 0,
    "json_depth": 16,
    "queue_mark": 0,
    "queue_size": 0,
    "queue_time": 30,
    "queue_limit": 2 << 20,
    "auth_attempts": 3,
    "auth_timeout": 10,
    "grace": 25,
    "renewal_notice": 60,
    "ping_interval": 25,
    "ping_timeout": 8,
    "close_timeout": 2,
}
EMPTY_INDEX = {"entries": 0, "devices": 0, "names": 0, "terms": 0, "filters": 0, "bytes": 0}
IDLE_PACER = {"cohorts": 0, "subscribers": 0, "timers": 0, "throttles": 0}


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that must come true."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.005)


class Host:
    """The Python side of the sessions; a token is the name of a grant, or of a verification under way."""

    def __init__(self, hub: Hub) -> None:
        self.grants: dict[object, Grant] = {}
        self.pending: dict[object, asyncio.Future[Grant]] = {}
        self.full = False
        self.users: list[str] = []
        self.opened_sessions: list[Session] = []
        self.closed_sessions: list[Session] = []
        self.following: list[tuple[Session, list[int], int]] = []
        self.reports: list[Mapping[str, object]] = []
        self.errors: list[BaseException] = []
        self.publisher: Callable[[Mapping[str, object]], int] = hub.publish

    def opened(self, session: Session, /) -> None:
        self.opened_sessions.append(session)

    def closed(self, session: Session, /) -> None:
        self.closed_sessions.append(session)

    def join(self, session: Session, user: str, /) -> bool:
        self.users.append(user)
        return not self.full

    def authenticate(self, session: Session, token: object, /) -> Grant | Awaitable[Grant] | None:
        if not isinstance(token, str):
            return None
        return self.pending.get(token) or self.grants.get(token)

    def wait(self, session: Session, verification: Awaitable[Grant], /) -> None:
        def settle(done: asyncio.Future[Grant]) -> None:
            session.verified(None if done.exception() else done.result())

        cast("asyncio.Future[Grant]", verification).add_done_callback(settle)

    def follow(self, session: Session, lanes: list[int], offset: int, /) -> None:
        self.following.append((session, lanes, offset))

    def publish(self, message: Mapping[str, object], /) -> int:
        return self.publisher(message)

    def reported(self, session: Session, report: Mapping[str, object], /) -> None:
        self.reports.append(report)

    def failed(self, session: Session, error: BaseException, /) -> None:
        self.errors.append(error)


class Server:
    """A server for one test; leaving it checks that nothing was left behind and nothing was raised unseen.

    Args:
        names: bound on the index's names.
        max_latest: bound on the newest values of a channel, in bytes; 0: none.
        max_backlog: bound on what waits for all blocked connections together, in bytes; 0: none.
        history: how many messages of a channel are kept for recovery.
        epoch: the hub's.
        shared: what is published comes from a log that is shared with other nodes.
        budget: seconds that input may take in one turn; 0: no bound.
        clock: let the timers run; without it the test calls `hub.advance`.
        now: when the hub's time begins, in seconds, for a test that makes up its time; None: now.
        delay: takes the function that writes delayed data, for the test to call; None: data goes out each turn.
        send_buffer: SO_SNDBUF of the connections, in bytes; 0: the system's.
        tls: contexts of the server and of its clients; None: no TLS.
        limits: what differs from LIMITS.
    """

    def __init__(
        self,
        *,
        names: int = 65536,
        max_latest: int = 0,
        max_backlog: int = 0,
        history: int = 0,
        epoch: str | None = None,
        shared: bool = False,
        budget: float = 0,
        clock: bool = True,
        now: float | None = None,
        delay: Callable[[Callable[[], None]], object] | None = None,
        send_buffer: int = 0,
        tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
        **limits: float,
    ) -> None:
        self.limits = Limits(**{**LIMITS, **limits})
        self.unhandled: list[dict[str, Any]] = []
        self.clients: list[Client] = []
        self._names = names
        self._bounds: dict[str, Any] = {
            "max_latest": max_latest, "max_backlog": max_backlog, "history": history, "epoch": epoch,
            "shared": shared, "budget": budget,
        }  # fmt: skip
        self._clock = clock
        self._now = now
        self._delay = delay
        self._send_buffer = send_buffer
        self._tls = tls
        self._tokens = 0
        self._options: dict[str, Mapping[str, Any]] = {}
        self._sessions: dict[str, Session] = {}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, uvloop.Loop)  # the outbox relies on how its transports pause and resume
        loop.set_exception_handler(lambda _, context: self.unhandled.append(context))
        self.schedule: Callable[[Callable[[], None]], object] = loop.call_soon
        now = time.monotonic() if self._now is None else self._now
        self.hub = Hub(
            lambda flush: self.schedule(flush), now, delay=self._delay, tick=0.01, names=self._names, **self._bounds
        )
        self.host = Host(self.hub)
        listener = socket.socket()
        if self._send_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer)
        listener.bind(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self._server = await ws_create_server(
            self._open,
            sock=listener,
            ssl=None if self._tls is None else self._tls[0],
            use_aiofastnet=False,
            enable_auto_pong=False,
        )
        self._ticker = loop.create_task(self._tick()) if self._clock else None
        return self

    async def __aexit__(self, failure: object, *_: object) -> None:
        for client in self.clients:
            client.close()
        for session in self.hub.connections():
            session.abort()
        try:
            await until(lambda: not self.hub.connections())
        finally:
            if self._ticker is not None:
                self._ticker.cancel()
            self._server.close()
            await self._server.wait_closed()
        if failure is None:
            check_hub(self.hub)
            assert self.hub.index.stats() == EMPTY_INDEX
            assert self.hub.wheel.armed == 0
            self.hub.advance(0)
            assert self.hub.pacer.stats() == IDLE_PACER
            tables = [table.stats() for table in self.hub.latest if table is not None]
            assert [(stats["served"], stats["behind"]) for stats in tables] == [(0, 0)] * 3
            assert (self.hub.behind, self.hub.turn.backlog) == (0, 0)
            assert set(self.host.opened_sessions) == set(self.host.closed_sessions)
            assert self.unhandled == []
            assert self.host.errors == []

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def token(
        self,
        user: str = "alice",
        *,
        seconds: float = 3600,
        channels: int = 15,
        publish: int = 0,
        devices: frozenset[int | str] | None = None,
        min_interval: float = 0,
    ) -> str:
        """Return a new token that permits this, for `seconds`."""
        self._tokens += 1
        token = f"token-{self._tokens}"
        self.host.grants[token] = Grant(
            user,
            time.time() + seconds,
            channels=channels,
            publish=publish,
            devices=devices,
            min_interval=min_interval,
        )
        return token

    async def connect(self, *, receive_buffer: int = 0, **options: Any) -> Client:
        """Return a client that has done the handshake; options are those of Session."""
        path = f"/{len(self.clients)}"
        self._options[path] = options
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        client = Client(sock) if self._tls is None else TlsClient(sock)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        if isinstance(client, TlsClient) and self._tls is not None:
            await client.start_tls(self._tls[1])
        self.clients.append(client)
        await client.write(HANDSHAKE.format(path).encode())
        assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        client.session = self._sessions[path]
        client.inflates = bool(options.get("deflate"))
        return client

    async def login(self, token: str | None = None, *, receive_buffer: int = 0, **options: Any) -> Client:
        """Return a client that is authenticated; without a token it may do everything but publish."""
        client = await self.connect(receive_buffer=receive_buffer, **options)
        answer = await client.ask(type="auth", token=token or self.token())
        assert answer["success"] is True
        return client

    async def gone(self, client: Client) -> None:
        """Wait until the host has been told of a connection's end, which it is once."""
        await until(lambda: client.session in self.host.closed_sessions)
        assert self.host.closed_sessions.count(client.session) == 1

    async def settled(self, *clients: Client) -> list[list[Message]]:
        """Return the messages that each client has received up to now; what the hub has made of it all must hold."""
        received = await asyncio.gather(*[client.settled() for client in clients])
        check_hub(self.hub)
        return received

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the end of the turn from coming: what is queued stays so until the block is left."""
        held: list[Callable[[], None]] = []
        before, self.schedule = self.schedule, held.append
        try:
            yield
        finally:
            self.schedule = before
            for flush in held:
                flush()

    def _open(self, request: WSUpgradeRequest) -> Session:
        path = request.path.decode()
        session = Session(self.hub, self.limits, self.host, "127.0.0.1", **self._options.pop(path, {}))
        self._sessions[path] = session
        return session

    async def _tick(self) -> None:
        while True:
            self.hub.advance(time.monotonic())
            await asyncio.sleep(0.01)


def telemetry(device: int | str, **values: object) -> Message:
    """Return a telemetry_update with everything that the server would fill in."""
    return {
        "type": "telemetry_update",
        "device_id": device,
        "telemetry": {
            name: {"value": value, "unit": None, "timestamp": "2024-01-01T12:00:00Z"} for name, value in values.items()
        },
    }


def metrics_of(messages: list[Message]) -> list[list[str]]:
    """Return the names of the metrics of each message of values."""
    return [list(message.get("telemetry") or message["metrics"]) for message in messages]


async def subscriber(server: Server, *, receive_buffer: int = 0, **filters: object) -> Client:
    """Return a client that has subscribed to telemetry."""
    client = await server.login(receive_buffer=receive_buffer)
    answer = await client.ask(type="subscribe", id=1, channel="telemetry", **filters)
    assert answer["success"] is True
    return client


async def subscribe(client: Client, channel: str, **filters: object) -> Message:
    """Subscribe; return the answer."""
    return await client.ask(type="subscribe", id=1, channel=channel, **filters)


def sizes(server: Server) -> dict[str, int]:
    """Return how much the index has of each thing; what the hub has made of it all must hold."""
    check_hub(server.hub)
    stats = server.hub.index.stats()
    del stats["bytes"]
    return stats


def numbers(messages: list[Message], metric: str = "n") -> list[int]:
    """Return the values of the metric that tests number messages with."""
    return [message["telemetry"][metric]["value"] for message in messages]


def without_text(message: Message) -> Message:
    """Leave out what an error says to people."""
    return {key: value for key, value in message.items() if key != "message"}


def dumps(message: object) -> bytes:
    return orjson.dumps(message)
