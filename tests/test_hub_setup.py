from __future__ import annotations

import asyncio

from harness import configuration, telemetry
from valtronics_fast.hub_setup import INPUT_A_TURN, make_hub, reload_hub


async def test_the_hub_has_the_bounds_of_the_settings() -> None:
    limits = {"publication_size": 300, "all_queues": 70_000}
    config = configuration(history={"messages": 2, "size": 900, "latest_size": 5000}, limits=limits)
    hub = make_hub(config, shared=False)
    assert (hub.max_payload, hub.max_backlog) == (300, 70_000)
    assert hub.budget.seconds == INPUT_A_TURN
    assert hub.lanes is None
    assert [(history.max_messages, history.max_bytes) for history in hub.histories] == [(2, 900)] * 4
    assert {table.limit for table in hub.latest if table is not None} == {5000}
    assert make_hub(config, shared=True).lanes is not None


async def test_a_hub_that_runs_takes_other_bounds() -> None:
    hub = make_hub(configuration(), shared=False)
    reload_hub(hub, configuration(limits={"publication_size": 300, "all_queues": 70_000}))
    assert (hub.max_payload, hub.max_backlog) == (300, 70_000)
    reload_hub(hub, configuration(limits={"all_queues": 0}))
    assert hub.max_backlog > 2**60


async def test_data_waits_for_the_flush_interval() -> None:
    hub = make_hub(configuration(server={"flush_interval": 0.05}), shared=False)
    assert hub.publish(telemetry()) == 0
    await asyncio.sleep(0.1)
