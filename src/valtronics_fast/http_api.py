"""The HTTP side: publish, health, statistics, administration and the dashboard on their own port (docs/http-api.md).

`http_operations` has the routes. `http_listener` stands between the socket and them, `http_guard` before those that are
not for everybody, `http_publish` and `http_flow` behind the one that takes messages, `http_inflight` beside it when the
server goes, `http_admin` behind those of operators, and `http_dashboard` has the page for people, with its own routes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web

from valtronics_fast._core.wire import ERROR_NAMES, ErrorCode
from valtronics_fast.http_admin import AdminRoutes
from valtronics_fast.http_flow import Flow
from valtronics_fast.http_inflight import InFlight
from valtronics_fast.http_listener import HEADERS, BodyReader, HttpError, HttpListener, json_answer, send_continue
from valtronics_fast.http_openapi import document
from valtronics_fast.http_operations import OPERATIONS
from valtronics_fast.http_publish import BodyError, Intake, JsonBody, NdjsonBody
from valtronics_fast.metrics import exposition

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from valtronics_fast.config import HttpConfig
    from valtronics_fast.http_admin import Site
    from valtronics_fast.http_dashboard import Dashboard
    from valtronics_fast.http_guard import HttpGuard
    from valtronics_fast.producers.base import Outlet

    Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]

__all__ = ["HttpApi"]

PUBLISH_TIMEOUT = 5.0
"""Seconds that publish requests get to end when the server stops."""

SHUTDOWN_TIMEOUT = 1.0
"""Seconds that all other requests get behind that."""


class HttpApi:
    """Serves publish, health, statistics and administration over HTTP (docs/http-api.md).

    Args:
        config: `[http]`: where to listen, the API key, the largest JSON body in bytes (0: no limit), the rate.
        outlet: takes the data messages.
        guard: who may use it.
        site: what figures and orders are about.
        dashboard: the page for people, if the settings want one.

    Attributes:
        port: where it listens; after `start`.
    """

    def __init__(
        self,
        config: HttpConfig,
        *,
        outlet: Outlet,
        guard: HttpGuard,
        site: Site,
        dashboard: Dashboard | None = None,
    ) -> None:
        self.port = config.port
        self._config = config
        self._outlet = outlet
        self._guard = guard
        self._site = site
        self._flow = Flow(outlet, config.publish_rate)
        self._dashboard = dashboard if config.dashboard else None
        self._in_flight = InFlight()
        self._listener = HttpListener(self._dispatch)
        self._runner: web.ServerRunner | None = None
        self._routes = self._make_routes(AdminRoutes(guard, site, self._read_whole))
        self._pages = {} if self._dashboard is None else self._dashboard.routes

    def _make_routes(self, admin: AdminRoutes) -> dict[str, dict[str, Handler]]:
        """Return the handler of each operation, by path and method."""
        routes: dict[str, dict[str, Handler]] = {}
        for operation in OPERATIONS:
            handlers = admin if operation.needs == "admin" else self
            routes.setdefault(operation.path, {})[operation.method] = getattr(handlers, operation.name)
        return routes

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
        routes, pages = self._routes, self._pages
        methods = routes.get(path) or pages.get(path) or routes.get(f"{path.rpartition('/')[0]}/{{id}}")
        if methods is None:
            raise HttpError(404, "not_found", "there is nothing at this path")
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allow = ", ".join(name for method in methods for name in (["GET", "HEAD"] if method == "GET" else [method]))
            raise HttpError(405, "method_not_allowed", f"allowed here: {allow}", headers={"Allow": allow})
        return await handler(request)

    async def get_index(self, request: web.BaseRequest) -> web.Response:
        """Answer what there is: to a browser with the dashboard."""
        if self._dashboard is not None and self._dashboard.wanted(request):
            return self._dashboard.page(request)
        routes = [f"{method} {path}" for path, methods in self._routes.items() for method in methods]
        headers = HEADERS | {"Vary": "Accept"}
        return json_answer(200, {"name": "valtronics-fast", "routes": routes}, headers)

    async def get_openapi(self, _: web.BaseRequest) -> web.Response:
        """Answer the OpenAPI document."""
        return json_answer(200, document())

    async def get_live(self, _: web.BaseRequest) -> web.Response:
        """Answer that the process handles requests."""
        return json_answer(200, {"status": "ok"})

    async def get_ready(self, _: web.BaseRequest) -> web.Response:
        """Answer what the server says of itself: `ready` decides the status, and with `checks` the word."""
        health = await self._site.health()
        ready, checks = health["ready"], health["checks"]
        whole = isinstance(checks, dict) and all(state == "ok" for state in checks.values())
        word = "draining" if not ready else "ready" if whole else "degraded"
        return json_answer(200 if ready else 503, {"status": word, "checks": checks})

    async def get_stats(self, request: web.BaseRequest) -> web.Response:
        """Answer the figures."""
        await self._guard.authorise_reader(request)
        return json_answer(200, await self._site.stats())

    async def get_metrics(self, request: web.BaseRequest) -> web.Response:
        """Answer the metrics (docs/metrics.md) in the format that is asked for."""
        await self._guard.authorise_scraper(request)
        openmetrics = exposition.wants_openmetrics(request.headers.get("Accept", ""))
        body = exposition.render(await self._site.figures(), openmetrics=openmetrics)
        content_type = exposition.OPENMETRICS if openmetrics else exposition.TEXT
        return web.Response(body=body, headers={**HEADERS, "Content-Type": content_type})

    async def post_publish(self, request: web.BaseRequest) -> web.Response:
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


def _unsupported(message: str) -> HttpError:
    return HttpError(415, "unsupported_media_type", message)
