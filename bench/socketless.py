"""Sessions of the real core without an event loop: with no socket at all, or with one that is only written to.

picows hands a session its transport and its frames; here that is done by hand. The hub writes nothing by itself: its
turn ends when `Population.hub.turn.flush()` is called.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import orjson
from picows.picows import WSMsgType, WSTransport, _make_test_ws_frame

from valtronics_fast._core.connection import Limits
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.session import Session
from valtronics_fast._core.wire import CloseCode

if TYPE_CHECKING:
    from collections.abc import Mapping

METRICS = ["temperature", "humidity", "pressure", "vibration", "battery", "air_quality", "voltage", "current"]
MARK = 128 << 10  # bytes beyond which a connection that is not read is behind
UNLIMITED = Limits(
    messages_per_second=0, message_size=0, auth_size=0, frame_size=0, fragments=0, batch_items=0, subscriptions=0,
    device_ids=0, json_depth=0, queue_size=0, auth_attempts=0, auth_timeout=0, grace=0, renewal_notice=0,
    ping_interval=0, ping_timeout=0, close_timeout=0, queue_mark=MARK,
)  # fmt: skip

SEND_BUFFER = 1 << 20  # bytes: what is written between two reads must fit

_log = logging.getLogger(__name__)


def telemetry(device: int | str, metrics: list[str] = METRICS, **extra: object) -> dict[str, object]:
    """Return a complete telemetry_update; `extra` goes into each metric."""
    value = {"value": 23.5, "unit": "C", "timestamp": "2024-01-01T12:00:00Z", **extra}
    return {"type": "telemetry_update", "device_id": device, "telemetry": {name: dict(value) for name in metrics}}


def _everything() -> Grant:
    return Grant("bench", time.time() + 1e6, publish=15)


class _Host:
    """The Python side of the sessions, which has nothing to do here."""

    def opened(self, session: Session, /) -> None:
        pass

    def closed(self, session: Session, /) -> None:
        pass

    def join(self, session: Session, user: str, /) -> bool:
        return True

    def authenticate(self, session: Session, token: object, /) -> Grant:
        return _everything()

    def failed(self, session: Session, error: BaseException, /) -> None:
        raise error


class _Transport:
    """What a session asks of uvloop's transport, for a socket that always takes what it is given."""

    def __init__(self, sock: socket.socket | None) -> None:
        self._sock = sock

    def fileno(self) -> int:
        return -1 if self._sock is None else self._sock.fileno()

    def get_extra_info(self, name: str) -> object:
        return self if name == "socket" else None

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        raise RuntimeError("the kernel has refused a write: the reader has not kept up")

    def abort(self) -> None:
        pass


class Population:
    """A hub and its connections; to be left (`with`), which ends them. `bounds` are the hub's."""

    def __init__(self, **bounds: int) -> None:
        self.hub = Hub(lambda flush: None, time.monotonic(), **bounds)  # type: ignore[arg-type]
        self.sessions: list[Session] = []
        self._transports: list[WSTransport] = []
        self._sockets: list[tuple[socket.socket, socket.socket]] = []
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for session, transport in zip(self.sessions, self._transports, strict=True):
            session.on_ws_disconnected(transport)
        for ends in self._sockets:
            for end in ends:
                end.close()
        self._loop.close()

    def connect(self, sock: socket.socket | None = None) -> Session:
        """Return a new connection that may do everything."""
        session = Session(self.hub, UNLIMITED, _Host(), "127.0.0.1", grant=_everything())
        transport = WSTransport(False, _Transport(sock), _log, self._loop)
        session.on_ws_connected(transport)
        self.sessions.append(session)
        self._transports.append(transport)
        return session

    def connect_tcp(self, count: int) -> None:
        """Connect with real sockets over loopback; drain() reads the other ends."""
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            for _ in range(count):
                reader = socket.create_connection(listener.getsockname())
                writer = listener.accept()[0]
                reader.setblocking(False)
                writer.setblocking(False)
                writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
                writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append((writer, reader))
                self.connect(writer)

    @property
    def writers(self) -> list[socket.socket]:
        """The server's ends of the real sockets."""
        return [writer for writer, _ in self._sockets]

    def drain(self) -> int:
        """Read what has arrived; return how many bytes that were."""
        total = 0
        for _, reader in self._sockets:
            while (size := _available(reader)) > 0:
                total += size
        return total

    def command(self, position: int, message: Mapping[str, object]) -> None:
        """Have a connection receive a command."""
        frame = _make_test_ws_frame(WSMsgType.TEXT, orjson.dumps(message), True, False)
        self.sessions[position].on_ws_frame(self._transports[position], frame)

    def stop_reading(self, message: Mapping[str, object]) -> None:
        """Have the connections blocked, and publish a message that they get until they are all behind."""
        for session in self.sessions:
            session.pause_writing()
        while self.hub.behind < len(self.sessions):
            self.hub.publish(message)

    def settle(self) -> int:
        """Write, and read at the other ends, until there is nothing more and nobody is behind; return the bytes."""
        total = 0
        while (size := self._turn()) or self.hub.behind:
            total += size
        return total

    def _turn(self) -> int:
        self.hub.turn.flush()
        return self.drain()

    def shut(self) -> None:
        """Have every connection wait for its peer's CLOSE: still subscribed and matched, but nothing is queued."""
        for session in self.sessions:
            session.disconnect(CloseCode.CLOSE_GOING_AWAY)

    def subscribe_at_random(self, connections: int, devices: int, each: int, filters: int) -> int:
        """Connect, and have `each` of the connections, picked at random, subscribe to each of the devices 0, 1, ...

        Every connection asks for two metrics; there are `filters` such pairs (at most 56).

        Returns:
            By how many bytes the process's resident memory has grown while they subscribed.
        """
        source = random.Random(1)
        wanted: list[list[int]] = [[] for _ in range(connections)]
        for device in range(devices):
            for position in source.sample(range(connections), each):
                wanted[position].append(device)
        for _ in wanted:
            self.connect()
        before = _resident()
        for position, ids in enumerate(wanted):
            if ids:
                kind = position % filters
                pair = [METRICS[kind % 8], METRICS[(kind // 8 + kind + 1) % 8]]
                self.command(
                    position, {"type": "subscribe", "channel": "telemetry", "device_id": ids, "metrics": pair}
                )
        return _resident() - before


def _resident() -> int:
    """Return the process's resident memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _available(reader: socket.socket) -> int:
    try:
        return len(reader.recv(1 << 20))
    except BlockingIOError:
        return 0
