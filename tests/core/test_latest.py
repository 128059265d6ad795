"""The newest values of each device: what they cost, who has to go, and that nothing that is pending goes with them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.frequency_model import DEVICE_COST, METRIC_COST, Newest
from core.harness import telemetry
from core.paced import Stage
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.latest import LatestTable
from valtronics_fast._core.wire import Channel

if TYPE_CHECKING:
    from core.wire_client import Client

MAX_METRICS = 256
SLOW = "1h"
PIECE = len(b'"m0":{"value":1,"unit":null,"timestamp":"2024-01-01T12:00:00Z"}')
NAMES = st.sampled_from(["a", "b", "\u00e9\U0001f300", "with \"quotes\"", "x" * 128])
PUBLICATIONS = st.tuples(
    st.sampled_from([1, "1", 2, "two", -3]),
    st.dictionaries(NAMES, st.one_of(st.integers(0, 99), st.text(max_size=30)), min_size=1),
)


def table_of(hub: Hub, channel: int = Channel.TELEMETRY) -> LatestTable:
    table = hub.latest[channel]
    assert table is not None
    return table


def a_hub(max_latest: int = 0) -> Hub:
    return Hub(lambda flush: None, 0.0, max_latest=max_latest)


def test_a_new_table_is_empty() -> None:
    table = LatestTable(7)
    assert (table.limit, table.nbytes, table.evicted) == (7, 0, 0)
    assert table.stats() == {"devices": 0, "metrics": 0, "bytes": 0, "served": 0, "behind": 0, "evicted": 0}


def test_values_and_statuses_have_one_and_alerts_do_not() -> None:
    hub = a_hub(5)
    assert [table and table.limit for table in hub.latest] == [5, None, 5, 5]
    hub.publish({"type": "alert", "severity": "low"}, 0)
    hub.publish({"type": "system_status_update", "metrics": {"cpu": 1, "ram": 2}, "timestamp": "T"}, 0)
    assert table_of(hub, Channel.SYSTEM).stats()["metrics"] == 2
    assert table_of(hub).stats()["devices"] == 0


@given(st.sampled_from([0, 1, 2000, 4000]), st.lists(PUBLICATIONS, max_size=30))
@settings(max_examples=200)
def test_bytes_and_evictions_against_the_oracle(
    limit: int, publications: list[tuple[int | str, dict[str, object]]]
) -> None:
    hub, newest, evicted = a_hub(limit), Newest(limit), 0
    for device, values in publications:
        message = telemetry(device, **values)
        hub.publish(message, 0)
        evicted += len(newest.store(int(device) if device == "1" else device, message["telemetry"]))
        assert table_of(hub).stats() == {
            "devices": len(newest.sizes),
            "metrics": sum(len(metrics) for metrics in newest.sizes.values()),
            "bytes": newest.size(),
            "served": 0,
            "behind": 0,
            "evicted": evicted,
        }
        assert table_of(hub).nbytes == newest.size()


def test_it_does_not_grow_with_the_number_of_publications() -> None:
    hub = a_hub()
    hub.publish(telemetry(1, a=10, b=10), 0)
    size = table_of(hub).nbytes
    for value in range(10, 99):
        hub.publish(telemetry("1", b=value), 0)
        hub.publish(telemetry(1, a=value), 0)
    assert table_of(hub).nbytes == size


@pytest.mark.parametrize("at_a_time", [1, 7, MAX_METRICS])
def test_a_device_keeps_so_many_metrics_and_no_more(at_a_time: int) -> None:
    hub = a_hub()
    for start in range(0, 2000, at_a_time):
        hub.publish(telemetry(1, **dict.fromkeys([f"{i:04}" for i in range(start, start + at_a_time)], 1)), 0)
    stats = table_of(hub).stats()
    assert (stats["devices"], stats["metrics"], stats["evicted"]) == (1, MAX_METRICS, 0)
    assert stats["bytes"] == DEVICE_COST + MAX_METRICS * (METRIC_COST + 2 * (PIECE + 2))


@pytest.mark.parametrize("limit", [1, DEVICE_COST])
async def test_the_device_at_hand_stays_whatever_it_takes(limit: int) -> None:
    async with Stage(max_latest=limit) as stage:
        client = await stage.subscriber(SLOW)
        for value in range(3):
            stage.publish(1, t=value)
        assert table_of(stage.hub).stats()["devices"] == 1
        stage.at(4_000_000).tick()
        assert await stage.heard(client) == [(1, {"t": 0}), (1, {"t": 2})]


async def test_what_is_pending_is_served_before_its_device_goes() -> None:
    """To everybody, once, ahead of the publication that there is no room for."""
    room_for_two = 2 * (DEVICE_COST + METRIC_COST + 2 * PIECE)
    async with Stage(max_latest=room_for_two) as stage:
        client = await stage.subscriber(SLOW)
        other = await stage.subscriber({"every": SLOW, "deadband": 5}, device_id=[1, 3])
        for device in (1, 2, 2, 1):  # 1 has been silent for longer, but for the last one
            stage.publish(device, m0=device)
        assert await stage.heard(client) == [(1, {"m0": 1}), (2, {"m0": 2})]
        assert await stage.heard(other) == [(1, {"m0": 1})]
        stage.publish(3, m0=3)  # 2 goes
        assert await stage.heard(client) == [(2, {"m0": 2}), (3, {"m0": 3})]
        stage.publish(2, m0=4)  # 1 goes; 2 is new, and nobody has a clock there
        assert await stage.heard(client) == [(1, {"m0": 1}), (2, {"m0": 4})]
        assert await stage.heard(other) == [(3, {"m0": 3})]
        assert table_of(stage.hub).stats()["evicted"] == 2


async def test_nothing_is_lost_or_sent_twice_however_small_it_is() -> None:
    """Every frame is the newest of what was not sent yet, and in the end everything has been sent."""
    async with Stage(max_latest=2000) as stage:
        clients = [await stage.subscriber("100ms"), await stage.subscriber(SLOW, device_id=[0, 1, 2, 3, 4])]
        views: list[dict[tuple[object, str], list[int]]] = [defaultdict(list) for _ in clients]
        for value in range(300):
            stage.at(value * 7).tick().publish(value * value % 7, **{f"m{value % 3}": value})
        stage.at(10_000_000).tick()
        for view, client in zip(views, clients, strict=True):
            for device, values in await stage.heard(client):
                for name, value in values.items():
                    view[device, name].append(value)
        newest = {(value * value % 7, f"m{value % 3}"): value for value in range(300)}
        for view in views:
            assert all(values == sorted(set(values)) for values in view.values())
        assert {key: values[-1] for key, values in views[0].items()} == newest
        few = {key: value for key, value in newest.items() if key[0] < 5}
        assert {key: values[-1] for key, values in views[1].items()} == few
        assert table_of(stage.hub).evicted > 100


async def collected(stage: Stage, client: Client) -> list[dict[str, Any]]:
    return [values for _, values in await stage.heard(client)]


async def test_a_metric_that_has_to_make_room_is_served_before() -> None:
    """Who waits for it gets what is pending; who does not goes on waiting."""
    async with Stage() as stage:
        everything = await stage.subscriber(SLOW)
        first, last = await stage.subscriber(SLOW, metrics=["m0"]), await stage.subscriber(SLOW, metrics=["m255"])
        stage.publish(m0=0, m255=0)
        for number in range(256):
            stage.publish(**{f"m{number}": 1})
        for client in (everything, first, last):
            await stage.heard(client)
        stage.publish(n0=1)  # takes the place of m0
        assert await collected(stage, everything) == [{f"m{number}": 1 for number in range(256)}]
        assert await collected(stage, first) == [{"m0": 1}]
        assert await collected(stage, last) == []
        stage.publish(n1=1)  # that of m1, which nobody waits for any more
        assert await collected(stage, everything) == []
        stage.at(3_700_000).tick()
        assert await collected(stage, everything) == [{"n0": 1, "n1": 1}]
        assert await collected(stage, last) == [{"m255": 1}]


@pytest.mark.parametrize("step", [1, 100, 255, 256])
async def test_of_more_metrics_than_there_is_room_for_none_is_lost(step: int) -> None:
    async with Stage() as stage:
        client = await stage.subscriber(SLOW)
        for start in range(0, 2000, step):
            stage.publish(**{f"m{number % 500}": number for number in range(start, start + step)})
        end = (1999 // step + 1) * step
        stage.at(4_000_000).tick()
        view: dict[str, int] = {}
        frames = await collected(stage, client)
        for values in frames:
            assert all(view.get(name, -1) < value for name, value in values.items())
            view |= values
        assert view == {f"m{number % 500}": number for number in range(end - 500, end)}
        if step == 1:
            assert len(frames) == 2 + 1999 // MAX_METRICS  # the first, one each time that the room is used up, the last


async def test_metrics_that_go_round_slowly_do_not_break_the_interval() -> None:
    """One of them makes room each time, but nobody waits for it: it was sent long ago."""
    async with Stage() as stage:
        client = await stage.subscriber("100ms")
        for number in range(1000):
            stage.at(number * 10).tick().publish(**{f"m{number % 300}": number})
        frames = await collected(stage, client)
        assert 80 <= len(frames) <= 101


def test_the_newest_state_of_a_device() -> None:
    hub = a_hub()
    for device, status in ((1, "online"), ("pump", "warning"), (1, "offline")):
        hub.publish({"type": "device_status_update", "device_id": device, "new_status": status})
    table = table_of(hub, Channel.DEVICES)
    assert [table.state_of(device) for device in (1, "pump", 2)] == ["offline", "warning", None]
    hub.publish({"type": "telemetry_update", "device_id": 1, "telemetry": {"t": 1}})
    assert table_of(hub).state_of(1) is None
