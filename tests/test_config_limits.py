"""The bounds on clients and on what is kept; what all settings have in common is tested with `config`."""

from __future__ import annotations

import pytest

from valtronics_fast.config import Config
from valtronics_fast.config_limits import HistoryConfig, LimitsConfig


def test_the_bounds_on_a_queue_rise() -> None:
    limits = LimitsConfig()
    assert limits.queue_mark < limits.queue_size < limits.queue_limit < limits.all_queues


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [("queue_mark", "1MiB", 1 << 20), ("queue_time", "2m", 120.0), ("min_interval", "250ms", 0.25)],
)
def test_limits_are_written_with_units(name: str, written: str, value: float) -> None:
    assert getattr(Config.load({"limits": {name: written}}, environ={}).limits, name) == value


def test_history_is_bounded_by_default_in_every_way() -> None:
    history = HistoryConfig()
    assert all(getattr(history, name) for name in history.__struct_fields__)
