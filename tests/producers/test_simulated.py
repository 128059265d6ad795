from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import pytest

from valtronics_fast.producers.simulated import SimulatedFleet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NOON = 1_767_268_800.0
Message = dict[str, object]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def of_type(messages: list[Message], kind: str) -> list[Message]:
    return [message for message in messages if message["type"] == kind]


def history(fleet: SimulatedFleet, seconds: int, groups: int = 1) -> list[Message]:
    return [
        message
        for second in range(seconds)
        for group in range(groups)
        for message in fleet.step(NOON + second, group, groups)
    ]


def test_the_same_seed_and_times_give_the_same_messages() -> None:
    first, second, other = (orjson.dumps(history(SimulatedFleet(20, seed), 90)) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_without_a_seed_each_fleet_is_another() -> None:
    assert history(SimulatedFleet(2), 2) != history(SimulatedFleet(2), 2)


def test_grouping_changes_nothing_but_the_order() -> None:
    def lines(groups: int) -> list[bytes]:
        messages = history(SimulatedFleet(20, 3), 60, groups)
        return sorted(orjson.dumps({**message, "alert_id": None, "metadata": None}) for message in messages)

    assert lines(1) == lines(7)


@pytest.mark.parametrize("devices", [1, 2, 3, 50])
@pytest.mark.parametrize("seed", range(5))
def test_something_happens_within_the_first_minute(devices: int, seed: int) -> None:
    fleet = SimulatedFleet(devices, seed)
    history(fleet, 1)  # the devices come online
    messages = [message for second in range(1, 60) for message in fleet.step(NOON + second)]
    assert of_type(messages, "alert")
    assert of_type(messages, "device_status_update")


def test_twenty_minutes_of_a_fleet() -> None:
    messages = history(SimulatedFleet(50, 1), 1200)
    telemetry, alerts, statuses = (
        of_type(messages, kind) for kind in ("telemetry_update", "alert", "device_status_update")
    )
    assert {message["device_id"] for message in telemetry} == set(range(1, 51))
    assert len(telemetry) > 50 * 1200 * 0.9  # some devices are offline for a while
    # Often enough to be seen, seldom enough to be believed.
    assert 50 < len(alerts) < 500
    assert 50 < len(statuses) < 500
    assert {message["severity"] for message in alerts} == {"info", "warning", "critical"}
    assert {message["new_status"] for message in statuses} == {"online", "warning", "offline", "maintenance"}
    ids = [alert_id for message in alerts if isinstance(alert_id := message["alert_id"], int)]
    assert ids == sorted(set(ids))
    assert len(ids) == len(alerts)
    known: dict[object, object] = {}
    for message in statuses:
        assert message["old_status"] == known.get(message["device_id"], "unknown")
        assert message["old_status"] != message["new_status"]
        known[message["device_id"]] = message["new_status"]


async def test_it_publishes_every_device_once_an_interval() -> None:
    published: list[Message] = []

    def publish(message: Mapping[str, object]) -> int:
        published.append(dict(message))
        return 0

    tasks = asyncio.all_tasks()
    fleet = SimulatedFleet(10, 1, 0.2)  # in four groups
    assert not fleet.ready()
    await fleet.start(publish)
    assert fleet.ready()
    await until(lambda: published)
    assert len(of_type(published, "telemetry_update")) == 3  # the first group alone
    await until(lambda: len(of_type(published, "telemetry_update")) >= 30)
    await fleet.stop()
    await fleet.stop()
    assert not fleet.ready()
    assert asyncio.all_tasks() == tasks
    assert fleet.stats() == {"devices": 10, "published": len(published), "rejected": 0}
    devices = [message["device_id"] for message in of_type(published, "telemetry_update")]
    assert devices[:20] == [1, 5, 9, 2, 6, 10, 3, 7, 4, 8] * 2


@pytest.mark.parametrize(("devices", "interval"), [(0, 1.0), (1, 0.0), (1, -1.0)])
def test_what_a_fleet_can_not_be(devices: int, interval: float) -> None:
    with pytest.raises(ValueError):
        SimulatedFleet(devices, 1, interval)
