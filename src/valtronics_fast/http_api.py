"""The HTTP side: publish, health, statistics, rebalancing and the dashboard on their own port (docs/http-api.md).

`http_listener` stands between the socket and these routes, `http_guard` before those that are not for everybody,
`http_publish` and `http_flow` behind the one that takes messages, `http_inflight` beside it when the server goes,
`http_rebalance` behind the one that moves clients, and `http_dashboard` has the page for people.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web

from valtronics_fast._core.scope import device_key
from valtronics_fast._core.wire import ERROR_NAMES, ErrorCode
from valtronics_fast.errors import BusyError
from valtronics_fast.http_flow import Flow
from valtronics_fast.http_inflight import InFlight
from valtronics_fast.http_listener import HEADERS, BodyReader, HttpError, HttpListener, json_answer, send_continue
from valtronics_fast.http_publish import BodyError, Intake, JsonBody, NdjsonBody
from valtronics_fast.http_rebalance import MAX_BODY, parse_order

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from valtronics_fast.config import HttpConfig
    from valtronics_fast.http_dashboard import Dashboard
    from valtronics_fast.http_guard import HttpGuard
    from valtronics_fast.http_rebalance import Rebalance
    from valtronics_fast.producers.base import Outlet

    Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]

__all__ = ["HttpApi"]

PUBLISH_TIMEOUT = 5.0
"""Seconds that publish requests get to end when the server stops."""

SHUTDOWN_TIMEOUT = 1.0
"""Seconds that all other requests get behind that."""

MAX_DIGITS = 18
"""The most digits that the number of a connection may have."""


class HttpApi:
    """Serves publish, health and statistics over HTTP (docs/http-api.md).

    Args:
        config: `[http]`: where to listen, the API key, the largest JSON body in bytes (0: no limit), the rate.
        outlet: takes the data messages.
        guard: who may use it.
        stats: the figures of `/api/v1/stats`.
        explain: why a connection (its number) does or does not get a device's messages (None: the system's); None when
            there is no such connection.
        health: `{"ready": bool, "checks": {name: "ok" or what is wrong}}`.
        rebalance: closes connections so that they come back elsewhere.
        dashboard: the page for people; None: there is none.

    Attributes:
        port: where it listens; after `start`.
    """

    def __init__(
        self,
        config: HttpConfig,
        *,
        outlet: Outlet,
        guard: HttpGuard,
        stats: Callable[[], Awaitable[dict[str, object]]],
        explain: Callable[[int, int | str | None], Awaitable[dict[str, object] | None]],
        health: Callable[[], Awaitable[Mapping[str, object]]],
        rebalance: Rebalance,
        dashboard: Dashboard | None = None,
    ) -> None:
        self.port = config.port
        self._config = config
        self._outlet = outlet
        self._guard = guard
        self._stats = stats
        self._explain = explain
        self._health = health
        self._rebalance = rebalance
        self._flow = Flow(outlet, config.publish_rate)
        self._dashboard = dashboard
        self._in_flight = InFlight()
        self._listener = HttpListener(self._dispatch)
        self._runner: web.ServerRunner | None = None
        self._routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": self._get_index},
            "/health/live": {"GET": self._get_live},
            "/health/ready": {"GET": self._get_ready},
            "/api/v1/stats": {"GET": self._get_stats},
            "/api/v1/explain": {"GET": self._get_explain},
            "/api/v1/publish": {"POST": self._post_publish},
            "/api/v1/rebalance": {"POST": self._post_rebalance},
        }
        self._pages = {} if dashboard is None else dashboard.routes

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Listen, on these sockets when there are any.

        Raises:
            OSError: that is not possible.
        """
        runner = web.ServerRunner(self._listener, shutdown_timeout=SHUTDOWN_TIMEOUT)
        await runner.setup()
        for sock in sockets:
            await web.SockSite(runner, sock).start()
        if not sockets:
            await web.TCPSite(runner, self._config.host, self._config.port).start()
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    def reload(self, config: HttpConfig) -> None:
        """Take new bounds on bodies and on rates; nothing else may have changed in it that is of use here."""
        self._config = config
        self._flow.rates.rate = config.publish_rate

    async def leave(self, *, listening: bool) -> None:
        """Begin to go: every connection is closed after its next answer.

        Args:
            listening: go on accepting connections, to tell whoever asks that the server goes.
        """
        self._listener.leaving = True
        if self._runner is not None and not listening:
            for site in list(self._runner.sites):
                await site.stop()

    async def end_publishing(self) -> None:
        """Take no more messages: streams end with an answer, other requests get PUBLISH_TIMEOUT to end."""
        await self._in_flight.end(PUBLISH_TIMEOUT)

    async def stop(self) -> None:
        """Stop listening, give running requests SHUTDOWN_TIMEOUT, close every connection. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _dispatch(self, request: web.BaseRequest) -> web.Response:
        self._guard.refuse_banned(request)
        path = request.path.rstrip("/") or "/"  # reverse proxies add a slash
        methods = self._routes.get(path) or self._pages.get(path)
        if methods is None:
            raise HttpError(404, "not_found", "there is nothing at this path")
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allow = ", ".join(["GET", "HEAD"] if "GET" in methods else methods)
            raise HttpError(405, "method_not_allowed", f"allowed here: {allow}", headers={"Allow": allow})
        return await handler(request)

    async def _get_index(self, request: web.BaseRequest) -> web.Response:
        if self._dashboard is not None and self._dashboard.wanted(request):
            return self._dashboard.page(request)
        routes = [f"{method} {path}" for path, methods in self._routes.items() for method in methods]
        headers = HEADERS | {"Vary": "Accept"}
        return json_answer(200, {"name": "valtronics-fast", "routes": routes}, headers)

    async def _get_live(self, _: web.BaseRequest) -> web.Response:
        return json_answer(200, {"status": "ok"})

    async def _get_ready(self, _: web.BaseRequest) -> web.Response:
        """Answer what the server says of itself: `ready` decides the status, and with `checks` the word."""
        health = await self._health()
        ready, checks = health["ready"], health["checks"]
        whole = isinstance(checks, dict) and all(state == "ok" for state in checks.values())
        word = "draining" if not ready else "ready" if whole else "degraded"
        return json_answer(200 if ready else 503, {"status": word, "checks": checks})

    async def _get_stats(self, request: web.BaseRequest) -> web.Response:
        await self._guard.authorise_reader(request)
        return json_answer(200, await self._stats())

    async def _get_explain(self, request: web.BaseRequest) -> web.Response:
        """Answer why a connection gets what it gets. It tells of other users: a publisher's token is not enough."""
        await self._guard.authorise_operator(request, reading=True)
        number, device = request.query.get("connection", ""), request.query.get("device")
        if not (number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS):
            raise _invalid("connection is the number of a connection, as the log has it")
        try:
            answer = await self._explain(int(number), None if device is None else device_key(device))
        except ValueError as error:
            raise _invalid(str(error)) from None
        if answer is None:
            raise HttpError(404, "not_found", "there is no such connection (any more)")
        return json_answer(200, answer)

    async def _post_publish(self, request: web.BaseRequest) -> web.Response:
        """Publish the messages of a body, unless the server goes."""
        with self._in_flight.request():
            return await self._publish_body(request)

    async def _publish_body(self, request: web.BaseRequest) -> web.Response:
        """Publish the messages of a body. What the headers tell is judged before any of it is read."""
        grant = await self._guard.authorise(request)
        content_type = request.content_type
        if content_type not in {"application/json", "application/x-ndjson"}:
            raise _unsupported("the Content-Type is neither application/json nor application/x-ndjson")
        if (request.charset or "utf-8").lower() != "utf-8":
            raise _unsupported("the body's charset is not utf-8")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _unsupported("compressed bodies are not accepted")
        self._flow.admit(grant.user)
        is_ndjson = content_type == "application/x-ndjson"
        intake = Intake(self._outlet.publish, grant, lines=is_ndjson)
        try:
            await (self._take_ndjson if is_ndjson else self._take_json)(request, intake)
        except HttpError as error:
            if is_ndjson or intake.handled:
                error.more = intake.answer()
            raise
        if intake.accepted:
            await self._flow.settle()
        nothing_accepted = intake.rejected_total and not intake.accepted
        return json_answer(422 if nothing_accepted else 200, intake.answer())

    async def _take_json(self, request: web.BaseRequest, intake: Intake) -> None:
        limit = self._config.body_size
        text = await self._read_whole(request, limit, f"a JSON body may have {limit} bytes; send NDJSON instead")
        try:
            body = JsonBody(text)
            await self._flow.check(body)
        except BodyError as error:
            raise HttpError(400, ERROR_NAMES[error.code], str(error)) from None
        for texts in body.pieces():
            intake.put(texts)
            await self._flow.publish(intake, patient=False)

    async def _read_whole(self, request: web.BaseRequest, limit: int, too_large: str) -> bytes:
        """Return a body of at most `limit` bytes (0: of any size); one that says it is larger is not asked for."""
        body = bytearray()

        def check(size: int) -> None:
            if limit and size > limit:
                raise HttpError(413, ERROR_NAMES[ErrorCode.MESSAGE_TOO_LARGE], too_large, close=True)

        check(request.content_length or 0)
        await send_continue(request)
        reader = BodyReader(request)
        while data := await reader.read():
            body += data
            check(len(body))
            await self._flow.turn()
        return bytes(body)

    async def _take_ndjson(self, request: web.BaseRequest, intake: Intake) -> None:
        body = NdjsonBody()
        await send_continue(request)
        async with self._in_flight.stream():
            reader = BodyReader(request)
            while data := await reader.read():
                if intake.grant.expires_at <= time.time():  # a stream may outlive its token
                    intake.grant = await self._guard.authorise(request)
                await self._flow.turn()
                intake.put(body.feed(data))
                await self._flow.publish(intake, patient=True)
            intake.put(body.finish())
            await self._flow.publish(intake, patient=True)

    async def _post_rebalance(self, request: web.BaseRequest) -> web.Response:
        """Have clients move elsewhere. It needs the key in any case: any page can have a browser send a POST."""
        await self._guard.authorise_operator(request)
        body = await self._read_whole(request, MAX_BODY, f"an order may have {MAX_BODY} bytes")
        order = parse_order(body)
        try:
            closing = await self._rebalance(fraction=order.fraction, count=order.count, over=order.over)
        except BusyError as error:
            raise HttpError(409, "busy", str(error)) from None
        return json_answer(202, {"connections": closing})


def _invalid(message: str) -> HttpError:
    return HttpError(400, ERROR_NAMES[ErrorCode.INVALID_MESSAGE], message)


def _unsupported(message: str) -> HttpError:
    return HttpError(415, "unsupported_media_type", message)
