from __future__ import annotations

import asyncio
import time

from valtronics_fast.load.meter import MAX_CPU, MAX_LAG, Busy, Meter


async def test_a_loop_that_is_held_up_is_noticed() -> None:
    meter = Meter()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    busy = meter.stop()
    assert busy.greatest_lag > 0.1
    assert busy.seconds >= 0.2
    assert busy.cpu > 0
    assert any("event loop" in fault for fault in busy.faults())


async def test_a_loop_that_waits_uses_no_cpu() -> None:
    meter = Meter()
    await asyncio.sleep(0.2)
    assert meter.stop().cpu < MAX_CPU


def test_faults() -> None:
    assert Busy(1.0, MAX_CPU, MAX_LAG, 9.0).faults() == []
    assert Busy(1.0, 0.97, 0.0, 0.0).faults() == ["this client used 97% of a CPU (more than 85%)"]
    assert Busy(1.0, 0.1, 0.123, 9.0).faults() == ["its event loop was 123 ms late (more than 20 ms)"]
