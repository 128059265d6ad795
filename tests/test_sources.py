from __future__ import annotations

from typing import Any

import pytest

from harness import configuration, running
from valtronics_fast.room import OwnRoom
from valtronics_fast.sources import make_producers


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, []),
        ({"system": {"interval": 5}}, ["system"]),
        ({"mqtt": {"url": "mqtt://broker"}}, ["mqtt"]),
        ({"system": {"interval": 5}, "mqtt": {"url": "mqtt://broker"}, "demo": True}, ["system", "mqtt", "simulated"]),
    ],
)
async def test_what_is_asked_for_is_made(settings: dict[str, Any], names: list[str]) -> None:
    async with running() as site:
        server = site.server
        producers = make_producers(
            configuration(**settings), OwnRoom(), server.deliveries, server._hub, server._backplane
        )
        assert [producer.name for producer in producers] == names
