"""Readers that are behind: what is kept back, what they get of it, and that every message is accounted for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.behind import MARK, Jam
from core.harness import numbers
from core.paced import FOREVER, short
from core.wire_client import CLOSE


async def test_the_newest_values_come_when_the_reader_reads_on() -> None:
    """In the order of their last change, each metric's newest; nobody else notices."""
    async with Jam() as jam:
        slow, other = await jam.reader(), await jam.subscriber()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        for value in range(3):
            for device in (1, 2, 3):
                jam.publish(device, t=value, **{f"m{value}": device})
        jam.publish(1, t=3)
        everything = {"t": 2, "m0": 3, "m1": 3, "m2": 3}
        assert await jam.caught_up(slow) == [
            (2, {"t": 2, "m0": 2, "m1": 2, "m2": 2}),
            (3, everything),
            (1, {"t": 3, "m0": 1, "m1": 1, "m2": 1}),
        ]
        assert slow.session.conflated == jam.conflated() == 10 - 3
        jam.publish(1, t=4)
        assert await jam.heard(slow) == [(1, {"t": 4})]
        assert len(await jam.heard(other)) == 11


async def test_what_was_published_before_a_subscription_is_not_sent_for_it() -> None:
    """It subscribes while it is behind: nothing was kept back of what it had not asked for."""
    async with Jam() as jam:
        slow = await jam.reader(auth={"notices": True})
        await jam.taken(slow, type="subscribe", channel="telemetry", device_id=1)
        await jam.jam(slow)
        for device in range(1, 6):
            jam.publish(device, t=1)
        await jam.done(slow, type="subscribe", channel="telemetry", device_id=[2, 3])
        jam.publish(3, t=2)
        assert await jam.caught_up(slow) == [(1, {"t": 1}), (3, {"t": 2})]
        assert slow.session.conflated == jam.conflated() == 0


async def test_an_unwanted_metric_does_not_make_a_snapshot_count_as_kept_back() -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        jam.publish(1, t=1)
        await jam.jam(slow)
        await jam.done(slow, type="subscribe", channel="telemetry", metrics=["t"], snapshot=True)
        jam.publish(1, h=1)
        assert await jam.caught_up(slow) == [(1, {"t": 1})]
        assert slow.session.conflated == jam.conflated() == 0


async def test_each_value_is_sent_once_however_often_the_device_goes_on() -> None:
    """The reader stays behind: what it has got is not sent again with what is new."""
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        received = []
        names = [f"m{n}" for n in range(40)]
        for name in names:
            jam.publish(1, **{name: "x" * 1000})
            jam.publish(2, **{name: "x" * 1000})
            received += [message for message in await jam.settled_one(slow) if message["type"] != "alert"]
        received += await jam.drained(slow)
        seen = [(message["device_id"], name) for message in received for name in message["telemetry"]]
        assert sorted(seen) == sorted((device, name) for device in (1, 2) for name in names)
        assert len(received) + slow.session.conflated == 2 * len(names)


async def test_the_frame_that_makes_a_reader_fall_behind_is_not_owed_again() -> None:
    """It was due at a frequency, and is in the queue."""
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry", frequency="100ms")
        published = 0
        while not jam.hub.behind:
            jam.publish(published, t="x" * 1000)
            published += 1
            await asyncio.sleep(0)
        received = await jam.caught_up(slow)
        assert [device for device, _ in received] == list(range(published))
        assert slow.session.conflated == jam.conflated() == 0


async def test_catching_up_keeps_to_the_frequency() -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry", frequency="100ms")
        jam.publish(t=1)
        await jam.jam(slow)
        jam.at(50).publish(t=2)
        assert await jam.caught_up(slow) == [(1, {"t": 1})]
        jam.at(110).tick()
        assert await jam.heard(slow) == [(1, {"t": 2})]
        assert slow.session.conflated == jam.conflated() == 0


async def test_what_falls_due_while_it_is_behind_comes_once() -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry", frequency="100ms")
        jam.publish(t=1)
        jam.publish(t=2)
        await jam.jam(slow)
        jam.at(110).tick().publish(t=3)
        jam.at(220).tick().publish(t=4)
        assert await jam.caught_up(slow) == [(1, {"t": 1}), (1, {"t": 4})]
        assert slow.session.conflated == jam.conflated() == 1


async def test_what_a_frequency_owed_under_other_subscriptions_is_not_lost() -> None:
    """The connection stands under another filter from now on, and gets what was pending when it reads on."""
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry", frequency="1h")
        jam.publish(t=1)
        jam.publish(t=2)
        await jam.jam(slow)
        await jam.done(slow, type="subscribe", channel="telemetry", frequency="real-time")
        assert await jam.caught_up(slow) == [(1, {"t": 1}), (1, {"t": 2})]
        assert slow.session.conflated == jam.conflated() == 0


