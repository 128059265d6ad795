"""A client of a load test: it connects, authenticates, subscribes, and counts what comes (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import orjson
import picows

from valtronics_fast._core.wire import CLOSE_REASONS, MESSAGE_TYPES, Channel, CloseCode
from valtronics_fast.commands.parsing import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from valtronics_fast.load.tally import Tally

__all__ = ["TIMEOUT", "Client", "Decoder", "connect"]

TIMEOUT = 30.0
"""Seconds that a client has to be connected, authenticated and subscribed."""

MAX_MESSAGE = 16 << 20
"""Bytes of a message."""

_READ_BUFFER = 4096
_TELEMETRY = MESSAGE_TYPES[Channel.TELEMETRY]
_DATA = frozenset(MESSAGE_TYPES.values())
_MAX_WORD = 60


class Decoder:
    """Decodes messages, and remembers the last: the same one comes to many clients one after the other."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._text = b""
        self._found: tuple[str, int | None, dict[str, Any]] = ("", None, {})

    def decode(self, text: bytes) -> tuple[str, int | None, dict[str, Any]]:
        """Return a message's type, when it was due (None: it is somebody else's), and all of it."""
        if text == self._text:
            return self._found
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict):
            message = {}
        kind = message.get("type")
        self._text, self._found = text, (kind if isinstance(kind, str) else "", self._due(message), message)
        return self._found

    def _due(self, message: Mapping[str, Any]) -> int | None:
        metrics = message.get("telemetry")
        mark = metrics.get(self._metric) if isinstance(metrics, dict) else None
        value = mark.get("value") if isinstance(mark, dict) else mark
        return value if isinstance(value, int) else None


class Client(picows.WSListener):
    """One connection.

    Attributes:
        ready: done when it is subscribed, or has failed.
        failed: whether it has.
    """

    def __init__(self, tally: Tally, decoder: Decoder, token: str, subscriptions: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failed = False
        self._tally = tally
        self._token = token
        self._subscriptions = subscriptions
        self._transport: picows.WSTransport | None = None
        self._parts: list[bytes] = []
        self._asked = 0.0
        self._decoder = decoder

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Authenticate."""
        self._transport = transport
        self._asked = time.monotonic()
        self._say(type="auth", token=self._token)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Take a frame in."""
        if frame.msg_type == picows.WSMsgType.CLOSE:
            code = _number(frame.get_close_code())
            self.fail(f"closed {code} {CLOSE_REASONS.get(code, '')}".rstrip())
            transport.send_close(picows.WSCloseCode.OK)
            transport.disconnect()
            return
        if frame.msg_type in {picows.WSMsgType.PING, picows.WSMsgType.PONG}:
            return
        text = frame.get_payload_as_bytes()
        if not frame.fin or self._parts:
            self._parts.append(text)
            if not frame.fin:
                return
            text, self._parts = b"".join(self._parts), []
        kind, due, message = self._decoder.decode(text)
        if kind in _DATA:
            self._tally.arrived(due, len(text))
        else:
            self._answered(kind, message)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """Note that the connection is gone, if nothing else has told so before."""
        del transport
        self.fail("closed without a reason")

    def close(self) -> None:
        """End the connection, when there is one."""
        if self._transport is not None:
            self._transport.send_close(picows.WSCloseCode.OK)
            self._transport.disconnect()

    def fail(self, what: str) -> None:
        """Count an error that ends this client; only the first."""
        if not self.failed and not self._tally.ending:
            self.failed = True
            self._tally.fail(what)
            if self.ready.done():
                self._tally.ready -= 1
            else:
                self.ready.set_result(None)

    def _answered(self, kind: str, message: Mapping[str, Any]) -> None:
        """Take an answer in. Commands are handled in order: the pong behind the subscriptions says that they are."""
        if kind == "auth_response" and message.get("success") is True:
            self._tally.authenticating.record(time.monotonic() - self._asked)
            for subscription in self._subscriptions:
                self._say(type="subscribe", **subscription)
            self._say(type="ping")
        elif kind == "auth_response":
            self.fail(f"not authenticated: {_word(message.get('error'))}")
            self.close()
        elif kind == "pong" and not self.ready.done():
            self._tally.ready += 1
            self.ready.set_result(None)
        elif kind == "error":
            self._tally.fail(f"error {_word(message.get('error'))}")

    def _say(self, **message: object) -> None:
        if self._transport is not None:
            self._transport.send(picows.WSMsgType.TEXT, orjson.dumps(message))


def _number(code: picows.WSCloseCode) -> int:
    """Return a close code; 1005 in place of the 0 that picows has for none."""
    return code.value or int(CloseCode.CLOSE_NO_STATUS)


def _word(value: object) -> str:
    return printable(str(value)[:_MAX_WORD])


async def connect(client: Client, url: str, tally: Tally) -> None:
    """Connect a client, and return when it is ready or has failed."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT):
            await picows.ws_connect(
                lambda: client,
                url,
                websocket_handshake_timeout=TIMEOUT,
                max_frame_size=MAX_MESSAGE,
                max_redirects=0,
                read_buffer_init_size=_READ_BUFFER,
                use_aiofastnet=False,
            )
            tally.connecting.record(time.monotonic() - began)
            await client.ready
    except TimeoutError:
        client.fail(f"not ready within {TIMEOUT:g} s")
        client.close()
    except picows.WSInvalidStatusError as error:
        client.fail(f"HTTP {int(error.response.status) if error.response else 'refused'}")
    except picows.WSError:
        client.fail("no WebSocket handshake")
    except OSError as error:
        client.fail(os.strerror(error.errno) if error.errno and error.errno > 0 else "no such host")
