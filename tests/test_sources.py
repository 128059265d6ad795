from __future__ import annotations

from typing import Any

import pytest

from harness import configuration
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
def test_what_is_asked_for_is_made(settings: dict[str, Any], names: list[str]) -> None:
    producers = make_producers(configuration(**settings), OwnRoom(), lambda: 0)
    assert [producer.name for producer in producers] == names
