"""Messages from node to node over Redis and NATS, beside what the client libraries carry by themselves.

    python bench/backplane_compare.py [--messages 200000] [--brokers redis,nats]

A publisher and a receiver, each a process of its own, and the broker. Both follow all lanes, and nobody is subscribed:
the publisher takes in what it has published itself, too, as it comes back from the log. CPU time is that of the process
(getrusage), from the first message to the last one, so that what else the machine does changes it little; the broker's
own is left out. The raw libraries send the same bytes in as many pieces, without a log: PUBLISH in pipelines, and
messages of a core subject.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from nats_server import Nats
from redis_server import Redis
from valtronics_fast._core.hub import Hub
from valtronics_fast.backplanes import open_backplane
from valtronics_fast.config import BackplaneConfig

DEVICES = 1000
TURN = 200
"""Messages that are published in one turn of the event loop."""

PIECE = 64
"""Raw messages of a turn's packets, as many as the lanes that a turn of the backplane reaches at most."""


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def message(number: int) -> dict[str, Any]:
    """Return telemetry with three metrics."""
    metric = {"value": number, "unit": "C", "timestamp": "2024-01-01T12:00:00Z"}
    metrics = {"a": metric, "b": metric, "c": metric}
    return {"type": "telemetry_update", "device_id": number % DEVICES, "telemetry": metrics}


async def backplane(role: str, url: str, count: int) -> None:
    hub = Hub(asyncio.get_running_loop().call_soon, time.monotonic(), history=10_000, shared=True)
    one = open_backplane(BackplaneConfig(url=url))
    await one.start(hub)
    await one.follow(list(range(64)), 0)  # who publishes follows, too
    if role == "receive":
        print("ready", flush=True)
        while not hub.stats()["telemetry"]["publications"]:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        begin = cpu()
        while hub.stats()["telemetry"]["publications"] < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        print(json.dumps(cpu() - begin), flush=True)
    else:
        messages = [message(number) for number in range(DEVICES)]
        begin = cpu()
        for number in range(count):
            one.publish(messages[number % DEVICES])
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)
                if one.stats()["waiting_bytes"] > 4 << 20:
                    await one.settled()
        await one.settled()
        print(json.dumps(cpu() - begin), flush=True)
        await asyncio.sleep(1)
    await one.stop()


async def raw_redis(role: str, url: str, count: int, packet: bytes) -> None:
    import redis.asyncio  # noqa: PLC0415

    client = redis.asyncio.Redis.from_url(url, protocol=2)
    pieces = count // TURN * PIECE
    if role == "receive":
        inbox = client.pubsub()
        await inbox.subscribe("raw")
        await inbox.get_message(timeout=5)
        print("ready", flush=True)
        begin = 0.0
        for _ in range(pieces):
            await inbox.get_message(timeout=None)
            begin = begin or cpu()
        print(json.dumps(cpu() - begin), flush=True)
    else:
        data = packet * (TURN // PIECE)
        begin = cpu()
        for _ in range(count // TURN):
            pipeline = client.pipeline(transaction=False)
            for _ in range(PIECE):
                pipeline.publish("raw", data)
            await pipeline.execute()
        print(json.dumps(cpu() - begin), flush=True)
    await client.aclose()


async def raw_nats(role: str, url: str, count: int, packet: bytes) -> None:
    import nats  # noqa: PLC0415

    client = await nats.connect(url)
    pieces = count // TURN * PIECE
    if role == "receive":
        inbox = await client.subscribe("raw", pending_bytes_limit=1 << 30, pending_msgs_limit=1 << 30)
        await client.flush()
        print("ready", flush=True)
        begin = 0.0
        for _ in range(pieces):
            await inbox.next_msg(timeout=30)
            begin = begin or cpu()
        print(json.dumps(cpu() - begin), flush=True)
    else:
        data = packet * (TURN // PIECE)
        begin = cpu()
        for _ in range(count // TURN):
            for _ in range(PIECE):
                await client.publish("raw", data)
            await client.flush()
        print(json.dumps(cpu() - begin), flush=True)
    await client.close()


def work(role: str, way: str, url: str, count: int) -> None:
    if way == "raw":
        hub = Hub(lambda _: None, 0.0, shared=True)
        packet = hub.pack(message(1))[1]
        uvloop.run((raw_redis if url.startswith("redis") else raw_nats)(role, url, count, packet))
    else:
        uvloop.run(backplane(role, url, count))


def measure(way: str, url: str, count: int) -> tuple[float, float]:
    """Return messages a second of CPU time of the publisher and of the receiver."""

    def start(role: str) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, "--role", role, "--way", way, "--url", url, "--messages", str(count)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    receiver = start("receive")
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    publisher = start("publish")
    sent, _ = publisher.communicate(timeout=300)
    got, _ = receiver.communicate(timeout=300)
    return count / float(sent), count / float(got)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--brokers", default="redis,nats")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        work(options.role, options.way, options.url, options.messages)
        return
    print("messages a second of CPU time: publisher, receiver")
    for name in options.brokers.split(","):
        kind = {"redis": Redis, "nats": Nats}[name]
        with tempfile.TemporaryDirectory() as directory, kind(Path(directory)) as broker:
            rates = {way: measure(way, broker.url, options.messages) for way in ("backplane", "raw")}
        for way, (publisher, receiver) in rates.items():
            print(f"  {name:6} {way:10} {publisher:10,.0f} {receiver:10,.0f}")
        ours, raw = rates["backplane"], rates["raw"]
        print(f"  {name:6} CPU time as a multiple of the library's: {raw[0] / ours[0]:.2f}, {raw[1] / ours[1]:.2f}")


if __name__ == "__main__":
    main()
