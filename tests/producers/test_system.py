from __future__ import annotations

import asyncio
import logging
import os
import re
from typing import TYPE_CHECKING

import psutil
import pytest

from valtronics_fast.producers import system
from valtronics_fast.producers.system import Rate, SystemProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RATES = {
    "messages_per_second",
    "network_in_bytes_per_second",
    "network_out_bytes_per_second",
    "process_cpu_usage",
}
DOCUMENTED = set(re.findall(r"`([a-z0-9_]+)`", (system.__doc__ or "").split("| --- |")[-1].split("\n\n")[0]))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


class Hub(list[dict[str, object]]):
    def publish(self, message: Mapping[str, object]) -> int:
        self.append(dict(message))
        return 0


async def test_messages_come_at_once_and_at_intervals() -> None:
    hub = Hub()
    tasks = asyncio.all_tasks()
    producer = SystemProducer(0.02, lambda: 15, lambda: 7)
    assert not producer.ready()
    await producer.start(hub.publish)
    assert producer.ready()
    await until(lambda: len(hub) >= 3)
    await producer.stop()
    await producer.stop()
    assert not producer.ready()
    assert asyncio.all_tasks() == tasks
    assert producer.stats() == {"published": len(hub), "rejected": 0}
    for message in hub:
        assert list(message) == ["type", "metrics"]
        assert message["type"] == "system_status_update"
    first, second = (message["metrics"] for message in hub[:2])
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert second.keys() == DOCUMENTED
    assert second.keys() - first.keys() == RATES
    assert second["active_connections"] == 15
    for value in second.values():
        assert type(value) in {int, float}


def test_figures_are_those_of_this_process() -> None:
    producer = SystemProducer(1, lambda: 3)
    figures = producer.sample()
    assert {"cpu_usage", "memory_usage", "disk_usage", "active_connections"} <= figures.keys()
    assert "messages_per_second" not in figures
    for name in ("cpu_usage", "memory_usage", "disk_usage"):
        assert 0 <= figures[name] <= 100
    assert figures["process_open_fds"] > 0
    assert figures["process_threads"] >= 1
    assert figures["load_1m"] == pytest.approx(os.getloadavg()[0], abs=1)
    assert figures["process_memory_bytes"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert figures["uptime_seconds"] >= 0


def test_a_rate_is_the_rise_per_second() -> None:
    rate = Rate()
    assert rate.of(1000, 50.0) is None
    assert rate.of(1500, 52.0) == 250
    assert rate.of(1500, 53.0) == 0
    assert rate.of(20, 54.0) is None  # the counter began anew
    assert rate.of(30, 54.0) is None  # no time has passed
    assert rate.of(40, 56.0) == 5


def test_what_the_system_does_not_give_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise PermissionError("/proc is hidden")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)  # what psutil returns without interfaces
    monkeypatch.setattr(psutil, "disk_usage", fail)
    monkeypatch.setattr(psutil.Process, "num_fds", fail)
    producer = SystemProducer(1, lambda: 0)
    for _ in range(3):
        figures = producer.sample()
    assert figures.keys() == DOCUMENTED - {
        "disk_usage",
        "messages_per_second",
        "network_in_bytes_per_second",
        "network_out_bytes_per_second",
        "process_open_fds",
    }
    assert len(caplog.records) == 3  # one a source, not one a sample
