"""CPU time of the nodes of a cluster on Redis, by what their clients are subscribed to.

    python bench/interest.py [--rate 2000] [--seconds 10]

Four servers share a Redis, and telemetry of 1,000 devices is published on the first one over HTTP. Nobody is connected
to the second one; a client of the third one has a single device, and one of the fourth has all of them. What counts is
the CPU time of each process (/proc), so that the figures hold on a machine that does other things as well; "at rest" is
the same without messages.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from outside import free_port, wait_for
from served import SECRET, token

KEY = "bench-api-key-0123456789"
DEVICES = 1000
TICK = 0.02
SETTLE = 2.0
NODES = {"publishes": None, "no subscriber": None, "one device": [7], "all devices": []}
"""What a node is called -> the devices that its client asks for; []: all; None: there is no client."""


Server = tuple[subprocess.Popen[bytes], int, int]
"""A process, its port and its HTTP port."""


class Listener(WSListener):
    """A client that counts what it gets."""

    def __init__(self, devices: list[int]) -> None:
        self.received = 0
        self._filters = {"device_id": devices} if devices else {}

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, orjson.dumps({"type": "auth", "token": token()}))
        transport.send(WSMsgType.TEXT, orjson.dumps({"type": "subscribe", "channel": "telemetry", **self._filters}))

    def on_ws_frame(self, _: WSTransport, __: WSFrame) -> None:
        self.received += 1


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU seconds of a process."""
    user, system = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def launch(stack: ExitStack, redis: int) -> Server:
    """Start a server on a Redis's port."""
    port, http_port = free_port(), free_port()
    settings = {
        "SERVER__PORT": port,
        "HTTP__PORT": http_port,
        "HTTP__API_KEY": KEY,
        "AUTH__SECRET": SECRET,
        "SYSTEM__INTERVAL": 0,
        "LOGGING__LEVEL": "error",
        "BACKPLANE__URL": f"redis://127.0.0.1:{redis}",
    }
    environ = os.environ | {f"VFAST_{key}": str(value) for key, value in settings.items()}
    line = [sys.executable, "-m", "valtronics_fast"]
    process = stack.enter_context(subprocess.Popen(line, env=environ, stdout=subprocess.DEVNULL))
    stack.callback(process.terminate)
    wait_for(port, process)
    return process, port, http_port


def message(number: int) -> dict[str, object]:
    return {"type": "telemetry_update", "device_id": number % DEVICES, "telemetry": {"n": number}}


async def publish(port: int, rate: int, seconds: float) -> int:
    """Publish for so long; return how many messages that were."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /api/v1/publish HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n"
    writer.write(head.encode() + b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
    began, sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * rate)
        lines = b"".join(orjson.dumps(message(number)) + b"\n" for number in range(sent, due))
        if lines:
            writer.write(b"%x\r\n%b\r\n" % (len(lines), lines))
            await writer.drain()
        sent = due
        await asyncio.sleep(TICK)
    writer.write(b"0\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return sent


async def measure(servers: dict[str, Server], broker: subprocess.Popen[bytes], rate: int, seconds: float) -> None:
    """Measure, and print the table."""
    listeners = {name: Listener(devices) for name, devices in NODES.items() if devices is not None}
    for name, listener in listeners.items():
        await ws_connect(lambda listener=listener: listener, f"ws://127.0.0.1:{servers[name][1]}/ws")
    processes = {name: server[0] for name, server in servers.items()} | {"Redis": broker}
    await asyncio.sleep(SETTLE)

    before = {name: cpu(process) for name, process in processes.items()}
    await asyncio.sleep(seconds)
    rest = {name: cpu(process) - before[name] for name, process in processes.items()}
    http_port = servers["publishes"][2]
    await publish(http_port, rate, SETTLE)  # so that what is followed because of it is
    await asyncio.sleep(SETTLE)

    before = {name: cpu(process) for name, process in processes.items()}
    received = {name: listener.received for name, listener in listeners.items()}
    sent = await publish(http_port, rate, seconds)
    await asyncio.sleep(SETTLE)
    print(f"{sent:,} messages in {seconds:.0f} s\n")
    print("| node | at rest | busy | a message of the cluster | delivered |\n| --- | --- | --- | --- | --- |")
    for name, process in processes.items():
        used, total = cpu(process) - before[name], seconds + SETTLE
        extra = max(0.0, used - rest[name] * total / seconds) / sent * 1e6
        delivered = f"{listeners[name].received - received[name]:,}" if name in listeners else ""
        print(f"| {name} | {rest[name] / seconds:.1%} | {used / total:.1%} | {extra:.1f} µs | {delivered} |")


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--rate", type=int, default=2000, help="messages a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    options = parser.parse_args()
    redis_server = shutil.which("redis-server")
    if redis_server is None:
        sys.exit("there is no redis-server (Debian package: redis-server)")
    with ExitStack() as stack:
        port, directory = free_port(), stack.enter_context(tempfile.TemporaryDirectory())
        line = [redis_server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        broker = stack.enter_context(subprocess.Popen(line, stdout=subprocess.DEVNULL))
        stack.callback(broker.terminate)
        wait_for(port, broker)
        servers = {name: launch(stack, port) for name in NODES}
        asyncio.run(measure(servers, broker, options.rate, options.seconds))


if __name__ == "__main__":
    main()
