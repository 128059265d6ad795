"""A load test from its beginning to its end: clients come over a time, then what they get is measured."""

from __future__ import annotations

import asyncio
import gc
import secrets
import time
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from valtronics_fast.load.client import Client, Decoder, connect
from valtronics_fast.load.meter import Busy, Meter
from valtronics_fast.load.publisher import Publisher
from valtronics_fast.load.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["AT_ONCE", "MAX_CONNECTIONS", "Plan", "Result", "run"]

MAX_CONNECTIONS = 10_000
AT_ONCE = 256
"""Clients that are on their way in at the same time; a listening socket keeps a few hundred."""

_SETTLE = 0.5
"""Seconds for messages on their way, behind the last one that was published."""

_LOOK = 0.1


class Plan(NamedTuple):
    """What to do.

    Attributes:
        url: of the WebSocket.
        tokens: the clients take turns with them.
        subscriptions: of each client: `channel` and filters.
        connections: how many clients.
        ramp: seconds over which they come.
        duration: seconds that are measured.
        publish: messages a second; 0: none.
        http_url, headers, devices: see Publisher.
    """

    url: str
    tokens: Sequence[str]
    subscriptions: Sequence[Mapping[str, Any]]
    connections: int
    ramp: float
    duration: float
    publish: float
    http_url: str
    headers: Mapping[str, str]
    devices: int


class Result(NamedTuple):
    """What came of it.

    Attributes:
        plan: what was to be done.
        tally: what the clients have seen.
        connecting, measuring: how busy this process was meanwhile; None: it did not come to that.
        publisher: None: nothing was published.
        interrupted: it was ended before its time.
    """

    plan: Plan
    tally: Tally
    connecting: Busy | None
    measuring: Busy | None
    publisher: Publisher | None
    interrupted: bool

    def faults(self) -> list[str]:
        """Say why the figures are not usable: this client was the bottleneck. Nothing when they are."""
        phases = (("connecting", self.connecting), ("measuring", self.measuring))
        return [f"while {name}, {fault}" for name, busy in phases if busy is not None for fault in busy.faults()]


async def run(plan: Plan, progress: Callable[[str, float, float, str], None]) -> Result:
    """Run a load test.

    Args:
        plan: what to do.
        progress: takes the phase, how much of it is done, of how much, and more about it; several times a second.

    Returns:
        What came of it; of what was done when the task is cancelled, and that it was.
    """
    tally = Tally(f"bench_{secrets.token_hex(4)}")
    decoder = Decoder(tally.metric)
    tokens = islice(cycle(plan.tokens), plan.connections)
    clients = [Client(tally, decoder, token, plan.subscriptions) for token in tokens]
    phases: dict[str, Busy] = {}
    publisher = None
    if plan.publish:
        publisher = Publisher(plan.http_url, plan.headers, rate=plan.publish, devices=plan.devices, tally=tally)
    interrupted = False
    gc.collect()
    gc.freeze()  # a collection among many objects takes long, and this process makes no cycles to speak of
    gc.disable()
    try:
        meter = Meter()
        try:
            await _connect(plan, clients, tally, progress)
        finally:
            phases["connecting"] = meter.stop()
        if tally.ready:
            meter = Meter()
            try:
                await _measure(plan, tally, publisher, progress)
            finally:
                phases["measuring"] = meter.stop()
    except asyncio.CancelledError:
        interrupted = True
    finally:
        gc.enable()
        gc.unfreeze()
    tally.timing, tally.ending = False, True
    for client in clients:
        client.close()
    await asyncio.sleep(0)
    return Result(plan, tally, phases.get("connecting"), phases.get("measuring"), publisher, interrupted)


async def _connect(
    plan: Plan, clients: Sequence[Client], tally: Tally, progress: Callable[[str, float, float, str], None]
) -> None:
    """Connect the clients, one after the other over the time of the ramp."""
    began = time.monotonic()
    doors = asyncio.Semaphore(AT_ONCE)

    async def enter(client: Client) -> None:
        try:
            await connect(client, plan.url, tally)
        finally:
            doors.release()

    def tell() -> None:
        failed = sum(client.failed for client in clients)
        progress("connecting", tally.ready + failed, len(clients), f"{failed} failed" if failed else "")

    async with asyncio.TaskGroup() as entering:
        watching = entering.create_task(_watch(tell))
        coming = []
        for number, client in enumerate(clients):
            await asyncio.sleep(max(began + plan.ramp * number / len(clients) - time.monotonic(), 0.0))
            await doors.acquire()
            coming.append(entering.create_task(enter(client)))
        await asyncio.wait(coming)
        watching.cancel()
    tell()


async def _measure(
    plan: Plan, tally: Tally, publisher: Publisher | None, progress: Callable[[str, float, float, str], None]
) -> None:
    """Count for the time of the plan."""
    began = time.monotonic()

    def tell() -> None:
        seconds = max(time.monotonic() - began, 1e-9)
        progress("measuring", min(seconds, plan.duration), plan.duration, f"{tally.messages / seconds:,.0f} messages/s")

    tally.timing = tally.measuring = True
    async with asyncio.TaskGroup() as measuring:
        watching = measuring.create_task(_watch(tell))
        publishing = measuring.create_task(publisher.run()) if publisher else None
        try:
            await asyncio.sleep(plan.duration)
        finally:
            tally.measuring = False
            tally.seconds = time.monotonic() - began
        if publisher is not None and publishing is not None:
            publisher.stop()
            await publishing
            await asyncio.sleep(_SETTLE)
        watching.cancel()
    tell()


async def _watch(tell: Callable[[], None]) -> None:
    while True:
        tell()
        await asyncio.sleep(_LOOK)
