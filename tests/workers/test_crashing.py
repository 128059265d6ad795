"""Workers that crash: their clients come back and recover, and those of the others do not notice."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import aiohttp
import pytest

from harness import TIMEOUT, telemetry
from workers.processes import kill, on_worker, one_on_each, processes

if TYPE_CHECKING:
    from harness import Client
    from workers.processes import Processes

MISSED = 20


async def numbers(client: Client, count: int) -> list[int]:
    return [(await client.receive())["telemetry"]["n"]["value"] for _ in range(count)]


async def published(site: Processes, number: int) -> None:
    """Publish while a worker ends, which may be the one that is asked."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                await site.publish(telemetry(1, n=number))
            except (OSError, aiohttp.ClientError):
                continue
            return


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
@pytest.mark.parametrize("comes_to", ["0", "1"])
async def test_clients_recover_on_whichever_worker_they_come_to(number: signal.Signals, comes_to: str) -> None:
    async with processes() as site, AsyncExitStack() as stack:
        clients = await one_on_each(site, stack)
        for client in clients.values():
            answer = await client.ask(type="subscribe", id=1, channel="telemetry", recover=True)
            assert answer["success"]
        await site.publish(telemetry(1, n=0))
        last = await clients["0"].receive()
        assert await numbers(clients["1"], 1) == [0]
        pids = await site.workers()
        kill(pids["0"], number)
        assert (await clients["0"].closed())[0] == 1006
        for n in range(1, MISSED + 1):
            await published(site, n)
        await site.replaced(pids["0"])
        assert (await site.workers())["1"] == pids["1"]
        back = await on_worker(site, stack, comes_to)
        since = {"epoch": answer["position"]["epoch"], "offset": last["offset"]}
        answer = await back.ask(type="subscribe", id=1, channel="telemetry", since=since)
        assert answer["recovered"] is True
        await site.publish(telemetry(1, n=MISSED + 1))
        expected = list(range(1, MISSED + 2))
        assert await numbers(back, MISSED + 1) == expected
        assert await numbers(clients["1"], MISSED + 1) == expected
        await clients["1"].nothing_more()


async def test_a_crash_says_where_it_was() -> None:
    async with processes() as site:
        pids = await site.workers()
        kill(pids["1"], signal.SIGSEGV)
        await site.replaced(pids["1"])
        site.supervisor.terminate()
        code, log = await site.ended()
    assert code == 0
    assert "Segmentation fault" in log
    assert "workers/worker.py" in log
    assert "signal 11" in log


async def test_all_workers_crash_at_once() -> None:
    """What was published before stays, for it is the supervisor's."""
    async with processes() as site, AsyncExitStack() as stack:
        client = await stack.enter_async_context(site.client())
        position = (await client.ask(type="subscribe", id=1, channel="telemetry", recover=True))["position"]
        await site.publish(telemetry(1, n=1))
        assert await numbers(client, 1) == [1]
        pids = await site.workers()
        for pid in pids.values():
            kill(pid)
        await client.closed()
        async with asyncio.timeout(TIMEOUT):
            while set((await site.all_there()).values()) & set(pids.values()):
                await asyncio.sleep(0.05)
        back = await stack.enter_async_context(site.client())
        answer = await back.ask(type="subscribe", id=1, channel="telemetry", since=position)
        assert answer["recovered"] is True
        assert await numbers(back, 1) == [1]
