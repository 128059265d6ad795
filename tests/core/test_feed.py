"""Snapshots and notices: what a client gets of what there is, and what it is told of what it did not get."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Any

import pytest

from core.behind import MARK, Jam
from core.harness import Message, Server, telemetry
from core.paced import FOREVER, Stage, short
from core.wire_client import text
from valtronics_fast._core.wire import CHANNELS


async def snapshot(client: Any, channel: str = "telemetry", **filters: object) -> list[Message]:
    """Ask for a snapshot; return what follows the answer, which comes first."""
    await client.say(type="subscribe", id="s", channel=channel, snapshot=True, **filters)
    answer, *messages = await client.settled()
    assert (answer["id"], answer["success"]) == ("s", True)
    return messages


async def snapshot_of(client: Any, channel: str = "telemetry", **filters: object) -> list[Any]:
    return [short(message) for message in await snapshot(client, channel, **filters)]


async def test_everything_there_is_and_then_what_comes() -> None:
    """As ordinary messages, each metric's newest, the longest silent device first."""
    async with Stage() as stage:
        stage.publish(1, t=1, h=1)
        stage.publish("two", t=2)
        stage.publish(1, t=3)
        client = await stage.user()
        message = telemetry(1, t=3, h=1) | {"channel": "telemetry"}
        assert await snapshot(client) == [telemetry("two", t=2) | {"channel": "telemetry"}, message]
        stage.publish(1, t=4)
        assert await stage.heard(client) == [(1, {"t": 4})]
        assert client.session.conflated == 0


async def test_of_named_devices() -> None:
    async with Stage() as stage:
        for device in range(5):
            stage.publish(device, t=device)
        client = await stage.user()
        assert sorted(await snapshot_of(client, device_id=[3, 1, "unheard of"])) == [(1, {"t": 1}), (3, {"t": 3})]
        assert await snapshot_of(client, device_id=["unheard of"]) == []


async def test_of_named_metrics() -> None:
    async with Stage() as stage:
        stage.publish(1, t=1, h=1)
        stage.publish(2, p=1)
        client = await stage.user()
        assert await snapshot_of(client, metrics=["t", "x"]) == [(1, {"t": 1})]


async def test_of_the_system() -> None:
    async with Stage() as stage:
        stage.publish(None, cpu=1, ram=2)
        stage.publish(None, cpu=3)
        client = await stage.user(devices=frozenset())
        assert await snapshot_of(client, "system") == [{"cpu": 3, "ram": 2}]
        assert await snapshot_of(client, "system", metrics="ram") == [{"ram": 2}]


async def test_alerts_have_none() -> None:
    async with Stage() as stage:
        stage.hub.publish({"type": "alert", "severity": "low", "device_id": 1}, 0)
        assert await snapshot(await stage.user(), "alerts") == []


async def test_of_statuses_the_newest_where_it_is_one_that_is_asked_for() -> None:
    async with Jam() as jam:
        for device, status in ((1, "offline"), (2, "offline"), (2, "online"), ("c", "error"), (1, "error")):
            jam.status(device, status)
        client = await jam.user()

        async def statuses(**filters: object) -> list[tuple[int | str, str]]:
            messages = await snapshot(client, "devices", **filters)
            return [(message["device_id"], message["new_status"]) for message in messages]

        assert await statuses() == [(2, "online"), ("c", "error"), (1, "error")]
        await jam.told(client, type="unsubscribe", id=1, channel="devices")
        assert await statuses(status_types="error") == [("c", "error"), (1, "error")]
        await jam.told(client, type="unsubscribe", id=1, channel="devices")
        assert await statuses(status_types=["offline", "unheard of"]) == []
        await jam.told(client, type="unsubscribe", id=1, channel="devices")
        assert sorted(await statuses(device_id=[1, 2], status_types=["online", "error"])) == [
            (1, "error"), (2, "online"),
        ]  # fmt: skip


