"""Sessions without an event loop and without a network: a test hands them frames and takes their answers."""

from __future__ import annotations

import logging
import socket
import time
import zlib
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
from picows.picows import WSMsgType, WSTransport, _make_test_ws_frame

from core.harness import EMPTY_INDEX, LIMITS, Host, telemetry
from valtronics_fast._core.checks import check_hub
from valtronics_fast._core.connection import Limits
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.session import Session
from valtronics_fast._core.wire import Opcode

if TYPE_CHECKING:
    from valtronics_fast._core.connection import Connection

CHECKED_EVERY = 100
RSV1 = 0x40
BUFFER = 4 << 20


class _Transport:
    """What a connection asks of uvloop's transport, for one whose peer reads all."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.closing = False

    def get_extra_info(self, name: str) -> object:
        return self._sock if name == "socket" else None

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        raise AssertionError("more was answered than there is room for")

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True


class _Loop:
    """What picows asks of the event loop."""

    def create_future(self) -> None:
        pass


class Peerless:
    """A hub, and one connection at a time.

    Args:
        limits: what differs from the usual ones of the tests.

    Attributes:
        hub: with tables for the newest values and for the history.
        host: the Python side of the sessions; the token "t" permits everything.
    """

    def __init__(self, **limits: float) -> None:
        self._turns: list[Any] = []
        self.hub = Hub(self._turns.append, time.monotonic(), max_latest=1 << 16, history=20, epoch="e", names=500)
        self.host = Host(self.hub)
        self.host.grants["t"] = Grant("user", time.time() + 1e9, publish=15)
        self.host.grants["few"] = Grant("user", time.time() + 1e9, channels=5, devices=frozenset((1, "a")))
        self._peer, ours = socket.socketpair()
        self._peer.setblocking(False)
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._ours = ours
        self._limits = Limits(**{**LIMITS, "subscriptions": 20, "device_ids": 50, **limits})
        self._transport: WSTransport
        self._runs = 0

    def __del__(self) -> None:
        self._peer.close()
        self._ours.close()

    def connect(self, *, authenticated: bool, msgpack: bool = False, deflate: int = 0) -> Session:
        """Return a new session, with what it has negotiated (see Connection)."""
        grant = self.host.grants["t"] if authenticated else None
        session = Session(
            self.hub, self._limits, self.host, "127.0.0.1", grant=grant, msgpack=msgpack, deflate=deflate
        )
        self._transport = WSTransport(False, _Transport(self._ours), logging.getLogger(__name__), _Loop())
        session.on_ws_connected(self._transport)
        return session

    def deliver(
        self, session: Connection, payload: bytes, opcode: int = Opcode.OP_TEXT, *, fin: bool = True, rsv1: bool = False
    ) -> None:
        """Have it receive a frame."""
        session.on_ws_frame(self._transport, _make_test_ws_frame(WSMsgType(opcode), payload, fin, rsv1))

    def turn(self) -> None:
        """Publish something, and end the turn."""
        self.hub.publish(telemetry(1, a=1, b=2))
        self._end_turn()

    def receive(self, session: Connection, payload: bytes, opcode: int = Opcode.OP_TEXT) -> None:
        """Have it receive a message of one frame, and something published behind it."""
        self.deliver(session, payload, opcode)
        self.turn()

    def disconnect(self, session: Connection) -> list[dict[str, Any]]:
        """End the connection; return the messages that it got."""
        self._end_turn()
        session.on_ws_disconnected(self._transport)
        self._end_turn()
        return self._answers()

    def check(self) -> None:
        """Check, once in a while, that nothing is left of the connections that were."""
        for kept in (self.host.opened_sessions, self.host.closed_sessions, self.host.users, self.host.reports):
            kept.clear()  # type: ignore[attr-defined]
        self._runs += 1
        if self._runs % CHECKED_EVERY == 1:
            check_hub(self.hub)
            assert self.hub.index.stats() == EMPTY_INDEX
            assert self.hub.connections() == []

    def _end_turn(self) -> None:
        while self._turns:
            turns = self._turns[:]
            self._turns.clear()
            for turn in turns:
                turn()

    def _answers(self) -> list[dict[str, Any]]:
        data = bytearray()
        while True:
            try:
                data += self._peer.recv(1 << 20)
            except BlockingIOError:
                break
        answers, at = [], 0
        while at < len(data):
            size, start = data[at + 1], at + 2
            if size >= 126:
                start = at + (4 if size == 126 else 10)
                size = int.from_bytes(data[at + 2 : start], "big")
            payload = bytes(data[start : start + size])
            if data[at] & RSV1:
                payload = zlib.decompress(payload + b"\0\0\xff\xff\3\0", -15)
            match data[at] & ~RSV1:
                case 0x81:
                    answers.append(orjson.loads(payload))
                case 0x82:
                    answers.append(msgpack.unpackb(payload))
                case other:
                    assert other == 0x88, "neither a message nor CLOSE"
            at = start + size
        assert at == len(data)
        return answers
