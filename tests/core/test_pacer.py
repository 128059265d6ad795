"""Frequencies (protocol.md, section 3): what is sent when, and what is left behind. See test_pacer_model.py too."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from core.harness import IDLE_PACER, telemetry, until
from core.paced import SOON, Stage

if TYPE_CHECKING:
    from core.wire_client import Client


async def leave(stage: Stage, client: Client) -> None:
    client.close()
    await until(lambda: client.session in stage.host.closed_sessions)


async def test_the_first_at_once_then_the_newest_of_each_metric_once_an_interval() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("100ms")
        stage.publish(t=1, h=1)
        assert await stage.heard(client) == [(1, {"t": 1, "h": 1})]
        stage.at(40).publish(t=2)
        stage.at(50).publish(h=2, p=2)
        stage.at(60).publish(t=3)
        stage.at(99).tick()
        assert await stage.heard(client) == []
        stage.at(100 + SOON).tick()
        assert await stage.heard(client) == [(1, {"t": 3, "h": 2, "p": 2})]
        # What is sent sets the clock anew; nothing is sent twice.
        stage.at(150).publish(h=3)
        stage.at(199).tick()
        assert await stage.heard(client) == []
        stage.at(210 + SOON).tick()
        assert await stage.heard(client) == [(1, {"h": 3})]
        stage.at(1000).tick()
        assert await stage.heard(client) == []
        assert stage.hub.pacer.stats() == IDLE_PACER


async def test_clocks_meet_on_a_grid_and_keep_the_interval_from_then_on() -> None:
    """Devices that begin when they like: no frame is early, and what is due at about the same time is sent together."""
    async with Stage() as stage:
        client = await stage.subscriber("1s")
        sent: dict[int, list[int]] = {device: [] for device in range(20)}
        for now in range(0, 6000, 10):
            for device in sent:
                if now >= 47 * device and (now + device * 10) % 90 == 0:
                    stage.at(now).publish(device, t=now)
            stage.at(now).tick()
            for device, _ in await stage.heard(client):
                sent[device].append(now)
        for times in sent.values():
            first, *gaps = [later - earlier for earlier, later in pairwise(times)]
            assert 1000 <= first <= 1200 + SOON
            assert all(abs(gap - 1000) <= 2 * SOON for gap in gaps)
        assert len({times[-1] for times in sent.values()}) == 5


async def test_a_server_that_was_held_up_does_not_make_up_for_it() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("1s")
        stage.publish(t=1)
        stage.publish(t=2)
        stage.at(1950).tick()
        assert await stage.heard(client) == [(1, {"t": 1}), (1, {"t": 2})]
        stage.publish(t=3)
        stage.at(2940).tick()
        assert await stage.heard(client) == []
        stage.at(3000 + SOON).tick()
        assert await stage.heard(client) == [(1, {"t": 3})]


async def test_each_metric_keeps_its_own_timestamp_and_unit() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("1s")
        stage.publish(a=0)
        stage.hub.publish({"type": "telemetry_update", "device_id": 1, "telemetry": {
            "t": {"value": 1, "unit": "C", "timestamp": "T1"}, "h": {"value": 2, "unit": None, "timestamp": "T1"},
        }}, 0.1)  # fmt: skip
        h = {"value": 3, "unit": "%", "timestamp": "T2", "metadata": {"by": [1]}}
        stage.hub.publish({"type": "telemetry_update", "device_id": "1", "telemetry": {"h": h}}, 0.2)
        await client.settled()
        stage.at(2000).tick()
        assert await client.settled() == [{
            "type": "telemetry_update", "channel": "telemetry", "device_id": "1",  # as the newest message had it
            "telemetry": {"t": {"value": 1, "unit": "C", "timestamp": "T1"}, "h": h},
        }]  # fmt: skip


async def test_a_publication_after_the_deadline_goes_with_what_is_pending() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("100ms")
        stage.publish(t=1)
        stage.at(50).publish(h=2)
        stage.at(500).publish(t=3)  # the server has not looked at its clock meanwhile
        assert await stage.heard(client) == [(1, {"t": 1})]
        stage.tick()
        assert await stage.heard(client) == [(1, {"h": 2, "t": 3})]


async def test_the_clock_is_set_by_real_sends_only() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("100ms", metrics=["t"])
        stage.publish(t=1)
        stage.at(50).publish(h=1)  # nothing for it
        stage.at(100 + SOON).tick()
        stage.at(115).publish(h=2)
        stage.at(120).publish(t=2)
        assert await stage.heard(client) == [(1, {"t": 1}), (1, {"t": 2})]
        stage.at(220 + SOON).tick()
        assert stage.hub.pacer.stats() == IDLE_PACER
        stage.at(230).publish(h=3)
        assert await stage.heard(client) == []
        assert stage.hub.pacer.stats() == IDLE_PACER


async def test_every_device_has_its_own_clock() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("100ms", device_id=[1, 2])
        stage.publish(1, t=1)
        stage.at(50).publish(2, t=1)
        stage.at(60).publish(1, t=2)
        stage.publish(2, t=2)
        stage.publish(3, t=2)
        assert await stage.heard(client) == [(1, {"t": 1}), (2, {"t": 1})]
        stage.at(140).tick()
        assert await stage.heard(client) == [(1, {"t": 2})]
        stage.at(150 + SOON).tick()
        assert await stage.heard(client) == [(2, {"t": 2})]


async def test_the_system_has_one_clock_and_shows_the_newest_time() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("100ms", "system", metrics=["cpu"])
        stage.publish(None, cpu=1, ram=1)
        stage.at(10).publish(None, cpu=2)
        stage.hub.publish({"type": "system_status_update", "metrics": {"ram": 2}, "timestamp": "later"}, 0.02)
        assert await stage.heard(client) == [{"cpu": 1}]
        stage.at(200).tick()
        assert await client.settled() == [
            {"type": "system_status_update", "channel": "system", "metrics": {"cpu": 2}, "timestamp": "later"}
        ]


async def test_real_time_subscriptions_leave_no_trace_in_it() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("real-time")
        other = await stage.subscriber({"every": "real-time", "deadband": 0})
        for value in range(3):
            assert stage.publish(t=value) == 2
            assert stage.hub.pacer.stats() == IDLE_PACER
        assert await stage.heard(client) == await stage.heard(other) == [(1, {"t": value}) for value in range(3)]


async def test_who_has_the_same_filter_and_clock_shares_a_timer() -> None:
    async with Stage() as stage:
        for _ in range(3):
            await stage.subscriber("100ms")
        stage.publish(t=0)
        assert stage.hub.pacer.stats() == {"cohorts": 1, "subscribers": 3, "timers": 1, "throttles": 1}
        stage.publish(t=1)
        assert stage.cohorts == 1
        await stage.subscriber("100ms")
        await stage.subscriber("1000ms")
        await stage.subscriber("1s")
        stage.at(1).publish(t=2)
        assert stage.hub.pacer.stats() == {"cohorts": 3, "subscribers": 6, "timers": 3, "throttles": 2}


async def test_cohorts_with_the_same_deadline_keep_apart_what_they_have() -> None:
    """One has the second value already, the other has not."""
    async with Stage() as stage:
        early = await stage.subscriber("100ms")
        stage.publish(t=1)
        late = await stage.subscriber("100ms")
        stage.publish(t=2)
        assert stage.cohorts == 2
        stage.at(200).tick()
        assert await stage.heard(early) == [(1, {"t": 1}), (1, {"t": 2})]
        assert await stage.heard(late) == [(1, {"t": 2})]


async def test_cohorts_that_are_served_together_become_one() -> None:
    async with Stage() as stage:
        early = await stage.subscriber("100ms")
        stage.publish(t=1)
        late = await stage.subscriber("100ms")
        stage.publish(t=2)
        stage.publish(t=3)
        stage.at(200).tick()
        assert stage.hub.pacer.stats() == {"cohorts": 1, "subscribers": 2, "timers": 1, "throttles": 1}
        stage.at(210).publish(t=4)
        stage.at(400).tick()
        assert await stage.heard(early) == [(1, {"t": 1}), (1, {"t": 3}), (1, {"t": 4})]
        assert await stage.heard(late) == [(1, {"t": 2}), (1, {"t": 3}), (1, {"t": 4})]


async def test_overlapping_subscriptions_deliver_once_with_all_metrics_and_the_fastest_interval() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("10s", metrics=["t"])
        await stage.order(client, "100ms", device_id=[1, 2], metrics=["h"])
        for value in (1, 2):
            assert stage.publish(1, t=value, h=value, x=value) == 2
            assert stage.publish(3, t=value, h=value) == 1
        assert await stage.heard(client) == [(1, {"t": 1, "h": 1}), (3, {"t": 1})]
        stage.at(150).tick()
        assert await stage.heard(client) == [(1, {"t": 2, "h": 2})]
        stage.at(10_000 + SOON).tick()
        assert await stage.heard(client) == [(3, {"t": 2})]


async def test_one_real_time_subscription_makes_it_real_time() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("10s")
        await stage.order(client, device_id=1, metrics=["h"])
        for value in range(3):
            stage.publish(1, t=value)
            stage.publish(2, t=value)
        assert await stage.heard(client) == [(1, {"t": 0}), (2, {"t": 0}), (1, {"t": 1}), (1, {"t": 2})]


@pytest.mark.parametrize("everywhere", ["100ms", "real-time", {"every": "100ms", "deadband": 1}])
@pytest.mark.parametrize("at_device", ["100ms", "real-time", {"every": "real-time", "deadband": 1}])
async def test_publish_counts_every_subscription_once(everywhere: object, at_device: object) -> None:
    """Clients of both kinds, and one that is both, at a device where they meet and at one where they do not."""
    async with Stage() as stage:
        for _ in range(2):
            await stage.subscriber(everywhere)
        both = await stage.subscriber(everywhere)
        await stage.order(both, at_device, device_id=1)
        await stage.subscriber(at_device, device_id=1)
        for value in range(4):
            stage.at(30 * value).tick()
            assert stage.publish(1, t=10 * value) == 5
            assert stage.publish(2, t=10 * value) == 3


async def test_who_comes_to_a_slot_gets_nothing_of_whom_it_belonged_to() -> None:
    async with Stage() as stage:
        other = await stage.subscriber("100ms")
        gone = await stage.subscriber("100ms")
        stage.publish(t=1)
        stage.publish(t=2)
        await leave(stage, gone)
        fresh = await stage.subscriber("100ms")
        stage.at(200).tick()
        assert await stage.heard(fresh) == []
        assert await stage.heard(other) == [(1, {"t": 1}), (1, {"t": 2})]
        stage.at(210).publish(t=3)
        assert await stage.heard(fresh) == [(1, {"t": 3})]
        assert await stage.heard(other) == []


async def test_a_cohort_that_everybody_has_left_is_not_in_the_way() -> None:
    """The filter lives on at another device; at this one all have left, and one comes before time goes on."""
    band = {"every": "100ms", "deadband": 1}
    async with Stage() as stage:
        elsewhere = await stage.subscriber(band, device_id=2)
        client = await stage.subscriber(band, device_id=1)
        stage.publish(1, t=1)
        stage.at(300).tick()  # its deadline has passed: it waits for the next publication
        assert await stage.heard(client) == [(1, {"t": 1})]
        await stage.told(client, type="unsubscribe", id=1, channel="telemetry")
        await stage.order(client, band, device_id=1)
        for value in (11, 21, 31):
            stage.publish(1, t=value)
        assert await stage.heard(client) == [(1, {"t": 11})]
        stage.at(500).tick()
        assert await stage.heard(client) == [(1, {"t": 31})]
        assert await stage.heard(elsewhere) == []


@pytest.mark.parametrize("every", ["50ms", "1h", "real-time"])
@pytest.mark.parametrize("deadband", [0, 1])
async def test_nothing_is_left_when_all_have_gone(every: str, deadband: float) -> None:
    """Without any time going on: what is pending for nobody is not waited for."""
    async with Stage() as stage:
        clients = []
        for number in range(12):
            frequency = {"every": every, "deadband": deadband}
            devices = None if number % 3 == 0 else [number % 5, 7]
            clients.append(await stage.subscriber(frequency, metrics=["t", f"m{number % 2}"], device_id=devices))
            for target in (number % 5, 7, 8, None):
                stage.at(number * 20).publish(target, t=number, m0=number)
        assert stage.cohorts > 4 or (every, deadband) == ("real-time", 0)
        for client in clients:
            await leave(stage, client)
        stage.tick()
        assert stage.hub.pacer.stats() == IDLE_PACER
        assert stage.hub.index.stats()["filters"] == 0


async def test_a_publication_that_is_refused_is_pending_for_nobody() -> None:
    async with Stage() as stage:
        client = await stage.subscriber("100ms")
        stage.publish(t=1)
        stage.hub.max_payload = len((await client.receive()).payload) + 2
        before = stage.hub.stats()
        for message in (telemetry(1, t=object()), telemetry(1, t=1000), telemetry(2, t="x" * 50)):
            with pytest.raises(ValueError, match=r"JSON|bytes"):
                stage.hub.publish(message, 0.05)
        assert stage.hub.stats() == before
        stage.at(60).publish(t=999)
        stage.at(200).tick()
        assert await stage.heard(client) == [(1, {"t": 999})]
        assert stage.hub.latest[0] is not None
        assert stage.hub.latest[0].stats()["devices"] == 1
