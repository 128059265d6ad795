"""A worker that does not read, a supervisor that hangs: nothing grows without a bound, and all goes on afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import TIMEOUT, Client, http, telemetry
from workers.processes import kill, on_worker, processes

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
SIZE = 900
SETTINGS = {
    "VFAST_LIMITS__MESSAGES_PER_SECOND": "0",
    "VFAST_LIMITS__MESSAGE_SIZE": "0",
    "VFAST_SERVER__WORKER_TIMEOUT": "0",
    "VFAST_BACKPLANE__QUEUE": "1MiB",
    "VFAST_BACKPLANE__SIZE": "1MiB",
    "VFAST_BACKPLANE__BUFFER": "1MiB",
    "VFAST_BACKPLANE__PATIENCE": "100ms",
}


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def publish(client: Client, numbers: range) -> None:
    """Publish, and return when the worker has taken it."""
    for number in numbers:
        await client.send(type="publish", message=telemetry(1, n=number, pad="x" * SIZE))
    await client.nothing_more()


async def reaches(client: Client, number: int) -> None:
    """Read until a value comes."""
    while True:
        message = await client.receive()
        if message["type"] == "telemetry_update" and message["telemetry"]["n"]["value"] == number:
            return


async def test_for_a_worker_that_does_not_read_no_more_is_kept_than_may_wait() -> None:
    count = 40_000  # 36 MB
    async with processes(**SETTINGS) as site, AsyncExitStack() as stack:
        subscriber = await on_worker(site, stack, "1")
        await subscriber.subscribe("telemetry", device_id=1)
        publisher = await on_worker(site, stack, "0", publish=True)
        await publish(publisher, range(1000))
        await reaches(subscriber, 999)
        before = resident(site.supervisor.pid)
        pid = (await site.workers())["1"]
        kill(pid, signal.SIGSTOP)
        try:
            await publish(publisher, range(1000, count))
            growth = resident(site.supervisor.pid) - before
        finally:
            kill(pid, signal.SIGCONT)
        assert growth < 12 * MIB
        await reaches(subscriber, count - 1)
        assert (await site.stats())["supervisor"]["bus"]["losses"] >= 1


@pytest.fixture
def stopped() -> Iterator[list[int]]:
    """Processes that are to go on at the end of the test."""
    found: list[int] = []
    yield found
    for pid in found:
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGCONT)


async def test_while_the_supervisor_hangs_each_worker_serves_its_own_and_keeps_no_more_than_may_wait(
    stopped: list[int],
) -> None:
    count = 8_000  # 7 MB
    async with processes(**SETTINGS) as site, AsyncExitStack() as stack:
        near, far = [await on_worker(site, stack, worker) for worker in ("0", "1")]
        for subscriber in (near, far):
            await subscriber.subscribe("telemetry", device_id=1)
        publisher = await on_worker(site, stack, "0", publish=True)
        await publish(publisher, range(10))
        for subscriber in (near, far):
            await reaches(subscriber, 9)
        stopped.append(site.supervisor.pid)
        kill(site.supervisor.pid, signal.SIGSTOP)
        await publish(publisher, range(10, count))
        await reaches(near, count - 1)
        status, health, _ = await http("GET", site.http_url("/health/ready"))
        assert (status, health["status"], health["checks"]["workers"]) == (200, "degraded", "degraded")
        figures = {}
        async with asyncio.timeout(TIMEOUT):
            while "0" not in figures:  # each one tells of itself alone
                stats = await site.stats()
                assert stats["supervisor"] is None
                figures |= dict.fromkeys(stats["workers"], stats["backplane"])
        assert figures["0"]["dropped"] > 0
        assert figures["0"]["waiting_bytes"] <= MIB + 2 * SIZE
        kill(site.supervisor.pid, signal.SIGCONT)
        await reaches(far, count - 1)
        await site.all_there()
        await publish(publisher, range(count, count + 1))
        for subscriber in (near, far):
            await reaches(subscriber, count)
