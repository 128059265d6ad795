"""What one connection that floods the server costs another: round trips of a ping, with and without, in one run.

    python bench/fairness.py [--seconds 5] [--rounds 2]

The server, with limits off, runs on CPU 0. On CPU 1 a flooder sends as fast as the server reads, and throws away what
it answers; a client beside it, which the scheduler prefers, sends one `ping` command after the other on a connection of
its own and takes the time until its `pong`. The floods are what is dearest for the server in the fewest bytes: tiny
commands, tiny frames, WebSocket pings, subscriptions to as many devices as fit into a message.

p50, p99 and max are milliseconds; the exit code is 1 when any flood costs the other client 20 ms or more, 2 when its
round trips without a flood already take that long (something else runs).
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import orjson

from outside import pinned
from served import token

MAX_MS = 20.0
WARMUP = 0.5
SERVER = Path(__file__).with_name("served.py")
FLOODER = [sys.executable, __file__, "--flooder"]


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame, masked with zeros."""
    size = len(payload)
    head = bytes((0x80 | opcode, 0x80 | size)) if size < 126 else bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


def command(**message: object) -> bytes:
    return masked(1, orjson.dumps(message))


FLOODS = {
    "ping commands": command(type="ping"),
    "unknown commands": command(type="x"),
    "not JSON": masked(1, b"x"),
    "empty messages": masked(1, b""),
    "WebSocket pings": masked(9, b""),
    "100 devices": b"".join(
        command(type=kind, channel="telemetry", device_id=list(range(base, base + 100)))
        for base in range(0, 10_000, 100)
        for kind in ("subscribe", "unsubscribe")
    ),
    "64 KiB messages": masked(1, b'"' + b"x" * 60_000 + b'"'),
}


def connected(port: int) -> socket.socket:
    """Return a socket behind a handshake and an authentication."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    sock.sendall(command(type="auth", token=token()))
    received = b""
    while b"auth_response" not in received:
        received += sock.recv(65536)
    return sock


def flood(port: int, kind: str) -> None:
    """Send until the end of the process; what comes back is read and thrown away."""
    sock = connected(port)
    data = FLOODS[kind] * max(1, (1 << 20) // len(FLOODS[kind]))
    threading.Thread(target=lambda: [None for _ in iter(lambda: sock.recv(1 << 20), b"")], daemon=True).start()
    while True:
        sock.sendall(data)


def round_trips(port: int, seconds: float) -> list[float]:
    """Return the milliseconds that pings take, one after the other."""
    sock, ping = connected(port), command(type="ping", id=1)
    found, end = [], time.monotonic() + seconds
    while (started := time.perf_counter()) and time.monotonic() < end:
        sock.sendall(ping)
        if b'"pong"' not in sock.recv(65536):
            sys.exit("an answer is no pong")
        found.append((time.perf_counter() - started) * 1000)
        time.sleep(0.001)
    return sorted(found)


def measure(kind: str, seconds: float) -> tuple[list[float], float]:
    """Return the round trips beside a flood ("": none) and the share of a CPU that the server took."""
    with pinned(0, [sys.executable, str(SERVER)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        os.sched_setaffinity(0, {1})
        if not kind:
            return round_trips(port, seconds), 0.0
        with pinned(1, ["nice", "-n", "19", *FLOODER, str(port), kind]) as flooder:
            time.sleep(WARMUP)
            before = cpu_seconds(server.pid)
            found = round_trips(port, seconds)
            if flooder.poll() is not None:
                sys.exit("the flooder was thrown out")
            return found, (cpu_seconds(server.pid) - before) / seconds


def cpu_seconds(pid: int) -> float:
    used = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--flooder", nargs=2, metavar=("PORT", "KIND"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.flooder:
        flood(int(args.flooder[0]), args.flooder[1])
    worst = {}
    print(f"{'flood':20} {'p50':>7} {'p99':>7} {'max':>7}   server CPU")
    for kind in ["", *FLOODS]:
        runs = [measure(kind, args.seconds) for _ in range(args.rounds)]
        p50, p99, worst[kind] = (
            statistics.median(found[int(len(found) * share) - (share == 1)] for found, _ in runs)
            for share in (0.5, 0.99, 1)
        )
        load = f"{statistics.median(cpu for _, cpu in runs):.0%}" if kind else ""
        print(f"{kind or 'none':20} {p50:7.2f} {p99:7.2f} {worst[kind]:7.2f}   {load}", flush=True)
    if worst[""] >= MAX_MS:
        print("NOT USABLE: something else runs")
        return 2
    return int(max(worst.values()) >= MAX_MS)


if __name__ == "__main__":
    sys.exit(main())
