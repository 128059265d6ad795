"""A client of the WebSocket API that stays connected: what `subscribe` runs on.

docs/protocol.md describes what it speaks. No text that it makes holds the token, or the parts of a URL that may hold
one.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from http.client import responses
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson
from yarl import URL

from valtronics_fast._core.wire import CLOSE_REASONS, ERROR_NAMES, ERROR_TEXTS, MESSAGE_TYPES, CloseCode
from valtronics_fast.display import note
from valtronics_fast.errors import ValtronicsError
from valtronics_fast.logging import escape

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

    Message = dict[str, Any]
    Subscriptions = Mapping[str, Mapping[str, Sequence[str]]]

__all__ = ["SubscriberError", "messages"]

TIMEOUT: Final = 30.0
"""Seconds from the start of a connection until it is authenticated."""
HEARTBEAT: Final = 30.0
"""Seconds of silence after which the server is pinged; half of it without an answer, and the connection is lost."""
CLOSE_TIMEOUT: Final = 2.0
"""Seconds that the server has to say goodbye."""
MAX_MESSAGE: Final = 16 << 20
"""Bytes of a message; more than a server takes in, as long as it has the default `[http] body_size`."""

# Pauses between attempts double from the first to the last; each is cut by up to a half, at random, so that clients
# that lost the same server do not return as one.
FIRST_PAUSE: Final = 0.5
LAST_PAUSE: Final = 30.0
# A connection that lasted this long starts the pauses anew.
STABLE: Final = 10.0
# The longest Retry-After that is heeded.
MAX_RETRY_AFTER: Final = 300.0

# What was sent broke the rules of RFC 6455, and would break them again.
_VIOLATIONS = {
    CloseCode.CLOSE_PROTOCOL_VIOLATION,
    CloseCode.CLOSE_UNSUPPORTED_DATA,
    CloseCode.CLOSE_INVALID_UTF8,
    CloseCode.CLOSE_TOO_BIG,
}
_DATA = frozenset(MESSAGE_TYPES.values())
_ERROR_TEXTS = {name: ERROR_TEXTS[code] for code, name in ERROR_NAMES.items() if code in ERROR_TEXTS}


class SubscriberError(ValtronicsError):
    """Coming back makes no sense: the token, the URL or what was asked for is at fault. The text says why."""


class _LostError(Exception):
    """There is no connection (any more), and another attempt makes sense.

    Attributes:
        unreachable: nothing answered.
        at_once: the server wants the client back without a pause.
        retry_after: seconds for which it does not want it back.
    """

    def __init__(
        self, reason: str, *, unreachable: bool = False, at_once: bool = False, retry_after: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.unreachable = unreachable
        self.at_once = at_once
        self.retry_after = retry_after


async def messages(
    url: str, token: str, subscriptions: Subscriptions, tell: Callable[[str], None]
) -> AsyncGenerator[Message]:
    """Yield data messages (protocol.md, section 3) for ever, over as many connections as it takes.

    Args:
        url: of the server, with the path: ws://127.0.0.1:8000/ws.
        token: a JWT.
        subscriptions: what to subscribe to: for each channel the values of its filters.
        tell: takes what people may want to know meanwhile, one line at a time.

    Raises:
        SubscriberError: nothing answers at the first attempt, or coming back makes no sense (protocol.md, section 5).

    To close the connection, close the generator: contextlib.aclosing does.
    """
    try:
        target = URL(url)
    except ValueError:
        raise SubscriberError("the URL is not valid") from None
    pause, reached = FIRST_PAUSE, False
    async with aiohttp.ClientSession() as session:
        while True:
            began = time.monotonic()
            try:
                async with _connected(session, target) as socket:
                    user = await _authenticate(socket, token)
                    reached = True
                    tell(f"connected to {_shown(target)} as {user}")
                    async with aclosing(_subscribed(socket, subscriptions, tell)) as data:
                        async for message in data:
                            yield message
            except _LostError as error:
                lost = error
            if lost.unreachable and not reached:
                raise SubscriberError(str(lost))
            if time.monotonic() - began >= STABLE:
                pause = FIRST_PAUSE
            seconds = lost.retry_after + random.uniform(pause / 2, pause)  # noqa: S311 - no secret depends on it
            if lost.at_once and pause == FIRST_PAUSE:  # two such connections in a row need a pause between
                seconds = 0.0
            pause = min(pause * 2, LAST_PAUSE)
            tell(f"{lost}; trying again {f'in {seconds:.1f} s' if seconds else 'at once'}")
            await asyncio.sleep(seconds)


@asynccontextmanager
async def _connected(session: aiohttp.ClientSession, url: URL) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Open a connection, and close it afterwards."""
    try:
        async with asyncio.timeout(TIMEOUT):
            socket = await session.ws_connect(
                url,
                heartbeat=HEARTBEAT,
                max_msg_size=MAX_MESSAGE,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
            )
    except aiohttp.WSServerHandshakeError as error:
        raise _refusal(url, error) from None
    except (aiohttp.InvalidURL, UnicodeError):  # the latter for what is no host name
        raise SubscriberError("the URL is not valid") from None
    except (aiohttp.ClientError, OSError) as error:
        raise _LostError(f"cannot connect to {_shown(url)}: {_reason(error)}", unreachable=True) from None
    async with socket:
        yield socket