async def test_who_falls_behind_while_a_device_is_forgotten_misses_nothing() -> None:
    """Its pending frame, which goes out ahead of the publication at hand, is the one that is too much."""
    async with Jam(max_latest=1) as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry", frequency="1h", device_id=1)
        await jam.taken(slow, type="subscribe", channel="telemetry", device_id=2)
        jam.publish(1, t=1)
        jam.publish(1, t="x" * (MARK + 1000))
        while slow.session.queued_bytes < MARK - 2000:
            jam.hub.publish({"type": "alert", "device_id": 0, "severity": "filler", "message": "x" * 900})
            await asyncio.sleep(0)
        assert jam.hub.behind == 0
        jam.publish(2, t=2)  # 1 goes
        assert jam.hub.behind == 1
        assert [device for device, _ in await jam.caught_up(slow)] == [1, 1, 2]


async def test_a_snapshot_of_statuses_has_those_that_changed_while_another_was_on_its_way() -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        jam.status(1, "offline")
        await jam.jam(slow)
        await jam.done(slow, type="subscribe", channel="devices", device_id=1, snapshot=True)
        jam.status(2, "offline")
        await jam.done(slow, type="subscribe", channel="devices", device_id=2, snapshot=True)
        received = await jam.drained(slow)
        assert [(message["device_id"], message["new_status"]) for message in received] == [
            (1, "offline"), (2, "offline"),
        ]  # fmt: skip


async def test_what_a_forgotten_device_had_is_sent_before_it_is_gone() -> None:
    """Devices come and go while the reader is behind: it sees the newest of each, and in its order."""
    async with Jam(max_latest=5000) as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        newest = {}
        for number in range(200):
            device = number * number % 37
            jam.publish(device, t=number, **{f"m{number % 2}": number})
            newest[device, "t"] = newest[device, f"m{number % 2}"] = number
        received = await jam.caught_up(slow)
        view: dict[tuple[int, str], int] = {}
        for device, values in received:
            for name, value in values.items():
                assert view.get((device, name), -1) < value
                view[device, name] = value
        assert view == newest
        assert len(received) + slow.session.conflated == 200
        table = jam.hub.latest[0]
        assert table is not None
        assert table.evicted > 20


async def test_metrics_that_make_room_are_sent_before() -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        for number in range(1000):
            jam.publish(**{f"m{number % 700}": number})
        received = await jam.caught_up(slow)
        seen = [item for _, values in received for item in values.items()]
        assert [value for _, value in seen] == list(range(1000))
        assert len(received) == 4
        assert slow.session.conflated == 996


async def test_a_forgotten_device_whose_frame_was_due() -> None:
    """A frequency, a slow reader and no room for a second device."""
    async with Jam(max_latest=1) as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry", frequency="1h")
        await jam.jam(slow)
        for device in (1, 1, 2, 2, 1):
            jam.publish(device, t=device)
        assert await jam.caught_up(slow) == [(1, {"t": 1}), (2, {"t": 2}), (1, {"t": 1})]
        assert slow.session.conflated == jam.conflated() == 2  # 1 and 2 had one each that was due at once


async def test_events_are_complete_and_in_order() -> None:
    """Those of devices and alerts, while values are kept back."""
    async with Jam() as jam:
        slow = await jam.reader()
        for channel in ("devices", "telemetry"):
            await jam.taken(slow, type="subscribe", channel=channel)
        await jam.jam(slow)
        for number in range(50):
            jam.publish(1, t=number)
            jam.status(1, f"status {number}")
            jam.hub.publish({"type": "alert", "severity": "filler", "device_id": 0, "title": f"{number}"}, 0)
        received = await jam.drained(slow)
        statuses = [message["new_status"] for message in received if message["type"] == "device_status_update"]
        assert statuses == [f"status {number}" for number in range(50)]
        assert numbers([message for message in received if "telemetry" in message], "t") == [49]
        assert jam.conflated("devices") == jam.conflated("alerts") == 0


async def test_answers_come_while_values_are_kept_back() -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        jam.publish(t=1)
        await jam.done(slow, type="ping", id=7)
        first, *others = await jam.drained(slow)
        assert (first["type"], first["id"]) == ("pong", 7)
        assert numbers(others, "t") == [1]


async def test_an_ended_subscription_gets_nothing_any_more() -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.taken(slow, type="subscribe", channel="system")
        await jam.jam(slow)
        jam.publish(t=1)
        jam.publish(None, cpu=1)
        await jam.done(slow, type="unsubscribe", channel="telemetry")
        assert await jam.caught_up(slow) == [{"cpu": 1}]
        assert (slow.session.conflated, jam.conflated(), jam.conflated("system")) == (1, 1, 0)


async def test_devices_taken_out_of_a_subscription_get_nothing_any_more() -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry", device_id=[1, 2, 3])
        await jam.jam(slow)
        for device in (1, 2, 3, 2):
            jam.publish(device, t=device)
        await jam.done(slow, type="unsubscribe", channel="telemetry", device_id=2)
        assert await jam.caught_up(slow) == [(1, {"t": 1}), (3, {"t": 3})]
        assert slow.session.conflated == jam.conflated() == 2


