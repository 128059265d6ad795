"""A TCP proxy that can be told to harm what goes through it."""

from __future__ import annotations

import asyncio
import socket
import struct
from enum import Enum, auto
from typing import Self

ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends an RST


class Mode(Enum):
    """What becomes of bytes."""

    PASS = auto()
    SWALLOW = auto()  # they vanish, and the connections stay open
    REFUSE = auto()  # connections are reset, also new ones
    DELAY = auto()


class Proxy:
    """Carries connections to a port of 127.0.0.1, within an `async with` block.

    Args:
        target: the port.
        delay: seconds, each way, while they are delayed.

    Attributes:
        port: where it listens.
    """

    def __init__(self, target: int, *, delay: float = 0.5) -> None:
        self.port = 0
        self.mode = Mode.PASS
        self._target = target
        self._delay = delay
        self._pairs: set[_Pair] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Front(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._cut()

    def set(self, mode: Mode) -> None:
        """Do this from now on. Connections whose bytes were swallowed stay dead for ever."""
        self.mode = mode
        if mode is Mode.SWALLOW:
            for pair in self._pairs:
                pair.dead = True
        elif mode is Mode.REFUSE:
            self._cut()

    def _cut(self) -> None:
        for pair in list(self._pairs):
            pair.cut()

    def begin(self, front: asyncio.Transport) -> _Pair:
        """Take in a connection."""
        pair = _Pair(self, front)
        pair.dead = self.mode is Mode.SWALLOW
        self._pairs.add(pair)
        if self.mode is Mode.REFUSE:
            pair.cut()
        else:
            pair.opening = asyncio.ensure_future(pair.open(self._target))
        return pair

    def end(self, pair: _Pair) -> None:
        """Forget a connection."""
        self._pairs.discard(pair)

    def carry(self, pair: _Pair, to: asyncio.Transport, data: bytes) -> None:
        """Hand bytes on, or do to them what the mode says."""
        if pair.dead or to.is_closing():
            return
        if self.mode is Mode.DELAY or pair.late:
            # What was delayed must not be overtaken by what comes when nothing is delayed any more.
            pair.late += 1
            asyncio.get_running_loop().call_later(self._delay, pair.write_late, to, data)
        else:
            to.write(data)


class _Pair:
    """A connection and the one behind it."""

    def __init__(self, proxy: Proxy, front: asyncio.Transport) -> None:
        self.dead = False
        self.late = 0
        self.opening: asyncio.Task[None] | None = None
        self._proxy = proxy
        self._front = front
        self._back: asyncio.Transport | None = None
        self._early: list[bytes] = []

    async def open(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._back, _ = await loop.create_connection(lambda: _Back(self), "127.0.0.1", port)
        except OSError:
            self.cut()
            return
        for data in self._early:
            self._proxy.carry(self, self._back, data)

    def from_front(self, data: bytes) -> None:
        if self._back is None:
            self._early.append(data)
        else:
            self._proxy.carry(self, self._back, data)

    def from_back(self, data: bytes) -> None:
        self._proxy.carry(self, self._front, data)

    def write_late(self, to: asyncio.Transport, data: bytes) -> None:
        self.late -= 1
        if not self.dead and not to.is_closing():
            to.write(data)

    def lost(self) -> None:
        """An end has closed; the other one does not notice if bytes vanish."""
        if not self.dead:
            self.cut()
        self._proxy.end(self)

    def cut(self) -> None:
        """Reset both."""
        self._proxy.end(self)
        if self.opening is not None and self._back is None:
            self.opening.cancel()
        for transport in (self._front, self._back):
            if transport is not None:
                sock = transport.get_extra_info("socket")
                if sock is not None and not transport.is_closing():
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                transport.abort()


class _Front(asyncio.Protocol):
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pair = self._proxy.begin(transport)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        self._pair.from_front(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._pair.lost()


class _Back(asyncio.Protocol):
    def __init__(self, pair: _Pair) -> None:
        self._pair = pair

    def data_received(self, data: bytes) -> None:
        self._pair.from_back(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._pair.lost()
