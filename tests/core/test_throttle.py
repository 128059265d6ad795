"""Deadbands (protocol.md, section 3): which values are left out because they have not moved by enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.frequency_model import Pace, has_moved
from core.harness import IDLE_PACER, numbers
from core.paced import SOON, Stage

if TYPE_CHECKING:
    from core.wire_client import Client


async def at_once(stage: Stage, client: Client, values: list[Any]) -> list[Any]:
    """Publish values one after the other; return those that the client has received."""
    for value in values:
        stage.publish(n=value)
    return numbers(await client.settled())


def every(interval: str, deadband: object) -> dict[str, object]:
    return {"every": interval, "deadband": deadband}


@pytest.mark.parametrize(
    ("deadband", "values", "sent"),
    [
        (0.5, [10, 10.25, 9.75, 10.5, 10.25, 10, 9.5], [10, 10.5, 10, 9.5]),
        (0.5, [10, 10.2, 10.4, 10.6, 10.8], [10, 10.6]),  # against what was sent, not against what came last
        (2, [0, 1, -1, 2, -2, -1], [0, 2, -2]),
        (2, [5, 5, 5], [5]),
        ("10%", [100, 109, 91, 110, 100, 99], [100, 110, 99]),
        ("10%", [-100, -105, -95, -110, -99], [-100, -110, -99]),
        ("10%", [0, 0, 0.001, 0.00105, 0], [0, 0.001, 0]),  # a share of nothing is nothing
        ("100%", [1, 0.5, 1.5, 2, 0], [1, 2, 0]),
        ("250%", [1, 3, -1, 3.5], [1, 3.5]),
        (0.1, ["on", "on", 1, 1.05, "on", 1, 1.05], ["on", "on", 1, "on", 1]),  # what is no number has always moved
        (5, [True, True, 1, False, None, None], [True, True, 1, False, None, None]),
        (5, [1 << 40, (1 << 40) + 4, (1 << 40) + 5], [1 << 40, (1 << 40) + 5]),
        (5, [1, [2], {"a": 1}], [1, [2], {"a": 1}]),
        (1e300, [1e308, -1e308, 0], [1e308, -1e308, 0]),
    ],
)
async def test_a_deadband_alone_is_real_time_but_for_what_has_not_moved(
    deadband: object, values: list[Any], sent: list[Any]
) -> None:
    async with Stage() as stage:
        client = await stage.subscriber(every("real-time", deadband))
        objects = [{"value": value, "unit": None, "timestamp": "T"} for value in values]
        assert await at_once(stage, client, []) == []
        for item in objects:
            stage.hub.publish({"type": "telemetry_update", "device_id": 1, "telemetry": {"n": item}}, 0)
        assert numbers(await client.settled()) == sent
        assert stage.hub.pacer.stats()["timers"] == 0


@given(
    st.sampled_from([0.5, 1, 3.0, "50%", "2.5%", "100%"]),
    st.lists(st.integers(-9, 9) | st.floats(-9, 9, width=16) | st.sampled_from(["x", True, None]), max_size=20),
)
@settings(max_examples=60)
async def test_any_values_against_the_oracle(deadband: Any, values: list[Any]) -> None:
    pace = Pace(0, *((float(deadband[:-1]) / 100, True) if isinstance(deadband, str) else (deadband, False)))
    expected: list[Any] = []
    for value in values:
        if not expected or has_moved(value, expected[-1], pace):
            expected.append(value)
    async with Stage() as stage:
        client = await stage.subscriber(every("real-time", deadband))
        assert await at_once(stage, client, values) == expected


async def test_each_metric_and_each_device_has_its_own() -> None:
    async with Stage() as stage:
        client = await stage.subscriber(every("real-time", 1))
        stage.publish(1, t=5, h=5)
        stage.publish(1, t=5.5, h=6)
        stage.publish(2, t=5.5)
        stage.publish(1, t=6, h=6.5, p=0)
        stage.publish(1, h=6.5)
        assert await stage.heard(client) == [
            (1, {"t": 5, "h": 5}), (1, {"h": 6}), (2, {"t": 5.5}), (1, {"t": 6, "p": 0}),
        ]  # fmt: skip


async def test_a_system_metric_has_one_too() -> None:
    async with Stage() as stage:
        client = await stage.subscriber(every("real-time", "10%"), "system")
        for cpu in (50, 54, 55, 60.4, 60.5):
            stage.publish(None, cpu=cpu, ram={"value": cpu})
        assert await stage.heard(client) == [{"cpu": cpu, "ram": {"value": cpu}} for cpu in (50, 55, 60.5)]


async def test_with_an_interval_the_newest_value_counts() -> None:
    """What has gone and come back is not sent, and sets no clock: the next that has moved goes out at once."""
    async with Stage() as stage:
        client = await stage.subscriber(every("100ms", 1))
        stage.publish(n=10)
        stage.at(20).publish(n=20)
        stage.at(40).publish(n=10.5)
        stage.at(100 + SOON).tick()
        assert numbers(await client.settled()) == [10]
        stage.at(120).publish(n=10.9)
        assert numbers(await client.settled()) == []
        stage.at(130).publish(n=11)
        stage.publish(n=12)
        assert numbers(await client.settled()) == [11]
        stage.at(230 + SOON).tick()
        assert numbers(await client.settled()) == [12]
        stage.at(5000).tick()
        stage.at(9000).publish(n=12.5)
        assert numbers(await client.settled()) == []


async def test_who_comes_later_has_been_sent_nothing() -> None:
    async with Stage() as stage:
        early = await stage.subscriber(every("real-time", 1))
        stage.publish(n=1)
        late = await stage.subscriber(every("real-time", 1))
        stage.publish(n=1.5)
        stage.publish(n=2)
        stage.publish(n=2.5)
        assert numbers(await early.settled()) == [1, 2]
        assert numbers(await late.settled()) == [1.5, 2.5]


async def test_what_each_client_was_sent_is_kept_apart_though_they_are_sent_the_same_now() -> None:
    async with Stage() as stage:
        early = await stage.subscriber(every("100ms", 1))
        stage.publish(h=1, n=1)
        late = await stage.subscriber(every("100ms", 1))
        stage.at(1).publish(h=1.75, n=1)
        stage.at(300).tick()
        stage.publish(n=5)  # to both, and with one clock from then on
        stage.at(310).publish(h=2.25)
        stage.at(600).tick()
        assert await stage.heard(early) == [(1, {"h": 1, "n": 1}), (1, {"n": 5}), (1, {"h": 2.25})]
        assert await stage.heard(late) == [(1, {"h": 1.75, "n": 1}), (1, {"n": 5})]


@pytest.mark.parametrize("other", [every("1s", 2), every("1s", "1%"), "1s"])
async def test_overlapping_subscriptions_have_one_only_where_all_have_the_same(other: object) -> None:
    async with Stage() as stage:
        client = await stage.subscriber(every("real-time", 1))
        await stage.order(client, every("1s", 1), device_id=1)
        await stage.order(client, other, device_id=[2, 3])
        for device in (1, 2):
            for value in (5, 5.5):
                stage.publish(device, n=value)
        assert await stage.heard(client) == [(1, {"n": 5}), (2, {"n": 5}), (2, {"n": 5.5})]


async def test_it_ends_with_its_subscription() -> None:
    async with Stage() as stage:
        client = await stage.subscriber(every("real-time", 1))
        assert await at_once(stage, client, [1, 1.5]) == [1]
        await stage.told(client, type="unsubscribe", id=1, channel="telemetry")
        stage.tick()
        assert stage.hub.pacer.stats() == IDLE_PACER
        await stage.order(client, every("real-time", 1))
        assert await at_once(stage, client, [1.5, 1]) == [1.5]


async def test_a_metric_in_another_ones_place_has_been_sent_nothing() -> None:
    """The 257th metric takes the place of the one that was silent for longest."""
    async with Stage() as stage:
        client = await stage.subscriber(every("real-time", 10), metrics=["m0", "new"])
        stage.publish(m0=100)
        stage.publish(**{f"m{i}": 0 for i in range(1, 256)})
        stage.publish(new=101)
        stage.publish(new=102)
        stage.publish(m0=100)  # back, in the place of another one: nobody knows any more what was sent of it
        stage.publish(m0=105)
        assert await stage.heard(client) == [(1, {"m0": 100}), (1, {"new": 101}), (1, {"m0": 100})]
