"""How a connection ends that does not become a WebSocket: the registry of reasons, and the HTTP answer."""

from __future__ import annotations

import math
from enum import Enum, unique
from http import HTTPStatus
from typing import TYPE_CHECKING

from valtronics_fast.errors import ValtronicsError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Reason", "Refusal", "render"]


@unique
class Reason(Enum):
    """Every way for a connection to end before the upgrade: status, text for people, own headers.

    The one registry of them; `label` is what metrics and logs show. A status of 0: closed without an answer.
    """

    MALFORMED = 400, "the request is malformed"
    BAD_TARGET = 400, "the request target is not a valid path"
    BAD_HOST = 400, "exactly one Host header is required"
    TWO_ORIGINS = 400, "more than one Origin header"
    BAD_KEY = 400, "exactly one Sec-WebSocket-Key of 16 bytes in base64 is required"
    TOKEN_CONFLICT = 400, "more than one token was sent"
    INVALID_TOKEN = 401, "the token is not valid", ("WWW-Authenticate", "Bearer")
    TOKEN_EXPIRED = 401, "the token has expired", ("WWW-Authenticate", "Bearer")
    TOKEN_IN_QUERY = 401, "a token in the query string is not accepted", ("WWW-Authenticate", "Bearer")
    ORIGIN = 403, "this origin is not allowed"
    NO_ORIGIN = 403, "the Origin header is required"
    FORBIDDEN = 403, "the token does not permit this endpoint"
    NOT_FOUND = 404, "there is nothing at this path"
    METHOD = 405, "only GET is supported", ("Allow", "GET")
    TIMEOUT = 408, "the request did not arrive in time"
    BODY = 413, "a request body is not supported"
    NOT_UPGRADE = 426, "this is a WebSocket endpoint", ("Upgrade", "websocket")
    WEBSOCKET_VERSION = (
        426,
        "only WebSocket version 13 is supported",
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
    )
    ADDRESS_RATE = 429, "too many new connections from this address"
    BANNED = 429, "this address is banned for a while"
    USER_CONNECTIONS = 429, "too many connections of this user"
    HEAD_TOO_LARGE = 431, "the request header is too large"
    INTERNAL = 500, "internal error"
    SERVER_FULL = 503, "the server is full"
    MEMORY = 503, "the server is short of memory"
    SHUTTING_DOWN = 503, "the server is shutting down"
    AUTH_TIMEOUT = 503, "the token could not be checked in time"
    HTTP_VERSION = 505, "only HTTP/1.1 is supported"
    IDLE = 0, "nothing was sent in time"
    GONE = 0, "the peer went away"
    UNTRUSTED_PROXY = 0, "only trusted proxies may connect"
    PROXY_HEADER = 0, "the PROXY header is malformed"
    PROXY_TIMEOUT = 0, "the PROXY header did not arrive in time"
    TLS_FAILED = 0, "the TLS handshake failed"
    TLS_TIMEOUT = 0, "the TLS handshake was not done in time"
    TLS_RATE = 0, "too many TLS handshakes from this address"
    CLIENT_CERTIFICATE = 0, "the client's certificate is missing or not valid"
    EVICTED = 0, "too many connections are waiting; the oldest one went"

    def __init__(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        self.status = status
        self.text = text
        self.headers = headers
        self.label = self.name.lower()


class Refusal(ValtronicsError):  # noqa: N818 - an answer, not a fault of the program
    """The handshake is answered with an HTTP error.

    Args:
        reason: what is told, counted and logged.
        retry_after: seconds until another attempt makes sense; rounded up.

    Attributes:
        headers: the header fields of the answer beside those of every answer.
    """

    def __init__(self, reason: Reason, *, retry_after: float | None = None) -> None:
        self.reason = reason
        self.headers = reason.headers
        if retry_after is not None:
            self.headers += (("Retry-After", str(max(1, math.ceil(retry_after)))),)
        super().__init__(reason.text)


def render(
    status: int,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    *,
    content_type: str = "text/plain; charset=utf-8",
    head_only: bool = False,
) -> bytes:
    """Return an HTTP answer after which the connection is closed.

    Args:
        status: the HTTP status code.
        headers: header fields beside those of every answer.
        body: the content.
        content_type: its media type.
        head_only: say how long the content is but leave it out: the answer to HEAD (RFC 9110, section 9.3.2).
    """
    fields = dict(headers)
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        # A sender of Upgrade names it here too (RFC 9110, section 7.8).
        "Connection: close, Upgrade" if "Upgrade" in fields else "Connection: close",
        *(f"{name}: {value}" for name, value in fields.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (b"" if head_only else body)
