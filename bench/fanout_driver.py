"""A server that publishes to everybody who is subscribed to device 1: the driver for fan-out comparisons.

    python bench/fanout_driver.py PORT BATCH PAYLOAD RATE

Listens on 127.0.0.1:PORT with limits off and the secret of served.py. Publishes a `telemetry_update` of device 1 whose
one metric carries `"t"`, the clock (CLOCK_MONOTONIC, ns) at the time of publishing, and padding up to PAYLOAD bytes:
BATCH a turn of the event loop at saturation (RATE 0), else RATE a second.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop

from served import config
from valtronics_fast import Server
from valtronics_fast._core.encode import encode


def message(padding: str) -> dict[str, object]:
    metric = {"value": 23.5, "unit": "C", "timestamp": "2024-01-01T12:00:00Z", "t": time.monotonic_ns(), "pad": padding}
    return {"type": "telemetry_update", "device_id": 1, "telemetry": {"temperature": metric}}


async def main(port: int, batch: int, payload: int, rate: float) -> None:
    padding = "x" * max(0, payload - (len(encode(message(""))) - 4))
    loop = asyncio.get_running_loop()
    async with Server(config(port)) as server:
        if rate:
            due = loop.time()
            while True:
                due += 1 / rate
                await asyncio.sleep(max(0.0, due - loop.time()))
                server.publish(message(padding))

        def turn() -> None:
            for _ in range(batch):
                server.publish(message(padding))
            loop.call_soon(turn)

        turn()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
