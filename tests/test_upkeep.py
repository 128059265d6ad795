from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from valtronics_fast import descriptors, memory_limit
from valtronics_fast._core.hub import Hub
from valtronics_fast.upkeep import Upkeep

if TYPE_CHECKING:
    import pytest


async def test_it_looks_after_the_process_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limit, "INTERVAL", 0.01)
    monkeypatch.setattr(descriptors, "WATCH_INTERVAL", 0.01)
    held: list[bool] = []
    upkeep = Upkeep(Hub(lambda _flush: None, 0.0), 1, held.append)
    stats = upkeep.stats()
    for name, nothing in {"seconds_without_descriptors": 0, "short_of_memory": False, "closed_for_memory": 0}.items():
        assert stats[name] == nothing
    assert stats["event_loop"] == {"lag": 0.0, "longest": 0.0}
    assert stats["memory"]["limit"] == 1  # type: ignore[index]
    assert stats["memory"]["resident"] > 1 << 20  # type: ignore[index]
    assert stats["loop_lag"]["count"] == 0  # type: ignore[index]
    upkeep.start()
    async with asyncio.timeout(10):
        while not held:
            await asyncio.sleep(0.01)
    assert upkeep.stats()["short_of_memory"] is True
    upkeep.reload(0)
    async with asyncio.timeout(10):
        while held == [True]:
            await asyncio.sleep(0.01)
    upkeep.stop()
    upkeep.stop()
    upkeep.reload(1)
    await asyncio.sleep(0.05)
    assert held == [True, False]
