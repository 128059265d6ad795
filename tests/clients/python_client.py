"""A client of the WebSocket API in the shape that Python clients of it have, for test_python_client.py.

What makes the shape: it sends `auth` and takes the very next message for the answer; filters stand in an object of
that name; subscriptions are known by their channel alone; what is neither data nor a pong is an unknown type.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import websockets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AuthenticationError", "DashboardClient"]

Message = dict[str, Any]


class AuthenticationError(Exception):
    """The message behind `auth` was no success."""


class DashboardClient:
    """Connects, subscribes, and sorts what comes.

    Attributes:
        answer: the answer to `auth`.
        subscriptions: filters by channel.
        received: data messages by their type.
        pongs: answers to pings.
        unknown: every other message.
    """

    def __init__(self, url: str, token: str) -> None:
        self.answer: Message = {}
        self.subscriptions: dict[str, Mapping[str, object] | None] = {}
        self.received: dict[str, asyncio.Queue[Message]] = {
            "telemetry_update": asyncio.Queue(),
            "alert": asyncio.Queue(),
            "device_status_update": asyncio.Queue(),
            "system_status_update": asyncio.Queue(),
        }
        self.pongs: asyncio.Queue[Message] = asyncio.Queue()
        self.unknown: asyncio.Queue[Message] = asyncio.Queue()
        self._url = url
        self._token = token
        self._socket: websockets.ClientConnection | None = None

    async def connect(self) -> None:
        """Open a connection and authenticate."""
        self._socket = await websockets.connect(self._url, proxy=None)  # whatever this machine is set up for
        await self._send({"type": "auth", "token": self._token})
        self.answer = json.loads(await self._socket.recv())
        if self.answer.get("type") != "auth_response" or not self.answer.get("success"):
            raise AuthenticationError

    async def subscribe(self, channel: str, filters: Mapping[str, object] | None = None) -> None:
        """Subscribe to a channel."""
        message: Message = {"type": "subscribe", "channel": channel}
        if filters:
            message["filters"] = filters
        await self._send(message)
        self.subscriptions[channel] = filters

    async def unsubscribe(self, channel: str) -> None:
        """End every subscription of a channel."""
        await self._send({"type": "unsubscribe", "channel": channel})
        self.subscriptions.pop(channel, None)

    async def ping(self) -> str:
        """Send a ping and return its timestamp, a local one without a time zone."""
        timestamp = datetime.now(UTC).replace(tzinfo=None).isoformat()
        await self._send({"type": "ping", "timestamp": timestamp})
        return timestamp

    async def batch(self, messages: Sequence[Message]) -> None:
        """Send several messages as one."""
        await self._send({"type": "batch", "messages": messages})

    async def listen(self) -> None:
        """Sort what comes until the connection ends."""
        assert self._socket is not None
        try:
            while True:
                message = json.loads(await self._socket.recv())
                kind = message.get("type")
                queue = self.pongs if kind == "pong" else self.received.get(kind, self.unknown)
                queue.put_nowait(message)
        except websockets.ConnectionClosed:
            return

    async def disconnect(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            await self._socket.close()

    async def _send(self, message: Message) -> None:
        assert self._socket is not None
        await self._socket.send(json.dumps(message))
