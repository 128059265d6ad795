from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from valtronics_fast.statistics import Statistics


@dataclass
class Ended:
    """What is read of a connection."""

    close_code: int = 1000
    age: float = 2.0
    messages_in: int = 3
    messages_out: int = 5
    bytes_in: int = 70
    bytes_out: int = 110
    dropped: int = 1


NOBODY: Any = {
    "connections": 0, "age": 0.0, "messages_in": 0, "messages_out": 0, "bytes_in": 0, "bytes_out": 0, "dropped": 0,
    "queues": {},
}  # fmt: skip


def after(*connections: Any) -> Statistics:
    """Return the figures after these connections have come and gone."""
    statistics = Statistics()
    for connection in connections:
        statistics.opened()
        statistics.closed(connection)
    return statistics


def test_before_the_first_connection_the_averages_are_0() -> None:
    totals = Statistics().totals(NOBODY)
    totals.pop("uptime")
    assert [totals.pop(name) for name in ("close_codes", "auth_failures", "http_auth_failures", "queues")] == [{}] * 4
    assert set(totals.values()) == {0}


def test_those_that_are_gone_and_those_that_are_there_are_summed_up() -> None:
    statistics = after(Ended(), Ended(age=4.0, dropped=0))
    statistics.opened()
    active = NOBODY | {
        "connections": 1, "age": 6.0, "messages_in": 10, "messages_out": 20, "bytes_in": 100, "bytes_out": 200,
        "dropped": 7,
    }  # fmt: skip
    totals = statistics.totals(active)
    totals.pop("uptime")
    assert totals == {
        "total_connections": 3,
        "active_connections": 1,
        "messages_received": 16,
        "messages_sent": 30,
        "bytes_received": 240,
        "bytes_sent": 420,
        "messages_dropped": 8,
        "average_connection_duration": 4.0,
        "messages_per_connection": round(46 / 3, 3),
        "queues": {},
        "close_codes": {"1000": 2},
        "auth_failures": {},
        "http_auth_failures": {},
    }


def test_ends_are_counted_by_close_code_in_their_order() -> None:
    statistics = after(*(Ended(code) for code in (4101, 1000, 1006, 4101)))
    codes = statistics.totals(NOBODY)["close_codes"]
    assert isinstance(codes, dict)
    assert list(codes.items()) == [("1000", 1), ("1006", 1), ("4101", 2)]


def test_refused_tokens_are_counted_by_reason_in_their_order() -> None:
    statistics = Statistics()
    statistics.auth_failures.update(["expired", "bad_signature", "expired"])
    failures = statistics.totals(NOBODY)["auth_failures"]
    assert isinstance(failures, dict)
    assert list(failures.items()) == [("bad_signature", 1), ("expired", 2)]