async def test_no_more_than_the_scope_allows() -> None:
    async with Jam() as jam:
        for device in range(4):
            jam.publish(device, t=device)
            jam.status(device, "offline")
        client = await jam.user(devices=frozenset({1, 2, 9}))
        assert sorted(await snapshot_of(client)) == [(1, {"t": 1}), (2, {"t": 2})]
        assert await snapshot_of(client, device_id=[2, 3]) == [(2, {"t": 2})]
        assert {message["device_id"] for message in await snapshot(client, "devices")} == {1, 2}


async def test_a_renewed_token_holds_for_what_is_still_to_be_sent() -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        for device in range(4):
            jam.publish(device, t=device)
            jam.status(device, "offline")
        await jam.jam(slow)
        for channel in ("telemetry", "devices"):
            await jam.done(slow, type="subscribe", channel=channel, snapshot=True)
        await jam.done(slow, type="auth", token=jam.token(seconds=FOREVER, devices=frozenset({1, 3})))
        received = [message for message in await jam.drained(slow) if "device_id" in message]
        assert sorted((message["channel"], message["device_id"]) for message in received) == [
            ("devices", 1), ("devices", 3), ("telemetry", 1), ("telemetry", 3),
        ]  # fmt: skip


@pytest.mark.parametrize("devices", [None, [0, 1, 2]])
async def test_an_unsubscribe_ends_what_is_still_to_be_sent(devices: list[int] | None) -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        for device in range(4):
            jam.publish(device, t=device)
        await jam.jam(slow)
        await jam.done(slow, type="subscribe", channel="telemetry", device_id=[0, 1, 2], snapshot=True)
        await jam.done(slow, type="unsubscribe", channel="telemetry", device_id=devices)
        assert await jam.drained(slow) == []
        assert slow.session.subscription_count == 1


async def test_what_comes_during_a_snapshot_takes_the_place_of_what_it_had() -> None:
    """A large one, for a slow reader; each device's values go forward only, and the newest arrives."""
    async with Jam(history=5) as jam:
        slow = await jam.reader()
        for device in range(500):
            jam.publish(device, n=0, text="x" * 1000)
        await jam.done(slow, type="subscribe", channel="telemetry", snapshot=True)
        received, newest = [], dict.fromkeys(range(500), 0)
        for number in range(1, 200):
            device = number * number % 500
            jam.publish(device, n=number)
            newest[device] = number
            received.append(short(await slow.hear()))
        received += await jam.caught_up(slow)
        view: dict[int, int] = {}
        for device, values in received:
            assert view.get(device, -1) < values["n"]
            view[device] = values["n"]
        assert view == newest
        matched = jam.hub.stats()["telemetry"]["matched"]
        assert {device for device, values in received if "text" in values} == set(range(500))
        fresh = sum(values["n"] > 0 for _, values in received)
        assert fresh + slow.session.conflated == matched
        assert slow.session.conflated == jam.conflated()


async def test_devices_that_are_forgotten_meanwhile_are_part_of_it() -> None:
    async with Jam(max_latest=200_000) as jam:
        slow = await jam.reader()
        for device in range(50):
            jam.publish(device, t=1, text="x" * 1000)
        await jam.jam(slow)
        await jam.done(slow, type="subscribe", channel="telemetry", device_id=list(range(40)), snapshot=True)
        for device in range(100, 200):
            jam.publish(device, t=1, text="x" * 1000)
        assert sorted(device for device, _ in await jam.caught_up(slow)) == list(range(40))


async def test_at_a_frequency_it_does_not_set_the_clock() -> None:
    async with Stage() as stage:
        stage.publish(1, t=1)
        client = await stage.user()
        assert await snapshot_of(client, frequency="1h") == [(1, {"t": 1})]
        stage.publish(1, t=2)
        stage.publish(1, t=3)
        assert await stage.heard(client) == [(1, {"t": 2})]
        stage.at(3_700_000).tick()
        assert await stage.heard(client) == [(1, {"t": 3})]


async def test_overlapping_subscriptions_share_one() -> None:
    """Once a device, with the union of the metrics; what one of them gets live is not sent again."""
    async with Stage() as stage:
        stage.publish(1, a=1, b=1, c=1)
        stage.publish(2, a=2, b=2, c=2)
        client = await stage.user()
        assert await snapshot_of(client, metrics=["a"]) == [(1, {"a": 1}), (2, {"a": 2})]
        assert await snapshot_of(client, device_id=1, metrics=["b"]) == [(1, {"a": 1, "b": 1})]
        stage.publish(1, a=3, b=3, c=3)
        assert await stage.heard(client) == [(1, {"a": 3, "b": 3})]


