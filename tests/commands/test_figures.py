"""The page of `top`, made from what a real server says and from what no server should."""

from __future__ import annotations

from typing import Any

import pytest

from harness import running, telemetry
from valtronics_fast.commands.figures import Sample, bytes_text, page, summary

NASTY = "\x1b[2J\u202e"
WORKER = {"answered": True, "pid": 7, "connections": 12, "messages_sent": 100, "cpu_seconds": 1.0, "uptime": 60.0}


def sample(at: float = 0.0, connections: list[dict[str, Any]] | None = None, **stats: Any) -> Sample:
    return Sample(at, 0.0015, {"uptime": at, **stats}, connections)


async def test_the_figures_of_a_server() -> None:
    async with running(demo=True) as site, site.client() as client:
        await client.subscribe("alerts")
        before = Sample(0.0, 0.001, dict(site.server.stats()), None)
        site.server.publish(telemetry())
        now = Sample(2.0, 0.001, {**site.server.stats(), "messages_sent": before.stats["messages_sent"] + 50}, None)
    lines = page("a title", now, before)
    assert lines[0].startswith("a title   up ")
    assert lines[2].startswith("connections  1   new 0/s")
    assert lines[4].startswith("out          25/s")
    assert any(line.startswith("telemetry ") for line in lines)
    assert any(line.startswith("producer simulated   published ") for line in lines)
    assert any(line.startswith("backplane memory") for line in lines)
    assert summary(now, before)["sent_per_second"] == 25


def test_rates_need_two_looks_and_begin_anew_with_a_restart() -> None:
    assert summary(sample(1.0, messages_sent=5), None)["sent_per_second"] is None
    assert summary(sample(2.0, messages_sent=5), sample(1.0, messages_sent=3))["sent_per_second"] == 2
    restarted = Sample(3.0, 0.0, {"uptime": 0.5, "messages_sent": 1}, None)
    assert summary(restarted, sample(2.0, messages_sent=5))["sent_per_second"] is None


def test_workers_and_who_does_not_answer() -> None:
    before = sample(1.0, workers={"0": WORKER, "1": WORKER})
    now = sample(3.0, workers={"0": {**WORKER, "cpu_seconds": 2.0, "messages_sent": 300}, "1": {"answered": False}})
    lines = page("t", now, before)
    head = next(index for index, line in enumerate(lines) if line.startswith("WORKER"))
    assert lines[head + 1].split() == ["0", "7", "12", "100", "50%", "1", "min", "0", "s"]
    assert lines[head + 2].endswith("does not answer")


def test_how_late_the_event_loop_is_and_how_busy() -> None:
    late = {"lag": 0.0004, "longest": 0.0123}
    before, now = sample(1.0, cpu_seconds=3.0, event_loop=late), sample(3.0, cpu_seconds=3.5, event_loop=late)
    assert "event loop   late by 0.4 ms   at most 12.3 ms   CPU 25%" in page("t", now, before)
    assert "event loop   late by 0.4 ms   at most 12.3 ms   CPU -" in page("t", now, None)
    assert not any(line.startswith("event loop") for line in page("t", sample(), None))


def test_the_slowest_readers_come_first() -> None:
    readers = [
        {
            "id": number,
            "user": f"u{number}",
            "address": "::1",
            "age": 90061,
            "queued_bytes": number << 10,
            "messages_per_second": 2.0,
        }
        for number in range(14, -1, -1)
    ]
    lines = page("t", sample(connections=readers), None)
    head = next(index for index, line in enumerate(lines) if line.startswith("SLOWEST READERS"))
    assert [line.split()[0] for line in lines[head + 1 :]] == [str(number) for number in range(14, 4, -1)]
    assert lines[head + 1].split() == ["14", "u14", "::1", "1", "d", "1", "h", "14.0", "KiB", "2"]
    assert "SLOWEST READERS  nothing waits for anybody" in page("t", sample(connections=readers[-1:]), None)
    assert not any("SLOWEST" in line for line in page("t", sample(), None))


@pytest.mark.parametrize("odd", [None, 7, "x", [], {NASTY: NASTY}, {NASTY: {NASTY: 1}}, True])
def test_what_is_odd_does_no_harm(odd: Any) -> None:
    names = (
        "uptime", "active_connections", "refused", "auth_failures", "slow_readers", "channels", "workers", "producers",
        "event_loop", "backplane", "messages_sent",
    )  # fmt: skip
    found = Sample(0.0, 0.0, dict.fromkeys(names, odd), [{"id": odd, "user": odd, "queued_bytes": 5, "age": odd}])
    lines = page(NASTY, found, found._replace(at=1.0))
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")],
)
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text
