"""The HTTP side: publish, health and statistics on a port of their own (docs/http-api.md).

`http_listener` stands between the socket and these routes, `http_publish` behind the one that takes messages.
"""

from __future__ import annotations

import hmac
import logging
import math
import time
from typing import TYPE_CHECKING

from aiohttp import web

from valtronics_fast._core.scope import Grant, device_key
from valtronics_fast._core.wire import ERROR_NAMES, Channel, ErrorCode
from valtronics_fast.addresses import is_loopback
from valtronics_fast.errors import AuthError
from valtronics_fast.http_listener import HttpError, HttpListener, json_answer, read_body, send_continue
from valtronics_fast.http_publish import BodyError, Intake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from valtronics_fast.config import HttpConfig
    from valtronics_fast.producers.base import Publish

    Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]

__all__ = ["HttpApi"]

SHUTDOWN_TIMEOUT = 1.0
"""Seconds that running requests get to end when the server stops."""

MAX_DIGITS = 18
"""The most digits that the number of a connection may have."""

ALL_CHANNELS = sum(1 << channel for channel in Channel)

logger = logging.getLogger(__name__)


class HttpApi:
    """Serves publish, health and statistics over HTTP (docs/http-api.md).

    Args:
        config: `[http]`: where to listen, the API key, the largest JSON body in bytes (0: no limit).
        publish: hands one data message to the hub; returns the subscriptions matched; raises
            PublicationError.
        verify: what a bearer token permits; raises AuthError.
        stats: the figures of `/api/v1/stats`.
        explain: why a connection (its number) does or does not get a device's messages (None: the system's); None when
            there is no such connection.
        health: `{"ready": bool, "checks": {name: "ok" or what is wrong}}`.

    Attributes:
        port: where it listens; after `start`.
    """

    def __init__(
        self,
        config: HttpConfig,
        *,
        publish: Publish,
        verify: Callable[[object], Grant | Awaitable[Grant]],
        stats: Callable[[], dict[str, object]],
        explain: Callable[[int, int | str | None], dict[str, object] | None],
        health: Callable[[], Mapping[str, object]],
    ) -> None:
        self.port = config.port
        self._config = config
        self._publish = publish
        self._verify = verify
        self._stats = stats
        self._explain = explain
        self._health = health
        self._api_key = config.api_key.encode()
        self._api_key_grant = Grant("api-key", math.inf, publish=ALL_CHANNELS)
        self._open_to_all = not self._api_key and is_loopback(config.host)
        self._runner: web.ServerRunner | None = None
        self._routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": self._get_index},
            "/health/live": {"GET": self._get_live},
            "/health/ready": {"GET": self._get_ready},
            "/api/v1/stats": {"GET": self._get_stats},
            "/api/v1/explain": {"GET": self._get_explain},
            "/api/v1/publish": {"POST": self._post_publish},
        }

    async def start(self) -> None:
        """Listen. Raises OSError where that is not possible."""
        runner = web.ServerRunner(HttpListener(self._dispatch), shutdown_timeout=SHUTDOWN_TIMEOUT)
        await runner.setup()
        await web.TCPSite(runner, self._config.host, self._config.port).start()
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening, give running requests SHUTDOWN_TIMEOUT, close every connection. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _dispatch(self, request: web.BaseRequest) -> web.Response:
        methods = self._routes.get(request.path.rstrip("/") or "/")  # reverse proxies add a slash
        if methods is None:
            raise HttpError(404, "not_found", "there is nothing at this path")
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allow = ", ".join(["GET", "HEAD"] if "GET" in methods else methods)
            raise HttpError(405, "method_not_allowed", f"allowed here: {allow}", headers={"Allow": allow})
        return await handler(request)

    async def _get_index(self, _: web.BaseRequest) -> web.Response:
        routes = [f"{method} {path}" for path, methods in self._routes.items() for method in methods]
        return json_answer(200, {"name": "valtronics-fast", "routes": routes})

    async def _get_live(self, _: web.BaseRequest) -> web.Response:
        return json_answer(200, {"status": "ok"})

    async def _get_ready(self, _: web.BaseRequest) -> web.Response:
        """Answer what the server says of itself: `ready` decides the status, `checks` the word."""
        health = self._health()
        ready, checks = health["ready"], health["checks"]
        whole = isinstance(checks, dict) and all(state == "ok" for state in checks.values())
        word = "degraded" if not whole else "ready" if ready else "unavailable"
        return json_answer(200 if ready else 503, {"status": word, "checks": checks})

    async def _get_stats(self, request: web.BaseRequest) -> web.Response:
        if not self._open_to_all:
            await self._authorise(request)
        return json_answer(200, self._stats())

    async def _get_explain(self, request: web.BaseRequest) -> web.Response:
        """Answer why a connection gets what it gets. It tells of other users: a publisher's token is not enough."""
        if not self._open_to_all and await self._authorise(request) is not self._api_key_grant:
            raise HttpError(403, ERROR_NAMES[ErrorCode.FORBIDDEN], "the API key is needed")
        number, device = request.query.get("connection", ""), request.query.get("device")
        if not (number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS):
            raise _invalid("connection is the number of a connection, as the log has it")
        try:
            answer = self._explain(int(number), None if device is None else device_key(device))
        except ValueError as error:
            raise _invalid(str(error)) from None
        if answer is None:
            raise HttpError(404, "not_found", "there is no such connection (any more)")
        return json_answer(200, answer)

    async def _post_publish(self, request: web.BaseRequest) -> web.Response:
        """Publish the messages of a body. What the headers tell is judged before any of it is read."""
        intake = Intake(self._publish, await self._authorise(request))
        content_type = request.content_type
        if content_type not in {"application/json", "application/x-ndjson"}:
            raise _unsupported("the Content-Type is neither application/json nor application/x-ndjson")
        if (request.charset or "utf-8").lower() != "utf-8":
            raise _unsupported("the body's charset is not utf-8")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _unsupported("compressed bodies are not accepted")
        if content_type == "application/json":
            await self._take_json(request, intake)
        else:
            await self._take_ndjson(request, intake)
        nothing_accepted = intake.rejected_total and not intake.accepted
        return json_answer(422 if nothing_accepted else 200, intake.answer())

    async def _take_json(self, request: web.BaseRequest, intake: Intake) -> None:
        self._check_size(request.content_length or 0)
        await send_continue(request)
        body = bytearray()
        while data := await read_body(request):
            body += data
            self._check_size(len(body))
        try:
            await intake.json(body)
        except BodyError as error:
            raise HttpError(400, ERROR_NAMES[error.code], str(error)) from None

    def _check_size(self, size: int) -> None:
        limit = self._config.body_size
        if limit and size > limit:
            message = f"a JSON body may have {limit} bytes; send NDJSON instead"
            raise HttpError(413, ERROR_NAMES[ErrorCode.MESSAGE_TOO_LARGE], message, close=True)

    async def _take_ndjson(self, request: web.BaseRequest, intake: Intake) -> None:
        await send_continue(request)
        try:
            while data := await read_body(request):
                if intake.grant.expires_at <= time.time():  # a stream may outlive its token
                    intake.grant = await self._authorise(request)
                await intake.feed(data)
        except HttpError as error:
            error.more = intake.answer()
            raise
        await intake.finish()

    async def _authorise(self, request: web.BaseRequest) -> Grant:
        """Return what the sender may publish; the API key, where one is sent, goes before a token.

        Raises:
            HttpError: 401 without a valid credential, 403 with a token that may not publish at all.
        """
        key = request.headers.get("X-API-Key")
        if key is not None:
            # aiohttp decodes header values as UTF-8, with surrogates for what is none.
            if self._api_key and hmac.compare_digest(key.encode("utf-8", "surrogateescape"), self._api_key):
                return self._api_key_grant
            raise _unauthorised(request, "bad_api_key", ErrorCode.INVALID_TOKEN, "the API key is not valid")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            message = "X-API-Key or Authorization: Bearer is needed"
            raise _unauthorised(request, "no_credential", ErrorCode.NOT_AUTHENTICATED, message)
        try:
            grant = await self._verified(token.strip())
        except AuthError as error:
            raise _unauthorised(request, error.reason, error.code, str(error)) from None
        if not grant.publish:
            raise HttpError(403, ERROR_NAMES[ErrorCode.FORBIDDEN], "the token may not publish")
        return grant

    async def _verified(self, token: str) -> Grant:
        """Verify a token. The text of an unexpected exception may quote it, and is kept out of the log."""
        try:
            grant = self._verify(token)
            return grant if isinstance(grant, Grant) else await grant
        except AuthError:
            raise
        except Exception as error:  # noqa: BLE001 - raised on, without its text
            fault = RuntimeError(f"verifying a token failed: {type(error).__name__}")
            raise fault.with_traceback(error.__traceback__) from None


def _unauthorised(request: web.BaseRequest, reason: str, code: ErrorCode, message: str) -> HttpError:
    """Log a failed authentication, at most once a connection: the answer closes it."""
    logger.warning("HTTP authentication failed: %s, from %s", reason, request.remote)
    challenge = 'Bearer realm="valtronics-fast"'
    if code != ErrorCode.NOT_AUTHENTICATED:
        challenge += ', error="invalid_token"'  # RFC 6750, section 3.1
    headers = {"WWW-Authenticate": challenge}
    return HttpError(401, ERROR_NAMES[code], message, close=True, headers=headers)


def _invalid(message: str) -> HttpError:
    return HttpError(400, ERROR_NAMES[ErrorCode.INVALID_MESSAGE], message)


def _unsupported(message: str) -> HttpError:
    return HttpError(415, "unsupported_media_type", message)