async def test_it_follows_what_was_published_in_the_same_turn() -> None:
    """Live data of another subscription is in the queue already, and older."""
    async with Stage() as stage:
        client = await stage.user(publish=15)
        await stage.order(client, device_id=1)
        stage.host.publisher = lambda message: stage.publish(**dict(message))
        commands: list[Message] = [
            {"type": "publish", "message": {"device": 1, "t": 1}},
            {"type": "subscribe", "channel": "telemetry", "snapshot": True},
            {"type": "publish", "message": {"device": 1, "t": 2}},
        ]
        await client.write(b"".join(map(text, commands)))
        assert await stage.heard(client) == [(1, {"t": 1}), (1, {"t": 1}), (1, {"t": 2})]


@pytest.mark.parametrize("pending", [False, True])
async def test_nothing_comes_before_the_answer_to_auth(pending: bool) -> None:
    """Commands sent right behind it, without waiting; also when the token's verification takes its time."""
    async with Stage(history=10) as stage:
        stage.publish(1, t=1)
        stage.publish(None, cpu=1)
        client = await stage.connect()
        token = stage.token(seconds=FOREVER)
        verification: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if pending:
            stage.host.pending["slow"] = verification
        since = {"epoch": stage.hub.epoch, "offset": 0}
        commands: list[Message] = [
            {"type": "auth", "token": "slow" if pending else token, "notices": True},
            {"type": "subscribe", "channel": "telemetry", "snapshot": True},
            {"type": "subscribe", "channel": "system", "since": since},
        ]
        await client.write(b"".join(map(text, commands)))
        if pending:
            assert await client.settled() == []
            verification.set_result(stage.host.grants[token])
        first = await client.hear()
        assert (first["type"], first["success"]) == ("auth_response", True)
        assert [short(await client.hear()) for _ in range(2)] == [(1, {"t": 1}), {"cpu": 1}]


async def test_a_snapshot_that_is_much_for_a_small_queue() -> None:
    """It goes into it bit by bit."""
    async with Server(queue_limit=10_000) as server:
        for device in range(200):
            server.hub.publish(telemetry(device, t="x" * 1000))
        client = await server.login()
        await client.say(type="subscribe", channel="telemetry", snapshot=True)
        assert [(await client.hear())["device_id"] for _ in range(200)] == list(range(200))
        assert await client.settled() == []


async def test_asking_again_and_again_without_reading_costs_nothing_more() -> None:
    async with Jam() as jam:
        slow = await jam.reader()
        for device in range(50):
            jam.publish(device, t=1)
        await jam.jam(slow)
        held = []
        for _ in range(20):
            await jam.done(slow, type="subscribe", channel="telemetry", device_id=list(range(50)), snapshot=True)
            held.append(jam.hub.turn.backlog)
            (catch_up,) = [one for one in gc.get_referents(slow.session) if type(one).__name__ == "CatchUp"]
            assert max(len(part) for part in gc.get_referents(catch_up) if isinstance(part, list)) == 50
        assert held == held[:1] * 20
        assert len(await jam.drained(slow)) == 50


async def test_what_is_noted_does_not_grow_with_forgotten_devices() -> None:
    """Ten thousand come and go while the reader reads on and stays behind."""
    async with Jam(max_latest=20_000) as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        received = []
        for device in range(3000):
            jam.publish(device, text="x" * 1000)
            received.append(await slow.hear())
        assert jam.hub.behind == 1
        (catch_up,) = [one for one in gc.get_referents(slow.session) if type(one).__name__ == "CatchUp"]
        sizes = [len(part) for part in gc.get_referents(catch_up) if isinstance(part, list | dict | set)]
        assert max(sizes) < 30
        await jam.drained(slow)


