"""What the bus between the workers of a machine costs: messages a second, and CPU of the supervisor and the workers.

    python bench/bus_throughput.py [--seconds 4] [--payload 300] [--workers 2]

The supervisor's side and as many workers as are asked for, each a process. The first worker publishes telemetry of 100
devices; every one follows all lanes and takes what comes into its hub, where nobody is subscribed. *a turn* is how many
messages are published in one turn of the event loop: what is published together travels together. CPU is user and
system time of the process for each message; "waited" is as in README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from outside import MAX_WAITED
from valtronics_fast._core.hub import Hub
from valtronics_fast.backplanes.bus_log import BusLog
from valtronics_fast.backplanes.shared import SharedBackplane
from valtronics_fast.config import BackplaneConfig
from valtronics_fast.workers.bus import Bus
from valtronics_fast.workers.link import Link
from valtronics_fast.workers.port import WorkerPort

RATES = ((1, 1000), (10, 0), (100, 0))
"""Messages a turn, and turns a second; 0: as many as go."""

FULL = 1 << 20
"""Bytes that wait for the bus at which a worker that publishes without end pauses."""


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def waited() -> float:
    """Return how many seconds this process was ready to run and had no CPU."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


async def publish(backplane: SharedBackplane, batch: int, turns: int, payload: int) -> None:
    """Publish for ever."""
    loop = asyncio.get_running_loop()
    padding = "x" * max(0, payload - 170)
    due, number = loop.time(), 0
    while True:
        for _ in range(batch):
            number += 1
            metric = {"value": number, "unit": "C", "timestamp": "2024-01-01T12:00:00Z", "pad": padding}
            metrics = {"temperature": metric}
            backplane.publish({"type": "telemetry_update", "device_id": number % 100, "telemetry": metrics})
        if turns:
            due += 1 / turns
            await asyncio.sleep(max(0.0, due - loop.time()))
        else:
            await asyncio.sleep(0)
            while backplane.stats()["waiting_bytes"] > FULL:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.0002)


async def work(descriptor: int, batch: int, turns: int, payload: int, seconds: float) -> None:
    """Be a worker; batch 0: one that publishes nothing. Prints its figures."""
    loop = asyncio.get_running_loop()
    _, link = await loop.create_unix_connection(Link, sock=socket.socket(fileno=descriptor))
    hub = Hub(loop.call_soon, time.monotonic(), history=1000, shared=True)
    backplane = SharedBackplane(BusLog(link), BackplaneConfig())
    await backplane.start(hub)
    await backplane.follow(list(range(256)), 0)
    tasks = [asyncio.create_task(publish(backplane, batch, turns, payload))] if batch else []
    await asyncio.sleep(1.5)

    def figures() -> tuple[float, float, float, int]:
        return time.monotonic(), cpu(), waited(), hub.stats()["telemetry"]["publications"]

    first = figures()
    await asyncio.sleep(seconds)
    wall, used, lost, messages = (now - before for before, now in zip(first, figures(), strict=True))
    print(json.dumps({"rate": messages / wall, "cpu": used / wall, "waited": lost / wall, "messages": messages}))
    sys.stdout.flush()
    await asyncio.sleep(1.0)  # the others measure until then
    for task in tasks:
        task.cancel()


async def measure(workers: int, batch: int, turns: int, payload: int, seconds: float) -> bool:
    """Run it once; print a row; say whether it is usable."""
    bus = Bus(1000, 64 << 20)
    loop = asyncio.get_running_loop()
    processes = []
    for index in range(workers):
        ours, theirs = socket.socketpair()
        await loop.create_unix_connection(
            lambda: WorkerPort(16 << 20, on_frame=bus.take, on_lost=bus.drop, on_end=bus.end), sock=ours
        )
        sent = 0 if index else batch
        line = [sys.executable, __file__, "worker", theirs.fileno(), sent, turns, payload, seconds]
        with theirs:
            processes.append(
                await asyncio.create_subprocess_exec(
                    *map(str, line), stdout=subprocess.PIPE, pass_fds=[theirs.fileno()]
                )
            )
    await asyncio.sleep(2.5)
    used, lost, wall, entries, head = cpu(), waited(), time.monotonic(), bus.appended, bus.appended
    await asyncio.sleep(seconds - 1)
    used, lost, wall = cpu() - used, waited() - lost, time.monotonic() - wall
    entries = bus.appended - head
    outcomes = [json.loads((await process.communicate())[0]) for process in processes]
    rate = outcomes[-1]["rate"]
    supervisor = used / wall
    share = max(lost / wall, *(one["waited"] for one in outcomes))
    print(
        f"{batch:7} {turns or 'all':>7} {rate:10,.0f} {entries / wall:10,.0f} {supervisor:10.0%} "
        f"{1e6 * supervisor / rate:10.2f} {1e6 * outcomes[0]['cpu'] / rate:10.2f} "
        f"{1e6 * outcomes[-1]['cpu'] / rate:10.2f} {bus.losses:7} {share:7.0%}",
        flush=True,
    )
    return share <= MAX_WAITED


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--payload", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    print(f"{'a turn':>7} {'turns':>7} {'msgs/s':>10} {'entries/s':>10} {'superv.cpu':>10} {'us superv.':>10} "
          f"{'us sender':>10} {'us receiv.':>10} {'losses':>7} {'waited':>7}", flush=True)  # fmt: skip
    usable = [
        await measure(options.workers, batch, turns, options.payload, options.seconds) for batch, turns in RATES
    ]
    return 0 if all(usable) else 2


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        uvloop.run(work(*map(int, sys.argv[2:6]), float(sys.argv[6])))
    else:
        sys.exit(uvloop.run(main()))
