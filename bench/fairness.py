"""What one connection that floods the server costs another: round trips of a ping, with and without, in one run.

    python bench/fairness.py [--seconds 5] [--rounds 2]

The server, with limits off, runs on CPU 0. On CPU 1 a flooder sends as fast as the server reads, and throws away what
it answers; a client beside it, which the scheduler prefers, sends one `ping` command after the other on a connection of
its own and takes the time until its `pong`. The floods are what is dearest for the server in the fewest bytes: tiny
commands, tiny frames, WebSocket pings, subscriptions to as many devices as fit into a message. And publishers over
HTTP, four connections at once, with requests one behind the other: large bodies, tiny chunks, a message a request.

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


MESSAGE = orjson.dumps({"type": "telemetry_update", "device_id": 1, "telemetry": {"a": {"value": 1.5, "unit": "V"}}})


def request(kind: str, body: bytes, size: int = 0) -> bytes:
    """Return a request that publishes; size: of its chunks, 0: it has none."""
    head = f"POST /api/v1/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(publish=True)}\r\n"
    head += f"Content-Type: application/{kind}\r\n"
    if not size:
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    chunks = b"".join(b"%x\r\n%s\r\n" % (size, body[at : at + size]) for at in range(0, len(body) // size * size, size))
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"


def json_body(size: int) -> bytes:
    return b'{"messages":[' + b",".join([MESSAGE] * (size // (len(MESSAGE) + 1))) + b"]}"


PUBLISHERS = 4
PUBLISHED = {
    "HTTP lines": lambda: request("x-ndjson", (MESSAGE + b"\n") * 10_000),
    "HTTP JSON, 1 MiB": lambda: request("json", json_body(1 << 20)),
    "HTTP JSON, 8 MiB": lambda: request("json", json_body((8 << 20) - 1000)),
    "HTTP chunks of 1 byte": lambda: request("x-ndjson", (MESSAGE + b"\n") * 1000, 1),
    "HTTP, one a request": lambda: request("json", MESSAGE),
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


def flood(port: int, http_port: int, kind: str) -> None:
    """Send until the end of the process; what comes back is read and thrown away."""
    if kind in FLOODS:
        socks, data = [connected(port)], FLOODS[kind]
    else:
        socks = [socket.create_connection(("127.0.0.1", http_port)) for _ in range(PUBLISHERS)]
        data = PUBLISHED[kind]()
    data *= max(1, (1 << 20) // len(data))

    def send(sock: socket.socket) -> None:
        while True:
            sock.sendall(data)

    def receive(sock: socket.socket) -> None:
        while sock.recv(1 << 20):
            pass

    for sock in socks:
        for work in (send, receive):
            threading.Thread(target=work, args=(sock,), daemon=True).start()
    threading.Event().wait()


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
        port, http_port = int(server.stdout.readline()), int(server.stdout.readline())
        os.sched_setaffinity(0, {1})
        if not kind:
            return round_trips(port, seconds), 0.0
        with pinned(1, ["nice", "-n", "19", *FLOODER, str(port), str(http_port), kind]) as flooder:
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
    parser.add_argument("--floods", nargs="+", choices=[*FLOODS, *PUBLISHED], default=[*FLOODS, *PUBLISHED])
    parser.add_argument("--flooder", nargs=3, metavar=("PORT", "HTTP_PORT", "KIND"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.flooder:
        flood(int(args.flooder[0]), int(args.flooder[1]), args.flooder[2])
    worst = {}
    print(f"{'flood':22} {'p50':>7} {'p99':>7} {'max':>7}   server CPU")
    for kind in ["", *args.floods]:
        runs = [measure(kind, args.seconds) for _ in range(args.rounds)]
        p50, p99, worst[kind] = (
            statistics.median(found[int(len(found) * share) - (share == 1)] for found, _ in runs)
            for share in (0.5, 0.99, 1)
        )
        load = f"{statistics.median(cpu for _, cpu in runs):.0%}" if kind else ""
        print(f"{kind or 'none':22} {p50:7.2f} {p99:7.2f} {worst[kind]:7.2f}   {load}", flush=True)
    if worst[""] >= MAX_MS:
        print("NOT USABLE: something else runs")
        return 2
    return int(max(worst.values()) >= MAX_MS)


if __name__ == "__main__":
    sys.exit(main())
