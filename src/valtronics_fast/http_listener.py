"""aiohttp's low-level HTTP server, made safe to expose: what stands between a socket and a route's handler.

Left to itself, aiohttp answers and logs a malformed request with its bytes, which may hold a credential;
names its version; unpacks compressed bodies before anyone is authorised; and takes connections without bound.
Here every answer is built by `json_answer`, and nothing that a client sent is echoed or logged.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from valtronics_fast import request_ids
from valtronics_fast._core.wire import ERROR_NAMES, ErrorCode
from valtronics_fast.logging import limited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["HEADERS", "BodyReader", "HttpError", "HttpListener", "json_answer", "send_continue"]

BODY_TIMEOUT = 30.0
"""Seconds without a byte of an announced body before the request is given up with 408."""

LAST_LOOK = 0.1
"""Seconds that what came while the process was stopped has to be read, before the body is given up."""

KEEPALIVE_TIMEOUT = 75.0
"""Seconds that a connection may stay without a complete request head; reverse proxies keep theirs 60."""

READ_SIZE = (1 << 12, 1 << 16)
"""Bytes of a body that are read at a time: at first, and at most."""

BUFFER = 1 << 14
"""Bytes of a body, or 16 chunks a KiB, that are parsed ahead of the reading; twice that at most."""

READ_TIME = 0.0005
"""Seconds that this may take without other work in between."""

LINGER_TIMEOUT = 5.0
"""Seconds that the rest of a refused body is read and dropped, so that no reset overtakes the answer."""

MAX_CONNECTIONS = 512
"""Open connections; one more is answered 503 and closed, so that this port can't use up the descriptors."""

HEADERS = {"Server": "valtronics-fast", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Headers of every answer."""

_SERVER_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: valtronics-fast\r\nCache-Control: no-store\r\n"
    b"X-Content-Type-Options: nosniff\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\n\r\n"
    b'{"error":"server_full","message":"too many open connections"}\n'
)

logger = limited(__name__)


def json_answer(status: int, payload: object, headers: Mapping[str, str] = HEADERS) -> web.Response:
    """Build an answer; the newline at its end is for people with curl."""
    body = orjson.dumps(payload, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


class HttpError(Exception):
    """A request that is answered with an error: `{"error": code, "message": ...}`.

    Args:
        status: the HTTP status.
        code: a word for programs.
        message: for people; it holds nothing that the client sent.
        close: end the connection after the answer.
        headers: more headers.

    Attributes:
        more: more members of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        close: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.more: dict[str, object] = {}
        self._status = status
        self._code = code
        self._close = close
        self._headers = HEADERS | (headers or {})
        super().__init__(message)

    def response(self) -> web.Response:
        """Build the answer."""
        payload = {"error": self._code, "message": str(self), **self.more}
        response = json_answer(self._status, payload, self._headers)
        if self._close:
            response.force_close()
        return response


class _Connection(web.RequestHandler):
    """aiohttp's connection, with its error answers and log lines replaced by ones that quote nothing."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the request
    ) -> web.StreamResponse:
        """Answer a request that can't be parsed (400); a handler's own exceptions never come this far."""
        if status == 400:
            logger.debug("malformed HTTP request from %s (%s)", request.remote, type(exc).__name__)
            return HttpError(400, "bad_request", "the request is not valid HTTP", close=True).response()
        logger.error("HTTP request from %s failed (%s)", request.remote, type(exc).__name__)
        return HttpError(500, ERROR_NAMES[ErrorCode.INTERNAL], "internal error", close=True).response()

    def log_exception(self, *args: object, exc_info: object = None, **_: object) -> None:  # noqa: ARG002
        """Note that a connection broke; the exception's text may quote what the client sent."""
        logger.debug("HTTP connection broke off (%s)", type(exc_info).__name__)


class HttpListener(web.Server):
    """Makes connections, bounds their number, and turns a handler's exceptions into answers.

    Args:
        handler: answers one request, or raises HttpError. Anything else that it raises is answered 500
            `internal` and logged with its traceback.

    Attributes:
        leaving: every connection is closed after its next answer, so that its client opens one elsewhere.
    """

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.Response]]) -> None:
        self._handler = handler
        self.leaving = False
        super().__init__(
            self._answer,
            access_log=None,
            auto_decompress=False,  # a few bytes could become megabytes before anyone is authorised
            keepalive_timeout=KEEPALIVE_TIMEOUT,
            lingering_time=LINGER_TIMEOUT,
            read_bufsize=BUFFER,
        )

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a new connection; the event loop calls it."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Count a connection in, or turn it away."""
        super().connection_made(handler, transport)
        if len(self._connections) > MAX_CONNECTIONS:
            transport.write(_SERVER_FULL)
            handler.force_close()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        request_id = request_ids.clean(request.headers.get(request_ids.HEADER, ""))
        with request_ids.handling(request_id):
            try:
                response = await self._handler(request)
            except HttpError as error:
                response = error.response()
            except Exception:
                logger.exception("an HTTP request failed")
                response = HttpError(500, ERROR_NAMES[ErrorCode.INTERNAL], "internal error").response()
        if request_id:
            response.headers[request_ids.HEADER] = request_id
        if self.leaving:
            response.force_close()
        return response


async def send_continue(request: web.BaseRequest) -> None:
    """Ask for the body where the client waits to be asked (RFC 9110, section 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


class BodyReader:
    """Reads a request's body as it arrives.

    How much at a time depends on how long that takes: while a body is read what waits behind it is parsed, and one in
    chunks of a byte costs a thousand times as much as one that comes in large pieces.

    Args:
        request: whose body; its head has been read.
    """

    def __init__(self, request: web.BaseRequest) -> None:
        self._content = request.content
        self._size = READ_SIZE[0]

    async def read(self) -> bytes:
        """Return the next bytes, empty at the end.

        Raises:
            HttpError: 408 when nothing came for BODY_TIMEOUT; 400 when the body broke off.
        """
        try:
            try:
                return await self._read_within(BODY_TIMEOUT)
            except TimeoutError:  # timers run before sockets when a process goes on that was stopped
                return await self._read_within(LAST_LOOK)
        except TimeoutError:
            raise HttpError(408, "request_timeout", "the body did not go on", close=True) from None
        except (OSError, HttpProcessingError, web.RequestPayloadError):
            raise HttpError(400, "bad_request", "the body broke off", close=True) from None

    async def _read_within(self, seconds: float) -> bytes:
        began = time.monotonic()
        async with asyncio.timeout(seconds):
            data = await self._content.read(self._size)
        if len(data) == self._size:
            took = time.monotonic() - began
            if took < READ_TIME:
                self._size = min(2 * self._size, READ_SIZE[1])
            elif took > 2 * READ_TIME:  # or it had to wait: then the next one is faster
                self._size = max(self._size // 2, READ_SIZE[0])
        return data