@pytest.mark.parametrize(
    ("scope", "expected"),
    [({"devices": frozenset({2})}, [(2, {"t": 2})]), ({"channels": 0b10}, []), ({}, [(1, {"t": 1}), (2, {"t": 2})])],
)
async def test_a_renewed_token_holds_for_what_is_kept_back(scope: dict[str, Any], expected: list[Any]) -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        jam.publish(1, t=1)
        jam.publish(2, t=2)
        await jam.done(slow, type="auth", token=jam.token(seconds=FOREVER, **scope))
        received = await jam.drained(slow)
        data = [short(message) for message in received if message["type"] == "telemetry_update"]
        assert data == expected
        assert len(data) + slow.session.conflated == 2


async def test_a_scope_that_grows_brings_nothing_from_before() -> None:
    async with Jam() as jam:
        slow = await jam.reader(devices=frozenset({0, 1}))
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        for device in (1, 2):
            jam.publish(device, t=1)
        await jam.done(slow, type="auth", token=jam.token(seconds=FOREVER))
        jam.publish(3, t=1)
        received = await jam.drained(slow)
        assert [message["device_id"] for message in received if "telemetry" in message] == [1, 3]
        assert slow.session.conflated == jam.conflated() == 0


async def test_other_metrics_from_now_on() -> None:
    """What was kept back of the old ones is not asked for any more; the new ones' old values were never asked for."""
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry", metrics=["a"])
        await jam.jam(slow)
        jam.publish(1, a=1)
        jam.publish(2, b=1)
        await jam.done(slow, type="subscribe", channel="telemetry", metrics=["b"])
        jam.publish(2, b=2, a=2)
        jam.publish(3, b=3)
        assert await jam.caught_up(slow) == [(2, {"b": 2}), (3, {"b": 3})]
        assert slow.session.conflated == jam.conflated() == 1


async def test_who_reads_on_a_little_stays_behind_and_loses_nothing() -> None:
    """It takes a frame now and then, while much more is published."""
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        received: list[Any] = []
        newest: dict[int, int] = {}
        for number in range(400):
            device = number % 30
            jam.publish(device, n=number, text="x" * 1500)
            newest[device] = number
            if number % 2:
                continue
            message = await slow.hear()
            if "telemetry" in message:
                received.append(message)
        assert jam.hub.behind == 1
        received += await jam.drained(slow)
        view: dict[int, int] = {}
        for message, number in zip(received, numbers(received), strict=True):
            assert view.get(message["device_id"], -1) < number
            view[message["device_id"]] = number
        assert view == newest
        assert len(received) + slow.session.conflated == 400
        assert slow.session.conflated > 100


@pytest.mark.parametrize("how", ["abort", "close", "reset", "disconnect", "CLOSE"])
async def test_connections_that_end_while_they_are_behind_leave_nothing(how: str) -> None:
    """With values kept back, a snapshot on its way, and more to come for it."""
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        jam.publish(9, t=1)
        await jam.jam(slow)
        for device in range(5):
            jam.publish(device, t=1)
        for channel in ("telemetry", "devices", "system"):
            await jam.done(slow, type="subscribe", channel=channel, snapshot=True)
        if how == "abort":
            slow.session.abort()
        elif how == "close":
            slow.close()
        elif how == "reset":
            slow.reset()
        elif how == "disconnect":
            slow.session.disconnect(1012)
            jam.publish(1, t=2)
            assert (await slow.closing())[1] == 1012
            await slow.send(CLOSE, (1012).to_bytes(2, "big"))
        else:
            await slow.send(CLOSE, (1000).to_bytes(2, "big"))
            assert (await slow.closing())[1] == 1000
        await jam.gone(slow)
        jam.publish(1, t=3)
        assert (jam.hub.behind, jam.hub.turn.backlog) == (0, 0)


async def test_data_that_waits_for_an_interval_stays_ahead() -> None:
    """flush_interval: what was live is older than what was kept back."""
    intervals: list[Any] = []
    async with Jam(delay=intervals.append) as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        jam.publish(t=1)
        await jam.jam(slow)
        jam.publish(t=2)
        assert await jam.caught_up(slow) == [(1, {"t": 1}), (1, {"t": 2})]
        jam.publish(t=3)
        assert await jam.heard(slow) == [(1, {"t": 3})]


async def test_it_goes_on_at_once_where_nothing_was_for_it() -> None:
    """More devices have changed than are looked at at a time, and it has asked for none of them."""
    async with Jam() as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry", device_id="mine")
        await jam.jam(slow)
        for device in range(10_000):
            jam.publish(device, t=1)
        jam.publish("mine", t=1)
        assert await jam.caught_up(slow) == [("mine", {"t": 1})]
