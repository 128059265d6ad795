"""Commands through a real socket to a real server, in CPU time of the server's process.

The server runs by itself; this process only feeds it. A round sends `COMMANDS` commands, as messages of their own or in
batches of 50, and ends with the pong to a last ping.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from served import token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMMANDS = 2000
BATCH = 50
ROUNDS = 15
COMMAND = {
    "ping": {"type": "ping"},
    "subscribe": {"type": "subscribe", "channel": "telemetry", "device_id": 7, "metrics": ["temperature", "humidity"]},
    "subscribe_answered": {"type": "subscribe", "id": 1, "channel": "telemetry", "device_id": 7},
    "unknown": {"type": "no_such_command"},
}
MASK = bytes((0x5A, 0x01, 0xC3, 0x7F))
HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {}\r\n\r\n"
)
END = "the end of the round"

_cpu_clock = 0


def server_cpu() -> float:
    """Return the seconds of CPU that the server's process has used, all of its threads."""
    return time.clock_gettime(_cpu_clock)


def frame(message: Mapping[str, object]) -> bytes:
    """Return a masked text frame."""
    payload = orjson.dumps(message)
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE)) + size.to_bytes(2)
    key = int.from_bytes((MASK * (size // 4 + 1))[:size])
    return head + MASK + (int.from_bytes(payload) ^ key).to_bytes(size)


class Peer:
    """A client that sends what was prepared, and reads until the answer to its last ping."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(HANDSHAKE.format(token()).encode())
        self._read_until(b"\r\n\r\n")

    def close(self) -> None:
        self._socket.close()

    def _read_until(self, mark: bytes) -> int:
        tail, size = b"", 0
        while mark not in tail:
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionError("the server has gone")
            size += len(data)
            tail = tail[-len(mark) :] + data
        return size

    def exchange(self, commands: bytes) -> int:
        """Send commands, wait for the end; return how many bytes came back."""
        self._socket.sendall(commands + frame({"type": "ping", "id": END}))
        return self._read_until(END.encode())


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    global _cpu_clock  # noqa: PLW0603 - the benchmark's timer takes no argument
    line = [sys.executable, str(Path(__file__).with_name("served.py"))]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            os.sched_setaffinity(server.pid, {min(os.sched_getaffinity(0))})
            _cpu_clock = (~server.pid << 3) | 2  # the CPU clock of another process: clock_getcpuclockid(3)
            peer = Peer(port)
            try:
                yield peer
            finally:
                peer.close()
        finally:
            server.terminate()


@pytest.mark.benchmark(group="session: commands, server CPU of 2000", timer=server_cpu)
@pytest.mark.parametrize("kind", COMMAND)
@pytest.mark.parametrize("batch", [1, BATCH], ids=["single", "batches_of_50"])
def test_commands(benchmark, steady, peer, kind, batch):
    message = COMMAND[kind]
    if batch > 1:
        message = {"type": "batch", "messages": [message] * batch}
    data = frame(message) * (COMMANDS // batch)
    received = steady(peer.exchange, data, iterations=1, rounds=ROUNDS, items=COMMANDS)
    if kind == "subscribe":
        assert received < 200
    else:
        assert received > COMMANDS * 40
    benchmark.extra_info["commands_per_cpu_second"] = round(COMMANDS / benchmark.stats.stats.median)


@pytest.mark.benchmark(group="session: one at a time, server CPU of 500", timer=server_cpu)
def test_ping_and_pong(steady, peer):
    """Each ping waits for the pong before: what a turn of the event loop and two system calls cost."""

    def talk() -> int:
        return sum(peer.exchange(b"") for _ in range(500))

    assert steady(talk, iterations=1, rounds=ROUNDS, items=500) > 500 * 40
