"""Who may recover on a node that was without its log for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from core.harness import telemetry
from redis_server import Redis
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.lanes import lane_of
from valtronics_fast._core.wire import Channel
from valtronics_fast.backplanes import open_backplane
from valtronics_fast.config import BackplaneConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TIMEOUT = 60.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.01)


async def test_nobody_recovers_from_it_what_it_has_delivered_alone_until_the_log_has_that(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with Redis(tmp_path, persistent=True) as redis:
        hub = Hub(loop.call_soon, loop.time(), history=100, shared=True)
        backplane = open_backplane(BackplaneConfig(url=redis.url))
        history = hub.histories[Channel.TELEMETRY]
        partitions = 1 << lane_of(Channel.TELEMETRY, 1)
        await backplane.start(hub)
        try:
            await backplane.follow([lane_of(Channel.TELEMETRY, 1)], 0)
            backplane.publish(telemetry(1, t=1))
            await until(lambda: len(history) == 1)
            position = hub.log_position
            assert history.since(position, partitions=partitions) == []
            redis.kill()
            await until(lambda: not backplane.ready())
            backplane.publish(telemetry(1, t=2))
            assert history.since(position, partitions=partitions) is None
            redis.start()
            await until(lambda: history.since(position, partitions=partitions) is not None)
            found = history.since(position, partitions=partitions)
            assert found is not None
            assert [device for _, _, device in found] == [1]
        finally:
            await backplane.stop()
