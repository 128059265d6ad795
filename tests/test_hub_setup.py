from __future__ import annotations

import asyncio

from harness import configuration, telemetry
from valtronics_fast.hub_setup import make_hub


async def test_the_hub_has_the_bounds_of_the_settings() -> None:
    config = configuration(history={"messages": 2, "latest_size": 5000}, limits={"publication_size": 300})
    hub = make_hub(config, shared=False)
    assert hub.max_payload == 300
    assert hub.lanes is None
    assert [history.max_messages for history in hub.histories] == [2] * 4
    assert {table.limit for table in hub.latest if table is not None} == {5000}
    assert make_hub(config, shared=True).lanes is not None


async def test_data_waits_for_the_flush_interval() -> None:
    hub = make_hub(configuration(server={"flush_interval": 0.05}), shared=False)
    assert hub.publish(telemetry()) == 0
    await asyncio.sleep(0.1)
