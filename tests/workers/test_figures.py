from __future__ import annotations

from typing import Any

from harness import running
from valtronics_fast.workers.figures import sum_up


def figures(**more: Any) -> dict[str, Any]:
    return {
        "uptime": 10.0,
        "total_connections": 4,
        "average_connection_duration": 2.0,
        "messages_received": 3,
        "messages_sent": 5,
        "messages_per_connection": 2.0,
        **more,
    }


def test_sums_and_averages() -> None:
    other = {"uptime": 3.0, "total_connections": 12, "average_connection_duration": 6.0, "messages_sent": 8}
    assert sum_up([figures(), figures(**other)]) == {
        "uptime": 10.0,
        "total_connections": 16,
        "average_connection_duration": 5.0,
        "messages_received": 6,
        "messages_sent": 13,
        "messages_per_connection": 1.188,
    }


def test_without_a_connection_the_averages_are_0() -> None:
    empty = figures(total_connections=0, average_connection_duration=0.0)
    assert sum_up([empty])["average_connection_duration"] == 0.0


def test_what_each_worker_sees_of_the_same_thing_is_no_sum() -> None:
    channels = [{"telemetry": {"publications": count, "deliveries": count, "bytes": 5}} for count in (10, 12)]
    history = [{"telemetry": {"first": first, "last": last, "messages": 3}} for first, last in ((5, 9), (4, 8))]
    total = sum_up([figures(channels=one, history=two) for one, two in zip(channels, history, strict=True)])
    assert total["channels"] == {"telemetry": {"publications": 12, "deliveries": 22, "bytes": 10}}
    assert total["history"] == {"telemetry": {"first": 4, "last": 9, "messages": 6}}
    lags = [{"lag": lag, "longest": longest} for lag, longest in ((0.1, 0.2), (0.3, 0.1))]
    assert sum_up([figures(event_loop=lag) for lag in lags])["event_loop"] == {"lag": 0.3, "longest": 0.2}


def test_a_figure_that_only_some_have() -> None:
    one = figures(close_codes={"1000": 2}, producers={"mqtt": {"received": 9}})
    total = sum_up([one, figures(close_codes={"1000": 1, "4002": 1})])
    assert total["close_codes"] == {"1000": 3, "4002": 1}
    assert total["producers"] == {"mqtt": {"received": 9}}


def test_words_and_flags() -> None:
    total = sum_up([figures(backplane={"name": "bus", "connected": flag}) for flag in (True, False)])
    assert total["backplane"] == {"name": "bus", "connected": False}
    assert sum_up([figures(last=None), figures(last=None)])["last"] is None


def test_the_worst_addresses_of_all() -> None:
    lists = [
        [{"address": f"10.0.0.{number}", "rate": number, "banned_for": 0.0} for number in range(1, 11)],
        [{"address": "10.0.0.1", "rate": 90, "violation": 1, "banned_for": 5.0}],
    ]
    worst = sum_up([figures(suspicion={"worst": each}) for each in lists])["suspicion"]["worst"]
    assert len(worst) == 10
    assert worst[0] == {"address": "10.0.0.1", "rate": 91, "violation": 1, "banned_for": 5.0}
    assert worst[1] == {"address": "10.0.0.10", "rate": 10, "banned_for": 0.0}


async def test_the_figures_of_one_server_are_themselves() -> None:
    async with running() as site, site.client():
        stats = site.server.stats()
        assert sum_up([stats]) == stats
