"""A client as docs/protocol.md wishes it: it comes back as the close code says, and asks for what it missed.

Plain frames on an event loop's protocol, so that a process can have a thousand of them.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from core.wire_client import CLOSE, HANDSHAKE, PING, PONG, TEXT, frame, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE = 10.0
"""Seconds in which a connection must be subscribed, or else the client tries another server."""

FIRST_DELAY, LONGEST_DELAY = 0.1, 3.0
"""Seconds before the first attempt after an unexpected end, and at most; each is shortened by chance."""

SPREAD = 0.5
"""Seconds over which those return who may return at once."""


class Client:
    """One of them: a channel, and some of its devices or all.

    Args:
        ports: of the servers, on 127.0.0.1, as behind a load balancer.
        token: who it is.
        channel: what it subscribes to.
        devices: of these; None: of all.
        on_message: gets each data message.
        on_gap: is called when the server says that something may be missing.
        on_return: is called when a subscription after the first one is answered.

    Attributes:
        subscribed: whether it is, at present.
        ended: why it has given up; "": it has not.
        returns: how often it has come back, by reason.
        answers: to its subscriptions, by what they said; and how often it was told of a gap.
    """

    def __init__(
        self,
        ports: Sequence[int],
        token: str,
        channel: str,
        devices: Sequence[int | str] | None,
        *,
        on_message: Callable[[dict[str, Any]], None],
        on_gap: Callable[[], None],
        on_return: Callable[[], None],
    ) -> None:
        self.subscribed = False
        self.ended = ""
        self.returns: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self._ports = ports
        self._auth = text({"type": "auth", "token": token})
        self._subscribe: dict[str, object] = {"type": "subscribe", "id": 1, "channel": channel, "recover": True}
        if devices is not None:
            self._subscribe["device_id"] = list(devices)
        self._on_message = on_message
        self._on_gap = on_gap
        self._on_return = on_return
        self._position: dict[str, Any] | None = None
        self._delay = FIRST_DELAY
        self._port = 0
        self._connection: _Connection | None = None
        self._leaving = False
        self._work: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Connect, and stay connected until `leave`."""
        self._work = asyncio.ensure_future(self._connect())

    def leave(self) -> None:
        """End."""
        self._leaving = True
        for handle in (self._work, self._timer):
            if handle is not None:
                handle.cancel()
        if self._connection is not None:
            self._connection.abort()

    def cut(self) -> None:
        """Lose the connection, as in a tunnel."""
        if self._connection is not None:
            self._connection.abort()

    async def _connect(self) -> None:
        """Open a connection to one of the servers, another one than the last time if there is one."""
        others = [port for port in self._ports if port != self._port] or self._ports
        self._port = random.choice(others)
        loop = asyncio.get_running_loop()
        self._connection = connection = _Connection(self)
        try:
            async with asyncio.timeout(PATIENCE):
                await loop.create_connection(lambda: connection, "127.0.0.1", self._port, family=socket.AF_INET)
        except (OSError, TimeoutError):
            self.lost(None)
            return
        self._timer = loop.call_later(PATIENCE, self._check, connection)

    def _check(self, connection: _Connection) -> None:
        if connection is self._connection and not self.subscribed:
            connection.abort()

    def opening(self) -> bytes:
        """Return what it says first."""
        since = {} if self._position is None else {"since": self._position}
        return HANDSHAKE.format("/ws").encode() + self._auth + text(self._subscribe | since)

    def take(self, message: dict[str, Any]) -> None:
        """Take a message of the server."""
        kind = message["type"]
        if kind in {"telemetry_update", "alert"}:
            if "offset" in message and self._position is not None:
                self._position["offset"] = message["offset"]
            self._on_message(message)
        elif kind == "subscribe_response":
            self._take_answer(message)
        elif kind == "resync":
            self.answers["resync"] += 1
            self._position = message["position"]
            self._on_gap()
        elif kind != "auth_response" or not message["success"]:
            self._give_up(repr(message)[:200])

    def _take_answer(self, answer: dict[str, Any]) -> None:
        is_first = self._position is None
        self._position = answer["position"]
        self._delay = FIRST_DELAY
        self.subscribed = True
        self.answers[f"recovered: {answer.get('recovered')}"] += 1
        if not is_first:
            self._on_return()
        if answer.get("recovered") is False:
            self._on_gap()

    def lost(self, code: int | None) -> None:
        """Come back as the close code says (protocol.md, section 5); None: the connection ended without one."""
        self.subscribed = False
        if self._leaving:
            return
        self.returns[str(code or "no close code")] += 1
        if code is not None and 4000 <= code < 4100:
            self._give_up(f"close {code}")
            return
        if code == 1012 or (code is not None and 4200 <= code < 4300):
            delay = SPREAD * random.random()
        else:
            delay = self._delay * random.uniform(0.5, 1)
            self._delay = min(2 * self._delay, LONGEST_DELAY)
        self._timer = asyncio.get_running_loop().call_later(delay, self.start)

    def _give_up(self, reason: str) -> None:
        self.ended = self.ended or reason
        self.leave()


class _Connection(asyncio.Protocol):
    def __init__(self, client: Client) -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._open = False
        self._code: int | None = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.write(self._client.opening())  # type: ignore[union-attr]

    def connection_lost(self, _: Exception | None) -> None:
        self._client.lost(self._code)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        at = 0
        if not self._open:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self._buffer = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self.abort()
                return
            self._open = True
        while len(data) - at >= 2:
            size, start = data[at + 1], at + 2
            if size > 125:
                width = 2 if size == 126 else 8
                start += width
                size = int.from_bytes(data[at + 2 : start], "big")
                if len(data) < start:
                    break
            if len(data) < start + size:
                break
            self._take(data[at] & 15, data[start : start + size])
            at = start + size
        self._buffer = data[at:]

    def _take(self, opcode: int, payload: bytes) -> None:
        assert self._transport is not None
        if opcode == TEXT:
            self._client.take(orjson.loads(payload))
        elif opcode == PING:
            self._transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            self._code = int.from_bytes(payload[:2], "big")
            self._transport.write(frame(CLOSE, payload[:2]))
            self._transport.close()
