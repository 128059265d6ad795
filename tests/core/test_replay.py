"""Recovery: what a client that comes back has missed, and when that can't be told any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.behind import Jam
from core.harness import Message, telemetry
from core.paced import Stage
from valtronics_fast._core.encode import encode

if TYPE_CHECKING:
    from core.wire_client import Client


async def back(stage: Stage, client: Client, offset: int, channel: str = "telemetry", **filters: object) -> list[Any]:
    """Subscribe with `since`; return whether it was recovered, and the messages behind the answer."""
    since = {"epoch": stage.hub.epoch, "offset": offset}
    await client.say(type="subscribe", id=1, channel=channel, since=since, **filters)
    answer, *messages = await client.settled()
    assert answer["success"] is True
    return [answer["recovered"], *messages]


def with_offset(message: Message, offset: int) -> Message:
    return message | {"channel": "telemetry", "offset": offset}


async def test_a_position_and_what_comes_after_it() -> None:
    async with Stage(history=100) as stage:
        stage.publish(t=0)
        client = await stage.user()
        answer = await client.ask(type="subscribe", id=1, channel="telemetry", recover=True)
        assert answer["position"] == {"epoch": stage.hub.epoch, "offset": 1}
        assert "recovered" not in answer
        stage.publish(2, t=1)
        assert await client.settled() == [with_offset(telemetry(2, t=1), 2)]


async def test_who_does_not_ask_is_told_no_offsets() -> None:
    async with Stage(history=100) as stage:
        client, other = await stage.user(), await stage.user()
        answer = await client.ask(type="subscribe", id=1, channel="telemetry", recover=False)
        assert answer.keys() == {"type", "id", "success", "channel", "filters", "frequency"}
        await other.ask(type="subscribe", id=1, channel="telemetry", recover=True)
        stage.publish(t=1)
        assert await client.settled() == [telemetry(1, t=1) | {"channel": "telemetry"}]
        assert await other.settled() == [with_offset(telemetry(1, t=1), 1)]


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
async def test_everything_after_the_position_and_then_what_is_live(offset: int) -> None:
    async with Stage(history=100) as stage:
        for number in range(1, 4):
            stage.publish(number, t=number)
        client = await stage.user()
        missed = [with_offset(telemetry(number, t=number), number) for number in range(offset + 1, 4)]
        assert await back(stage, client, offset) == [True, *missed]
        stage.publish(4, t=4)
        assert await client.settled() == [with_offset(telemetry(4, t=4), 4)]


@pytest.mark.parametrize(
    ("channel", "more", "offset"),
    [
        ("telemetry", {"recover": True}, 2),
        ("telemetry", {"recover": True, "snapshot": True}, 0),
        ("telemetry", {"since": 1}, 1),
        ("telemetry", {"since": 1, "frequency": "1s"}, 0),
        ("telemetry", {"since": 7}, 0),
        ("alerts", {"since": 7}, 1),  # of which there is no snapshot: nothing is to come
        ("alerts", {"recover": True, "snapshot": True}, 1),
    ],
)
async def test_the_position_is_that_of_who_gets_no_more_than_the_answer(
    channel: str, more: dict[str, object], offset: int
) -> None:
    async with Stage(history=100) as stage:
        for value in range(2):
            stage.publish(t=value)
        stage.hub.publish({"type": "alert", "severity": "a", "device_id": 1}, 0)
        client = await stage.user()
        if "since" in more:
            more = more | {"since": {"epoch": stage.hub.epoch, "offset": more["since"]}}
        answer = await client.ask(type="subscribe", id=1, channel=channel, **more)
        assert answer["position"] == {"epoch": stage.hub.epoch, "offset": offset}


async def test_of_every_channel_with_its_own_offsets() -> None:
    async with Stage(history=100) as stage:
        for status in ("a", "b"):
            stage.hub.publish({"type": "alert", "severity": status, "device_id": 1}, 0)
            stage.hub.publish({"type": "device_status_update", "device_id": 1, "new_status": status}, 0)
            stage.publish(None, cpu=status)
        client = await stage.user()
        for channel in ("alerts", "devices", "system"):
            recovered, message = await back(stage, client, 1, channel)
            assert (recovered, message["channel"], message["offset"]) == (True, channel, 2)


async def test_no_more_than_the_filters_and_the_scope_allow() -> None:
    async with Stage(history=100) as stage:
        for device in (1, 2, 3):
            stage.publish(device, t=device, h=device)
            stage.publish(device, p=device)
        client = await stage.user(devices=frozenset({1, 2}))
        expected = [with_offset(telemetry(1, t=1), 1), with_offset(telemetry(2, t=2), 3)]
        assert await back(stage, client, 0, metrics=["t"]) == [True, *expected]
        assert await back(stage, client, 0, device_id=[2, 3], metrics=["h"]) == [
            True, with_offset(telemetry(2, h=2), 3),
        ]  # fmt: skip


async def test_platform_wide_alerts_are_for_those_who_may_see_everything() -> None:
    async with Stage(history=100) as stage:
        stage.hub.publish({"type": "alert", "severity": "low"}, 0)
        assert (await back(stage, await stage.user(), 0, "alerts"))[0:1] == [True]
        assert len(await back(stage, await stage.user(), 0, "alerts")) == 2
        assert await back(stage, await stage.user(devices=frozenset({1})), 0, "alerts") == [True]


@pytest.mark.parametrize("since", [{"epoch": "another", "offset": 1}, {"offset": 4}, {"offset": 2**53 - 1}])
async def test_a_position_that_is_none_of_ours(since: dict[str, object]) -> None:
    """A snapshot follows instead; of alerts there is none."""
    async with Stage(history=100) as stage:
        for value in range(3):
            stage.publish(t=value)
        client = await stage.user()
        await client.say(type="subscribe", id=1, channel="telemetry", since={"epoch": stage.hub.epoch} | since)
        answer, *messages = await client.settled()
        assert answer["recovered"] is False
        assert answer["position"] == {"epoch": stage.hub.epoch, "offset": 0}
        assert messages == [telemetry(1, t=2) | {"channel": "telemetry"}]
        assert await back(stage, client, 1, "alerts") == [False]


async def test_no_history_recovers_only_who_has_missed_nothing() -> None:
    async with Stage() as stage:
        client = await stage.user()
        assert await back(stage, client, 0) == [True]
        stage.publish(t=1)
        await client.settled()
        assert await back(stage, client, 1) == [True]
        assert await back(stage, client, 0) == [False, telemetry(1, t=1) | {"channel": "telemetry"}]


async def test_the_history_no_longer_reaches() -> None:
    async with Stage(history=3) as stage:
        for value in range(1, 6):
            stage.publish(value, t=value)
        client = await stage.user()
        assert [message["offset"] for message in (await back(stage, client, 2))[1:]] == [3, 4, 5]
        recovered, *snapshot = await back(stage, client, 1)
        assert recovered is False
        assert [message["device_id"] for message in snapshot] == [1, 2, 3, 4, 5]


async def test_at_a_frequency_only_the_newest_is_wanted() -> None:
    async with Stage(history=100) as stage:
        for value in range(3):
            stage.publish(t=value)
        client = await stage.user(min_interval=0.1)
        assert await back(stage, client, 1) == [False, telemetry(1, t=2) | {"channel": "telemetry"}]


@pytest.mark.parametrize("too_much", [0, 1])
async def test_more_than_half_of_the_queues_room_is_too_much(too_much: int) -> None:
    """By one byte; with the answer it fits into the other half."""
    size = sum(len(encode(telemetry(number, t=number), offset=number)) for number in range(1, 6))
    async with Stage(history=100, queue_limit=2 * size + 1 - 2 * too_much) as stage:
        for number in range(1, 6):
            stage.publish(number, t=number)
        client = await stage.user()
        recovered, *messages = await back(stage, client, 0)
        assert recovered is not bool(too_much)
        assert [message["device_id"] for message in messages] == [1, 2, 3, 4, 5]
        assert [message.get("offset") for message in messages] == [None if too_much else n for n in range(1, 6)]
        assert client.session.close_code == 0


async def test_who_is_behind_gets_a_snapshot() -> None:
    """What is missed can't overtake what is kept back."""
    async with Jam(history=100) as jam:
        slow = await jam.reader()
        for value in range(3):
            jam.publish(t=value)
        await jam.jam(slow)
        since = {"epoch": jam.hub.epoch, "offset": 0}
        await jam.done(slow, type="subscribe", id=9, channel="telemetry", since=since)
        answer, *messages = await jam.drained(slow)
        assert (answer["id"], answer["recovered"]) == (9, False)
        assert messages == [telemetry(1, t=2) | {"channel": "telemetry"}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"snapshot": 1}, {"snapshot": "true"}, {"snapshot": []}, {"recover": 0}, {"recover": "yes"}, {"recover": {}},
        {"since": 1}, {"since": []}, {"since": "x"}, {"since": True}, {"since": {}}, {"since": {"epoch": "x"}},
        {"since": {"offset": 1}}, {"since": {"epoch": 1, "offset": 1}}, {"since": {"epoch": "x", "offset": "1"}},
        {"since": {"epoch": "x", "offset": -1}}, {"since": {"epoch": "x", "offset": 1.0}},
        {"since": {"epoch": "x", "offset": True}}, {"since": {"epoch": "x", "offset": 2**53}},
        {"since": {"epoch": None, "offset": 1}},
    ],
)  # fmt: skip
async def test_wrong_shapes(wrong: dict[str, object]) -> None:
    """Nothing is subscribed, and what there was stays."""
    async with Stage(history=100) as stage:
        client = await stage.subscriber(metrics=["t"])
        answer = await client.ask(type="subscribe", id=1, channel="telemetry", **wrong)
        assert (answer["type"], answer["error"], answer["channel"]) == ("error", "invalid_message", "telemetry")
        assert next(iter(wrong)) in answer["message"]
        stage.publish(t=1, h=1)
        assert await stage.heard(client) == [(1, {"t": 1})]


