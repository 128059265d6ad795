"""When what a client has subscribed to changes while something is pending (protocol.md, section 3).

What is pending and still asked for goes out at once, ahead of the answer: it must not be lost, and the next value may
be far away. What is no longer asked for is dropped. A new frequency begins anew: the next publication goes out at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from core.harness import IDLE_PACER
from core.paced import FOREVER, Stage, short
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import Channel

if TYPE_CHECKING:
    from core.wire_client import Client

SLOW = "10s"
UNSUBSCRIBE = {"type": "unsubscribe", "id": 2, "channel": "telemetry"}


async def with_something_pending(
    stage: Stage, frequency: object = SLOW, *, device_id: list[int] | None = None, metrics: list[str] | None = None
) -> Client:
    """Return a client to which the values of two devices are pending, at 0 ms."""
    client = await stage.subscriber(frequency, device_id=device_id, metrics=metrics)
    for device in (1, 2):
        for value in (1, 2):
            stage.publish(device, t=value, h=value)
    assert await stage.heard(client)
    return client


async def nothing_comes(stage: Stage, client: Client) -> None:
    """Check that nothing is pending any more."""
    stage.at(60_000).tick()
    assert await stage.heard(client) == []
    assert stage.hub.pacer.stats() == IDLE_PACER


@pytest.mark.parametrize("devices", [None, [1, 2]])
@pytest.mark.parametrize("new", ["1s", "20s", "real-time", {"every": "10s", "deadband": 5}])
async def test_another_frequency_gets_what_is_pending_at_once(devices: list[int] | None, new: object) -> None:
    async with Stage() as stage:
        client = await with_something_pending(stage, device_id=devices)
        sent = await stage.order(client, new, device_id=devices)
        assert sorted(sent) == [(1, {"t": 2, "h": 2}), (2, {"t": 2, "h": 2})]
        await nothing_comes(stage, client)


async def test_and_its_first_publication_goes_out_at_once() -> None:
    async with Stage() as stage:
        client = await with_something_pending(stage)
        await stage.order(client, "1s")
        stage.at(10).publish(1, t=3)
        stage.publish(1, t=4)
        assert await stage.heard(client) == [(1, {"t": 3})]
        stage.at(1210).tick()
        assert await stage.heard(client) == [(1, {"t": 4})]


@pytest.mark.parametrize("devices", [None, [1, 2]])
@pytest.mark.parametrize("spelled", [SLOW, "10000ms", {"every": SLOW}, {"every": SLOW, "deadband": 0}])
async def test_the_same_again_changes_nothing(devices: list[int] | None, spelled: object) -> None:
    async with Stage() as stage:
        client = await with_something_pending(stage, device_id=devices)
        for _ in range(2):
            assert await stage.order(client, spelled, device_id=devices) == []
            stage.at(5000).publish(1, h=3)
        assert await stage.heard(client) == []
        stage.at(10_020).tick()
        assert sorted(await stage.heard(client)) == [(1, {"t": 2, "h": 3}), (2, {"t": 2, "h": 2})]


@pytest.mark.parametrize("devices", [None, [1, 2]])
async def test_of_other_metrics_only_those_that_are_still_asked_for(devices: list[int] | None) -> None:
    async with Stage() as stage:
        client = await with_something_pending(stage, device_id=devices)
        sent = await stage.order(client, SLOW, device_id=devices, metrics=["h", "x"])
        assert sorted(sent) == [(1, {"h": 2}), (2, {"h": 2})]
        assert await stage.order(client, SLOW, device_id=devices, metrics=["t"]) == []
        await nothing_comes(stage, client)


async def test_a_subscription_that_overlaps_gets_what_is_pending_where_it_does() -> None:
    async with Stage() as stage:
        client = await with_something_pending(stage, metrics=["t"])
        assert await stage.order(client, SLOW, device_id=[2, 3], metrics=["h"]) == [(2, {"t": 2})]
        stage.publish(2, h=3)
        assert await stage.heard(client) == [(2, {"h": 3})]
        stage.at(10_020).tick()
        assert await stage.heard(client) == [(1, {"t": 2})]


async def test_one_that_overlapped_and_ends_leaves_to_the_other_what_is_its() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("20s", metrics=["t"])
        await stage.order(client, SLOW, device_id=[1, 2], metrics=["h"])
        for value in (1, 2):
            stage.publish(1, t=value, h=value)
        assert await stage.heard(client) == [(1, {"t": 1, "h": 1})]
        assert await stage.told(client, **UNSUBSCRIBE, device_id=1) == [(1, {"t": 2})]
        await nothing_comes(stage, client)


async def test_one_device_less_does_not_disturb_the_others() -> None:
    async with Stage() as stage:
        client = await with_something_pending(stage, device_id=[1, 2])
        assert await stage.told(client, **UNSUBSCRIBE, device_id=1) == []
        stage.at(10_020).tick()
        assert await stage.heard(client) == [(2, {"t": 2, "h": 2})]


@pytest.mark.parametrize("devices", [None, [1, 2]])
@pytest.mark.parametrize("frequency", [SLOW, {"every": SLOW, "deadband": 1}])
async def test_what_is_pending_ends_with_its_subscription(devices: list[int] | None, frequency: object) -> None:
    async with Stage() as stage:
        client = await with_something_pending(stage, frequency, device_id=devices)
        assert await stage.told(client, **UNSUBSCRIBE) == []
        await nothing_comes(stage, client)


async def test_an_endpoints_own_subscription_hands_over_too() -> None:
    """Its place at all devices is taken by one at a device."""
    async with Stage(min_interval=10) as stage:
        client = await stage.login(stage.token(seconds=FOREVER), endpoint=Channel.TELEMETRY)
        for device in (1, 2):
            for value in (1, 2):
                stage.publish(device, t=value)
        assert await stage.heard(client) == [(1, {"t": 1}), (2, {"t": 1})]
        assert await stage.order(client, "20s", device_id=2) == [(2, {"t": 2})]
        await nothing_comes(stage, client)


async def test_the_system_hands_over_too() -> None:
    async with Stage() as stage:
        client = await stage.subscriber(SLOW, "system")
        stage.publish(None, cpu=1, ram=1)
        stage.publish(None, cpu=2, ram=2)
        assert await stage.heard(client) == [{"cpu": 1, "ram": 1}]
        assert await stage.order(client, "1s", "system", metrics=["ram"]) == [{"ram": 2}]
        await nothing_comes(stage, client)


async def test_others_with_the_same_clock_are_not_disturbed() -> None:
    async with Stage() as stage:
        client, other = await stage.subscriber(SLOW), await stage.subscriber(SLOW)
        for value in (1, 2):
            stage.publish(1, t=value)
        assert await stage.heard(client) == await stage.heard(other) == [(1, {"t": 1})]
        assert await stage.order(client, "1s") == [(1, {"t": 2})]
        assert await stage.heard(other) == []
        stage.at(10_020).tick()
        assert await stage.heard(other) == [(1, {"t": 2})]
        assert await stage.heard(client) == []


async def test_what_is_within_the_deadband_is_not_pending() -> None:
    async with Stage() as stage:
        client = await stage.subscriber({"every": SLOW, "deadband": 5})
        stage.publish(1, t=10, h=10)
        stage.publish(1, t=14, h=15)
        assert await stage.heard(client) == [(1, {"t": 10, "h": 10})]
        assert await stage.order(client, "1s") == [(1, {"h": 15})]


async def renew(
    stage: Stage, client: Client, devices: frozenset[int | str] | None, channels: int = 15
) -> list[object]:
    """Authenticate again; return the data that comes."""
    token = f"renewal-{len(stage.host.grants)}"
    stage.host.grants[token] = Grant("alice", time.time() + FOREVER, channels=channels, devices=devices)
    await client.say(type="auth", token=token)
    return [short(message) for message in await client.settled() if message["type"] == "telemetry_update"]


@pytest.mark.parametrize("devices", [None, [1, 2]])
async def test_a_renewal_that_changes_nothing_does_not_disturb(devices: list[int] | None) -> None:
    async with Stage() as stage:
        client = await with_something_pending(stage, device_id=devices)
        assert await renew(stage, client, None) == []
        stage.at(10_020).tick()
        assert len(await stage.heard(client)) == 2


@pytest.mark.parametrize("devices", [None, [1, 2]])
async def test_of_a_device_that_a_renewal_takes_away_nothing_comes_any_more(devices: list[int] | None) -> None:
    async with Stage() as stage:
        client = await with_something_pending(stage, device_id=devices)
        at_once = await renew(stage, client, frozenset({2}))
        stage.at(10_020).tick()
        assert at_once + await stage.heard(client) == [(2, {"t": 2, "h": 2})]
        stage.publish(1, t=3)
        stage.publish(2, t=3)
        assert {device for device, _ in await stage.heard(client)} <= {2}
        assert await renew(stage, client, None, channels=1 << Channel.ALERTS) == []
        assert stage.hub.pacer.stats()["subscribers"] == 0