@pytest.mark.parametrize("frequency", ["real-time", "1h"])
async def test_what_a_snapshot_has_sent_does_not_come_again_with_what_is_newer(frequency: str) -> None:
    """A snapshot of several turns, of devices that each publish one of their metrics meanwhile."""
    async with Server(send_buffer=4096, queue_mark=512 << 10, queue_limit=4 << 20) as server:
        for device in range(2000):
            server.hub.publish(telemetry(device, t=1, h=1, text="x" * 300))
        client = await server.login(receive_buffer=4096)
        answer = await client.ask(type="subscribe", id=1, channel="telemetry", snapshot=True, frequency=frequency)
        assert answer["success"] is True
        received = [await client.hear() for _ in range(500)]
        assert server.hub.behind == 1
        for device in range(2000):
            server.hub.publish(telemetry(device, h=2))
        while server.hub.behind or client.session.queued_bytes:
            received.append(await client.hear())
        received += (await server.settled(client))[0]
        sent = Counter((message["device_id"], name) for message in received for name in message["telemetry"])
        assert [sent[device, name] for device in range(2000) for name in ("t", "text")] == [1] * 4000
        assert {message["telemetry"]["h"]["value"] for message in received[-500:]} == {2}


# Notices


def count_of(messages: list[Message]) -> int:
    return sum(message["count"] for message in messages if message["type"] == "notice")


@pytest.mark.parametrize("wish", [{"notices": True}, {}, {"notices": False}, {"notices": 1}, {"notices": "true"}])
async def test_who_asked_is_told_what_was_conflated(wish: Message) -> None:
    async with Jam() as jam:
        slow = await jam.reader(auth=wish)
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        for number in range(10):
            jam.publish(number % 2, t=number)
        received = await jam.drained(slow)
        asked = wish.get("notices") is True
        notices = [{"type": "notice", "code": "conflated", "count": 8}] if asked else []
        assert [message for message in received if "telemetry" not in message] == notices
        assert (len(received), slow.session.conflated) == (2 + asked, 8)


async def test_nothing_is_told_where_nothing_was_conflated() -> None:
    async with Jam() as jam:
        slow = await jam.reader(auth={"notices": True})
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        for number in range(10):
            jam.publish(number, t=number)
        assert len(await jam.drained(slow)) == 10


async def test_all_notices_together_tell_everything() -> None:
    """Over several times that the reader falls behind, on both channels."""
    async with Jam() as jam:
        slow = await jam.reader(auth={"notices": True})
        for channel in ("telemetry", "system"):
            await jam.taken(slow, type="subscribe", channel=channel)
        received = []
        for turn in range(3):
            await jam.jam(slow)
            for number in range(50 * turn):
                jam.publish(number % 7, t=number)
                jam.publish(None, cpu=number)
            received += await jam.drained(slow)
        stats = jam.hub.stats()
        values = [message for message in received if message["type"] != "notice"]
        assert len(values) + count_of(received) == stats["telemetry"]["matched"] + stats["system"]["matched"] == 300
        assert count_of(received) == slow.session.conflated == jam.conflated() + jam.conflated("system")
        assert {message["channel"] for message in values} == {"telemetry", "system"}


async def test_subscriptions_are_counted() -> None:
    async with Stage() as stage:
        client = await stage.user()
        assert (client.session.subscription_count, client.session.conflated) == (0, 0)
        for channel in CHANNELS:
            await stage.told(client, type="subscribe", id=1, channel=channel)
        assert client.session.subscription_count == 4


async def test_a_mark_that_is_crossed_by_one_byte() -> None:
    """With so many bytes in the queue a reader is not behind, with one more it is."""
    async with Jam(queue_mark=10 * MARK, queue_limit=0) as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        await jam.drained(slow)
        assert jam.hub.behind == 0
        while not slow.session.queued_bytes:
            jam.publish(t="x" * 1000)
            await asyncio.sleep(0)
        while (room := 10 * MARK - slow.session.queued_bytes) > 3000:
            jam.publish(t="x" * 1000)
        overhead = 4 + len(text(telemetry(1, t="") | {"channel": "telemetry"})) - 8
        jam.publish(t="x" * (room - overhead))
        assert (slow.session.queued_bytes, jam.hub.behind) == (10 * MARK, 0)
        jam.publish(t=1)
        assert jam.hub.behind == 1
        await jam.drained(slow)
