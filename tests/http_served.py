"""A running HttpApi with a hub that records, and a client, for the tests of the HTTP side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.addresses import TrustedProxies
from valtronics_fast.config import HttpConfig, SecurityConfig
from valtronics_fast.errors import AuthError, BusyError, PublicationError
from valtronics_fast.http_api import HttpApi
from valtronics_fast.http_guard import HttpGuard
from valtronics_fast.http_listener import HEADERS
from valtronics_fast.statistics import Statistics
from valtronics_fast.suspects import Suspects
from valtronics_fast.workers.figures import ByWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from valtronics_fast.inspection import Query, Row

KEY = "a-key-of-the-backend"
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
NOTHING = ByWorker({}, ("0",), None)
WITH_KEY = {"X-API-Key": KEY}
ADMIN_KEY = "9d41c7a0e85b62f3-of-the-operators"
WITH_ADMIN_KEY = {"X-API-Key": ADMIN_KEY}
GRANTS = {
    "writer-token": Grant("w", 2e9, publish=15),
    "telemetry-token": Grant("t", 2e9, publish=1),
    "device-token": Grant("d", 2e9, publish=15, devices=frozenset({1})),
    "reader-token": Grant("r", 2e9),
    "monitor-token": Grant("m", 2e9, channels=0, monitor=True),
    "admin-token": Grant("root", 2e9, admin=True),
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def telemetry(device: object = 1, **more: object) -> dict[str, object]:
    return {"type": "telemetry_update", "device_id": device, "telemetry": {"t": 1.5}, **more}


HALF_A_BODY = (
    f"POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n"
    "Content-Type: application/json\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
).encode()

HALF_A_STREAM = (
    f"POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n"
    "Content-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n"
).encode() + orjson.dumps(telemetry()) + b"\n"


def verify(token: object) -> Grant:
    if token == "expired-token":
        raise AuthError("expired", ErrorCode.TOKEN_EXPIRED)
    if token == "broken-token":
        raise ValueError(f"can't digest {token}")
    grant = GRANTS.get(str(token))
    if grant is None:
        raise AuthError("bad_signature")
    return grant


class Site:
    """A server with 100 connections that nobody has made; connection 7 is bob's, and number 8 is gone.

    Attributes:
        health_told: what its health is.
        queries: what was asked for.
        orders: what was ordered.
    """

    def __init__(self) -> None:
        self.health_told: dict[str, object] = {"ready": True, "checks": {"mqtt": "ok"}}
        self.queries: list[Query] = []
        self.orders: list[object] = []

    async def stats(self) -> dict[str, object]:
        return {"active": 3, "close_codes": {1000: 1}}

    async def figures(self) -> ByWorker:
        return NOTHING

    async def health(self) -> dict[str, object]:
        return self.health_told

    async def explain(self, connection: int, device: int | str | None) -> dict[str, object] | None:
        return {"connection": connection, "device_id": device} if connection == 7 else None

    async def rebalance(self, *, fraction: float | None, count: int | None, over: float | None) -> int:
        if over == 0.5:
            raise BusyError("connections are being moved already")
        return count or round(100 * (fraction or 0))

    async def connections(self, query: Query) -> tuple[list[Row], list[str]]:
        self.queries.append(query)
        numbers = [query.number] if query.number else range(1, 101)
        after = query.after[1] if query.after else 0
        rows = [(0.5, each, orjson.Fragment(b'{"id":%d}' % each)) for each in numbers if each > after and each != 8]
        return rows[: query.limit], []

    async def disconnect(self, query: Query, reason: str | None) -> tuple[int, list[str]]:
        self.orders.append((query.number or query.user, reason))
        return (3 if query.user == "bob" else int(query.number == 7)), []

    def drain(self) -> None:
        self.orders.append("drain")


class Hub:
    """Records what is published; refuses messages marked "bad"; each one matches two subscriptions.

    Attributes:
        settling: what is published is settled while this is set.
        full: too much is waiting to be carried on.
    """

    def __init__(self) -> None:
        self.messages: list[Mapping[str, object]] = []
        self.arrived = asyncio.Event()
        self.settling = asyncio.Event()
        self.settling.set()
        self.full = False

    def publish(self, message: Mapping[str, object]) -> int:
        if message.get("bad"):
            raise PublicationError(ErrorCode.INVALID_MESSAGE, "it is bad")
        if message.get("fatal"):
            raise ZeroDivisionError("what a publisher never sees")
        self.messages.append(message)
        self.arrived.set()
        return 2

    async def settled(self) -> bool:
        return await self.settling.wait()

    def congested(self) -> bool:
        return self.full


class Served:
    """A running HttpApi, its hub, what its health says, and a client."""

    def __init__(
        self, session: aiohttp.ClientSession, config: HttpConfig, security: SecurityConfig, **parts: Any
    ) -> None:
        self.hub = Hub()
        self.site = Site()
        self.session = session
        self.statistics = Statistics()
        self.suspects = Suspects(security)
        trusted = TrustedProxies(security.trusted_proxies)
        verifying = parts.pop("verify", verify)
        demo = parts.pop("demo", False)
        self.guard = HttpGuard(config, verifying, trusted, self.suspects, self.statistics, demo=demo)
        self.guard.admin_tokens = True
        self.api = HttpApi(config, outlet=self.hub, guard=self.guard, **({"site": self.site} | parts))

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.api.port}{path}"
        async with self.session.request(method, url, **more) as response:
            for name, value in HEADERS.items():
                assert response.headers.getall(name) == [value]
            body = await response.read()
            assert response.content_type == "application/json"
            return response.status, orjson.loads(body) if body else None

    async def publish(self, body: object, headers: dict[str, str] = WITH_KEY) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) or hasattr(body, "__aiter__") else orjson.dumps(body)
        return await self.ask("POST", "/api/v1/publish", data=data, headers=JSON | headers)

    async def raw(self, *pieces: bytes) -> bytes:
        """Send bytes, then return all that comes until the server closes."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.api.port)


Serve = Callable[..., Awaitable[Served]]


@asynccontextmanager
async def serving() -> AsyncIterator[Serve]:
    """Give a function that starts an HttpApi; all of them are stopped at the end."""
    running: list[Served] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:

        async def start(
            *,
            api_key: str = KEY,
            admin_key: str = ADMIN_KEY,
            body_size: int = 1 << 20,
            rate: int = 0,
            metrics_networks: tuple[str, ...] = (),
            security: SecurityConfig | None = None,
            **parts: Any,
        ) -> Served:
            config = HttpConfig(
                host="127.0.0.1",
                port=0,
                api_key=api_key,
                admin_key=admin_key,
                body_size=body_size,
                publish_rate=rate,
                metrics_networks=metrics_networks,
            )
            served = Served(session, config, security or SecurityConfig(), **parts)
            await served.api.start()
            running.append(served)
            return served

        try:
            yield start
        finally:
            for served in running:
                await served.api.stop()
