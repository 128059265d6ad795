"""A server of live data: one metric of many devices, for subscribers at a frequency and for some that do not read.

    python bench/live_driver.py RATE [PAYLOAD]

Prints its port, and then each second how many publications there were, how many connections are behind
(protocol.md, section 6) and what waits for all that the kernel takes nothing for. Limits are off, but for those of the
queues, which have their defaults; the secret is that of served.py. Publishes device 0, 1, ... 999, 0, 1, ... in turn,
RATE messages a second of PAYLOAD (300) bytes, those that are due each millisecond together. A message carries "n", its
number, and "t", the clock (CLOCK_MONOTONIC, ns) when it was published, which load/live_load.c checks.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import uvloop

from filtered_driver import DEVICES, TICK, TIMESTAMP
from served import config
from valtronics_fast import Server
from valtronics_fast._core.encode import encode


def message(number: int, padding: str) -> dict[str, object]:
    """Return the publication of that number."""
    metric = {"value": 23.5, "unit": "C", "timestamp": TIMESTAMP, "n": number, "t": time.monotonic_ns(), "pad": padding}
    return {"type": "telemetry_update", "device_id": number % DEVICES, "telemetry": {"temperature": metric}}


async def main(rate: float, payload: float = 300) -> None:
    loop = asyncio.get_running_loop()
    padding = "x" * max(0, int(payload) - len(encode(message(100_000, ""))))
    number = 0
    async with Server(config(0)) as server:
        print(server.port, flush=True)
        started = loop.time()

        def keep_the_rate() -> None:
            nonlocal number
            due = int((loop.time() - started) * rate)
            while number < due:
                server.publish(message(number, padding))
                number += 1
            loop.call_later(TICK, keep_the_rate)

        keep_the_rate()
        while True:
            await asyncio.sleep(1)
            slow: Any = server.stats()["slow_readers"]
            print(number, slow["behind"], slow["queued_bytes"], flush=True)


if __name__ == "__main__":
    uvloop.run(main(*map(float, sys.argv[1:])))
