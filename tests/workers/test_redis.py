"""Workers on a backplane in the network: each is a node, and what their machine counts already is not counted twice."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from harness import TIMEOUT, telemetry
from redis_server import Redis
from workers.processes import on_worker, processes
from workers.test_limits import attempts

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 6


async def test_a_user_has_so_many_connections_on_all_workers_of_all_machines(tmp_path: Path) -> None:
    with Redis(tmp_path) as redis:
        settings = {"VFAST_BACKPLANE__URL": redis.url, "VFAST_LIMITS__CONNECTIONS_PER_USER": str(LIMIT)}
        async with processes(**settings) as one, processes(**settings) as two, AsyncExitStack() as stack:
            for site in (one, two):
                await site.seen(lambda stats: stats["backplane"]["nodes"] == 3)
            here, refused = await attempts(one, stack, 4, "alice")
            assert (len(here), refused) == (4, [])
            there, refused = [], []
            async with asyncio.timeout(TIMEOUT):
                while (len(there), refused) != (2, [4005] * 8):  # once the other machine has heard of it
                    async with AsyncExitStack() as attempt:
                        there, refused = await attempts(two, attempt, 10, "alice")
                    await asyncio.sleep(0.3)
            inside, refused = await attempts(one, stack, LIMIT + 4, "carol")
            assert (len(inside), refused) == (LIMIT, [4005] * 4)


async def test_what_comes_in_on_one_worker_comes_to_all_of_all_machines(tmp_path: Path) -> None:
    with Redis(tmp_path) as redis:
        settings = {"VFAST_BACKPLANE__URL": redis.url}
        async with processes(**settings) as one, processes(**settings) as two, AsyncExitStack() as stack:
            clients = [await on_worker(site, stack, worker) for site in (one, two) for worker in ("0", "1")]
            for client in clients:
                await client.subscribe("telemetry", device_id=1)
            for number in range(20):
                await (one, two)[number % 2].publish(telemetry(1, n=number))
            for client in clients:
                assert [(await client.receive())["telemetry"]["n"]["value"] for _ in range(20)] == list(range(20))
                await client.nothing_more()
            assert (await one.stats())["supervisor"]["bus"]["entries"] == 0
