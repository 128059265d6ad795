"""The opening handshake as a pure function of its bytes (RFC 9112; RFC 6455, section 4.2).

Owns no socket and no clock; `front` moves the bytes. The judgements come in a fixed order, and the first one
that fails is the answer: syntax, path, method, body, upgrade, version, key, origin, where a token stands. The
gate of the server goes on from there (rates, room, the token itself).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from valtronics_fast._core.wire import Channel
from valtronics_fast.extensions import Deflate, negotiate_deflate
from valtronics_fast.refusals import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from valtronics_fast._core.scope import Grant
    from valtronics_fast.origins import Origins

__all__ = [
    "HEALTH_PATH",
    "MAX_HEAD",
    "Policy",
    "Request",
    "Upgrade",
    "check_request",
    "check_scope",
    "negotiate",
    "parse_request",
]

MAX_HEAD: Final = 16 * 1024  # bytes of a request head, without the empty line
MAX_HEADERS: Final = 128

HEALTH_PATH: Final = "/health"
ENDPOINTS: Final[Mapping[str, Channel | None]] = {
    "/ws": None,
    "/ws/telemetry": Channel.TELEMETRY,
    "/ws/alerts": Channel.ALERTS,
    "/ws/system": Channel.SYSTEM,
    "/ws/devices": Channel.DEVICES,
}
MSGPACK_SUBPROTOCOL: Final = "valtronics.v1.msgpack"
SUBPROTOCOLS: Final = frozenset(["valtronics.v1", MSGPACK_SUBPROTOCOL])
BEARER_PREFIX: Final = "bearer."  # the token follows; never echoed

_TCHARS = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TCHARS}) ([^ ]+) HTTP/([0-9]\.[0-9])")
_TARGET = re.compile(r"/[\x21\x22\x24-\x7e]*")  # origin form; visible ASCII but "#"
_FIELD = re.compile(rf"({_TCHARS}):([\t\x20-\x7e\x80-\xff]*)")
_DIGITS = re.compile(r"[0-9]+")
_KEY = re.compile(r"[0-9A-Za-z+/]{22}==")  # 16 bytes in base64


@dataclass(frozen=True, slots=True)
class Request:
    """A well-formed request head. Its repr shows nothing that may hold a secret.

    Attributes:
        path: the target before "?", as it was sent (visible ASCII, not decoded).
        query: the target after "?".
        headers: lower-case names and their values in the order of arrival, decoded from Latin-1.
    """

    method: str
    path: str
    query: str = field(repr=False)
    headers: Mapping[str, Sequence[str]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A good WebSocket request, and what was read out of it.

    Attributes:
        channel: the one channel of the endpoint; None: every channel.
        subscribe: whether such an endpoint subscribes by itself (protocol.md, section 1).
        key: the Sec-WebSocket-Key.
        subprotocol: the one to be answered; None: none.
        msgpack: whether that is the one of MessagePack.
        deflate: the compression that is accepted; None: none.
        token: the token sent with the handshake; None: none was sent.
    """

    request: Request
    channel: Channel | None
    subscribe: bool
    key: str
    subprotocol: str | None
    msgpack: bool
    deflate: Deflate | None
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that a handshake is judged by.

    Attributes:
        origins: `security.origins`.
        query_token: `auth.query_token`: whether `?token=` is accepted.
        compression: `server.compression`: whether messages may be compressed.
        require_origin: `security.require_origin`: whether the header Origin must be there.
    """

    origins: Origins
    query_token: bool = False
    compression: bool = False
    require_origin: bool = False


def parse_request(head: bytes) -> Request:
    """Parse a request head, strictly (RFC 9112).

    Args:
        head: the bytes before the empty line.

    Raises:
        Refusal: it is malformed, of another HTTP version, or over MAX_HEAD or MAX_HEADERS.
    """
    lines = head.decode("latin-1").split("\r\n")
    if len(head) > MAX_HEAD or len(lines) - 1 > MAX_HEADERS:
        raise Refusal(Reason.HEAD_TOO_LARGE)
    line = _REQUEST_LINE.fullmatch(lines[0])
    if line is None:
        raise Refusal(Reason.MALFORMED)
    if line[3] != "1.1":
        raise Refusal(Reason.HTTP_VERSION)
    if _TARGET.fullmatch(line[2]) is None:
        raise Refusal(Reason.BAD_TARGET)
    headers = _parse_headers(lines[1:])
    if len(headers.get("host", ())) != 1:
        raise Refusal(Reason.BAD_HOST)
    if len(headers.get("origin", ())) > 1:
        raise Refusal(Reason.TWO_ORIGINS)
    path, _, query = line[2].partition("?")
    return Request(line[1], path, query, headers)


def check_request(request: Request) -> None:
    """Judge what holds for every endpoint, `/health` too: path, method, no body.

    Raises:
        Refusal: one of them is wrong.
    """
    if request.path != HEALTH_PATH and request.path.removesuffix("/") not in ENDPOINTS:
        raise Refusal(Reason.NOT_FOUND)
    if request.method != "GET":
        raise Refusal(Reason.METHOD)
    headers = request.headers
    if "transfer-encoding" in headers or any(size.strip("0") for size in headers.get("content-length", ())):
        raise Refusal(Reason.BODY)


def negotiate(request: Request, policy: Policy) -> Upgrade:
    """Judge a request that `check_request` passed as a WebSocket handshake (RFC 6455, section 4.2.1).

    Raises:
        Refusal: it is none, or not an acceptable one.
    """
    headers = request.headers
    if "websocket" not in _words(headers, "upgrade") or "upgrade" not in _words(headers, "connection"):
        raise Refusal(Reason.NOT_UPGRADE)
    if headers.get("sec-websocket-version") != ["13"]:
        raise Refusal(Reason.WEBSOCKET_VERSION)
    keys = headers.get("sec-websocket-key", ())
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        raise Refusal(Reason.BAD_KEY)
    if policy.require_origin and "origin" not in headers:
        raise Refusal(Reason.NO_ORIGIN)
    if not all(policy.origins.allow(origin) for origin in headers.get("origin", ())):
        raise Refusal(Reason.ORIGIN)
    offered = _elements(headers, "sec-websocket-protocol")
    subprotocol = next((name for name in offered if name in SUBPROTOCOLS), None)
    extensions = headers.get("sec-websocket-extensions", ()) if policy.compression else ()
    query = parse_qsl(request.query, keep_blank_values=True) if request.query else []
    return Upgrade(
        request=request,
        channel=ENDPOINTS[request.path.removesuffix("/")],
        subscribe=("subscribe", "none") not in query,
        key=keys[0],
        subprotocol=subprotocol,
        msgpack=subprotocol == MSGPACK_SUBPROTOCOL,
        deflate=negotiate_deflate(extensions) if extensions else None,
        token=_find_token(headers, offered, [value for name, value in query if name == "token"], policy),
    )


def check_scope(upgrade: Upgrade, grant: Grant) -> None:
    """Judge whether a token permits the endpoint.

    Raises:
        Refusal: it is one channel's, and the token does not permit that channel.
    """
    if upgrade.channel is not None and not grant.channels >> upgrade.channel & 1:
        raise Refusal(Reason.FORBIDDEN)


def _parse_headers(lines: Sequence[str]) -> dict[str, list[str]]:
    """Return the header fields; a folded line has a blank before its name and is refused with the rest."""
    headers: dict[str, list[str]] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Refusal(Reason.MALFORMED)
        headers.setdefault(field[1].lower(), []).append(field[2].strip(" \t"))
    if not all(_DIGITS.fullmatch(size) for size in headers.get("content-length", ())):
        raise Refusal(Reason.MALFORMED)
    return headers


def _elements(headers: Mapping[str, Sequence[str]], name: str) -> list[str]:
    """Return the elements of a header that is a list; several lines of it are one list (RFC 9110, section 5.3)."""
    values = headers.get(name)
    return [element.strip(" \t") for element in ",".join(values).split(",")] if values else []


def _words(headers: Mapping[str, Sequence[str]], name: str) -> list[str]:
    """Return the elements of a header that is a list of case-insensitive words."""
    return [element.lower() for element in _elements(headers, name)]


def _find_token(
    headers: Mapping[str, Sequence[str]], offered: Sequence[str], in_query: Sequence[str], policy: Policy
) -> str | None:
    """Return the one token of the handshake; None when it carries none.

    Another scheme than Bearer is not ours (a reverse proxy may have asked for it) and carries none.
    """
    if in_query and not policy.query_token:
        raise Refusal(Reason.TOKEN_IN_QUERY)
    tokens = set(in_query)
    tokens.update(name.removeprefix(BEARER_PREFIX) for name in offered if name.startswith(BEARER_PREFIX))
    for value in headers.get("authorization", ()):
        scheme, _, credentials = value.partition(" ")
        if scheme.lower() == "bearer":
            tokens.add(credentials.strip(" "))
    if len(tokens) > 1:
        raise Refusal(Reason.TOKEN_CONFLICT)
    return next(iter(tokens), None)
