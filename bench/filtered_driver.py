"""A server of the filtered case: many devices and metrics, of which every subscriber wants a few.

    python bench/filtered_driver.py PORT RATE [BATCH [FLUSH_INTERVAL]]

Listens on 127.0.0.1:PORT with limits off and the secret of served.py. Publishes 8 metrics of device 0, 1, ... 999, 0,
... in turn: RATE publications a second, those that are due each millisecond together; at saturation (RATE 0) BATCH
(100) a turn of the event loop. Each metric carries "n": 8 * the publication's number + the metric's, which
load/filtered_load.c checks and counts by. FLUSH_INTERVAL (0): `server.flush_interval`, in seconds.
peers/bun_filtered.js is the same for Bun.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from served import config
from socketless import METRICS
from valtronics_fast import Server

DEVICES = 1000
TICK = 0.001
TIMESTAMP = "2024-01-01T12:00:00Z"


def message(number: int) -> dict[str, object]:
    """Return the publication of that number."""
    first = number * len(METRICS)
    return {
        "type": "telemetry_update",
        "device_id": number % DEVICES,
        "telemetry": {
            name: {"value": 23.5, "unit": "C", "timestamp": TIMESTAMP, "n": first + i} for i, name in enumerate(METRICS)
        },
    }


async def main(port: int, rate: float, batch: float = 100, flush_interval: float = 0) -> None:
    loop = asyncio.get_running_loop()
    number = 0
    started = loop.time()

    async with Server(config(port, flush_interval=flush_interval)) as server:

        def publish(count: int) -> None:
            nonlocal number
            for _ in range(count):
                server.publish(message(number))
                number += 1

        def saturate() -> None:
            publish(int(batch))
            loop.call_soon(saturate)

        def keep_the_rate() -> None:
            due = int((loop.time() - started) * rate) - number
            if due > 0:
                publish(due)
            loop.call_later(TICK, keep_the_rate)

        if rate:
            keep_the_rate()
        else:
            saturate()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), *map(float, sys.argv[2:])))
