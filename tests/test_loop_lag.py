from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from harness import until
from valtronics_fast import loop_lag
from valtronics_fast.loop_lag import KEPT, LoopLag

if TYPE_CHECKING:
    import pytest


async def test_a_loop_that_was_held_up_was_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "INTERVAL", 0.01)
    lag = LoopLag()
    assert lag.stats() == {"lag": 0.0, "longest": 0.0}
    assert lag.histogram.figures()["count"] == 0
    lag.start()
    await asyncio.sleep(0.005)
    time.sleep(0.2)  # what would hold up everybody
    await until(lambda: lag.stats()["longest"] > 0.15)
    stats = lag.stats()
    assert 0 < stats["lag"] <= stats["longest"]
    await until(lambda: lag.stats()["longest"] < 0.15)  # it is forgotten,
    assert len(lag._late) == KEPT
    lag.stop()
    lag.stop()
    stats, counted = lag.stats(), lag.histogram.figures()
    assert counted["count"] > KEPT  # but not by the histogram
    assert counted["sum"] >= 0.15
    assert counted["count"] - counted["buckets"]["0.131072"] >= 1
    await asyncio.sleep(0.05)
    assert (lag.stats(), lag.histogram.figures()) == (stats, counted)