def _refusal(url: URL, error: aiohttp.WSServerHandshakeError) -> SubscriberError | _LostError:
    """Return what an HTTP answer instead of a WebSocket means."""
    status = error.status
    hint = "; the path of the API is /ws" if status == HTTPStatus.NOT_FOUND else ""
    text = f"{_shown(url)} answers {status} {responses.get(status, '')}".rstrip() + hint
    if status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS:
        return SubscriberError(text)
    wait = error.headers.get("Retry-After", "") if error.headers else ""
    return _LostError(text, retry_after=min(float(wait), MAX_RETRY_AFTER) if wait.isdecimal() else 0.0)


def _reason(error: Exception) -> str:
    """Say why a connection could not be made; never with the URL, which the library's own texts may hold."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    if isinstance(cause, TimeoutError) and not cause.errno:
        return "no answer"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return "TLS failed"
    if isinstance(cause, OSError) and cause.errno:  # negative: of the resolver, which has texts of its own
        return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
    return "the answer is not that of a WebSocket server"


async def _authenticate(socket: aiohttp.ClientWebSocketResponse, token: str) -> str:
    """Authenticate in band (protocol.md, section 2) and return the user's name, escaped."""
    await _send(socket, type="auth", token=token)
    try:
        async with asyncio.timeout(TIMEOUT):
            answer = await _receive(socket)
    except TimeoutError:
        raise _LostError("no answer to the authentication") from None
    if answer.get("type") == "auth_response" and answer.get("success") is True:
        return escape(str(answer.get("user")))
    error = answer.get("error")
    if not isinstance(error, str) or error not in _ERROR_TEXTS:  # whatever it is may repeat the token
        raise SubscriberError("this is no server of this API: it does not answer an authentication")
    raise SubscriberError(f"not authenticated: {error} ({_ERROR_TEXTS[error]})")


async def _subscribed(
    socket: aiohttp.ClientWebSocketResponse, subscriptions: Subscriptions, tell: Callable[[str], None]
) -> AsyncGenerator[Message]:
    """Subscribe, and yield the data messages that come; all else that comes is told.

    The commands are answered in order, so that the first one without an answer is what an error belongs to that has
    no id: that of a message which is too large, for one.
    """
    for channel, filters in subscriptions.items():
        await _send(socket, type="subscribe", id=channel, channel=channel, filters=filters)
    waiting, failed = list(subscriptions), []
    while True:
        message = await _receive(socket)
        kind = message.get("type")
        if kind in _DATA:
            yield message
            continue
        if waiting and (kind == "subscribe_response" or (kind == "error" and message.get("id") in (waiting[0], None))):
            channel = waiting.pop(0)
            if kind == "error":
                failed.append(note({"channel": channel, **message}))
                if len(failed) == len(subscriptions):
                    raise SubscriberError("; ".join(failed))
                tell(failed[-1])
                continue
        if kind != "subscribe_response" or message.get("denied"):
            tell(note(message))


async def _send(socket: aiohttp.ClientWebSocketResponse, **command: object) -> None:
    """Send a command."""
    try:
        await socket.send_str(orjson.dumps(command).decode())
    except (aiohttp.ClientError, OSError):
        raise _LostError("the connection was lost") from None


async def _receive(socket: aiohttp.ClientWebSocketResponse) -> Message:
    """Return the next message."""
    try:
        frame = await socket.receive()
    except (aiohttp.ClientError, OSError):
        raise _LostError("the connection was lost") from None
    if frame.type is aiohttp.WSMsgType.CLOSE:
        raise _farewell(frame.data or CloseCode.CLOSE_NO_STATUS, frame.extra or "")
    if frame.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
        raise _LostError("the connection was lost")
    try:
        message = orjson.loads(frame.data)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict):
        raise SubscriberError("this is no server of this API: a message is not a JSON object")
    return message


def _farewell(code: int, text: str) -> SubscriberError | _LostError:
    """Return what a close code means (protocol.md, section 5)."""
    reason = f"the server closed the connection: {code} {CLOSE_REASONS.get(code) or escape(text)}".rstrip()
    if 4000 <= code < 4100 or code in _VIOLATIONS:
        return SubscriberError(reason)
    return _LostError(reason, at_once=4200 <= code < 4300)


def _shown(url: URL) -> str:
    """Write a URL without user, password, query and fragment."""
    return escape(str(url.with_user(None).with_query(None).with_fragment(None)))