@pytest.mark.parametrize("nothing", [{"snapshot": None}, {"recover": None}, {"since": None}, {"snapshot": False}])
async def test_nothing_asked_for(nothing: dict[str, object]) -> None:
    async with Stage(history=100) as stage:
        stage.publish(t=1)
        client = await stage.user()
        answer, *messages = [await client.ask(type="subscribe", id=1, channel="telemetry", **nothing)]
        assert answer.keys() == {"type", "id", "success", "channel", "filters", "frequency"}
        assert await client.settled() == messages == []


async def test_more_than_a_share_of_the_servers_time_is_a_snapshot() -> None:
    # A replay of ten messages costs 11; there are 12, and 1.2 more a second.
    async with Stage(history=100, replayed_messages=1.2) as stage:
        for number in range(1, 11):
            stage.publish(7, t=number)
        client, other = await stage.user(), await stage.user()
        replay = [True, *[with_offset(telemetry(7, t=number), number) for number in range(1, 11)]]
        assert await back(stage, client, 0) == replay
        assert await back(stage, client, 0) == [False, telemetry(7, t=10) | {"channel": "telemetry"}]
        assert await back(stage, client, 10) == [True]
        assert await back(stage, other, 0) == replay


async def test_messages_that_do_not_match_cost_little() -> None:
    async with Stage(history=100, replayed_messages=2) as stage:
        for number in range(1, 11):
            stage.publish(number, t=number)
        client = await stage.user()
        for _ in range(9):
            assert await back(stage, client, 0, device_id="another") == [True]
