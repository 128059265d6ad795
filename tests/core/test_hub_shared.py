"""A hub whose publications come from a log that several nodes share: lanes, offsets, loading, resync."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.harness import Message, Server, subscribe, telemetry
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.lanes import lane_of, lanes_in
from valtronics_fast._core.packet import PacketError
from valtronics_fast._core.wire import Channel

if TYPE_CHECKING:
    from core.wire_client import Client

TELEMETRY = range(64)


def packed(server: Server, *messages: Message) -> bytes:
    return b"".join(server.hub.pack(message)[1] for message in messages)


def follow(server: Server, *lanes: int) -> None:
    """What a backplane does once a lane's publications come here."""
    assert server.hub.lanes is not None
    server.hub.lanes.set_followed(lanes or range(256), True)


async def following(server: Server, **options: object) -> Client:
    """Return a client that is subscribed to telemetry, all of which is followed."""
    follow(server)
    client = await server.login()
    await subscribe(client, "telemetry", **options)
    return client


async def test_a_subscription_waits_for_its_lanes_and_what_comes_behind_it_too() -> None:
    async with Server(shared=True) as server:
        client = await server.login()
        await client.say(type="subscribe", id=1, channel="telemetry", device_id=[1, 2])
        await client.say(type="ping", id=2)
        assert await client.settled() == []
        lanes = sorted({lane_of(Channel.TELEMETRY, device) for device in (1, 2)})
        assert server.host.following == [(client.session, lanes, 0)]
        assert client.session.subscription_count == 0
        follow(server, *lanes)
        client.session.followed()
        answer, pong = await client.settled()
        assert (answer["type"], answer["id"], answer["success"]) == ("subscribe_response", 1, True)
        assert (pong["type"], pong["id"]) == ("pong", 2)
        server.hub.receive(packed(server, telemetry(1, t=1), telemetry(3, t=1)), 10)
        assert [message["device_id"] for message in await client.settled()] == [1]


async def test_a_subscription_goes_on_without_lanes_that_cannot_be_followed() -> None:
    async with Server(shared=True) as server:
        client = await server.login()
        await client.say(type="subscribe", id=1, channel="alerts")
        assert await client.settled() == []
        client.session.followed()
        assert (await client.hear())["success"] is True
        client.session.followed()  # nothing waits any more
        assert await client.settled() == []
        assert client.session.subscription_count == 1


async def test_lanes_that_are_followed_need_no_waiting() -> None:
    async with Server(shared=True) as server:
        await following(server, device_id=5)
        assert server.host.following == []


async def test_a_batch_goes_on_after_its_lanes() -> None:
    async with Server(shared=True) as server:
        client = await server.login()
        items = [
            {"type": "ping"},
            {"type": "subscribe", "channel": "telemetry", "device_id": 1},
            {"type": "subscribe", "channel": "nowhere"},
        ]
        await client.say(type="batch", id=1, messages=items)
        assert [message["type"] for message in await client.settled()] == ["pong"]
        client.session.followed()
        error, answer = await client.settled()
        assert error["error"] == "unknown_channel"
        assert answer["results"] == [
            {"success": True}, {"success": True}, {"success": False, "error": "unknown_channel"},
        ]  # fmt: skip
        assert client.session.subscription_count == 1


async def test_a_connection_that_ends_waits_for_nothing() -> None:
    async with Server(shared=True) as server:
        client = await server.login()
        await client.say(type="subscribe", id=1, channel="telemetry")
        assert await client.settled() == []
        client.close()
        await server.gone(client)
        client.session.followed()
        assert client.session.subscription_count == 0


async def test_a_token_that_loses_its_right_while_waiting_counts() -> None:
    """What the token permits is looked at again: lanes may take their time."""
    async with Server(shared=True) as server:
        client = await server.login(server.token(devices=frozenset({1})))
        await client.say(type="subscribe", id=1, channel="telemetry")
        assert await client.settled() == []
        assert server.host.following[0][1] == [lane_of(Channel.TELEMETRY, 1)]


async def test_an_endpoint_that_subscribes_by_itself_has_its_lanes_followed() -> None:
    async with Server(shared=True) as server:
        client = await server.login(endpoint=Channel.ALERTS)
        assert server.host.following == [(client.session, lanes_in(Channel.ALERTS, 2**64 - 1), 0)]
        follow(server)
        server.hub.receive(packed(server, {"type": "alert", "severity": "low"}), 1)
        assert [message["type"] for message in await client.settled()] == ["alert"]
        client.session.followed()


async def test_offsets_are_those_of_the_log() -> None:
    async with Server(shared=True, history=10, epoch="log") as server:
        client = await following(server, recover=True)
        server.hub.receive(packed(server, telemetry(1, t=1), telemetry(1, t=2)), 1000)
        server.hub.receive(packed(server, telemetry(1, t=3)), 2000)
        assert [message["offset"] for message in await client.settled()] == [1000, 1001, 2000]
        late = await server.login()
        since = {"epoch": "log", "offset": 1000}
        answer = await subscribe(late, "telemetry", since=since, recover=True)
        assert (answer["recovered"], answer["position"]) == (True, since)
        assert [message["offset"] for message in await late.settled()] == [1001, 2000]


async def test_a_packet_is_taken_once() -> None:
    async with Server(shared=True) as server:
        client = await following(server)
        packets = packed(server, telemetry(1, t=1))
        server.hub.receive(packets, 5)
        for offset in (5, 4):
            with pytest.raises(PacketError, match="older"):
                server.hub.receive(packets, offset)
        assert len(await client.settled()) == 1


async def test_what_was_delivered_before_is_only_kept() -> None:
    async with Server(shared=True, history=10, epoch="log") as server:
        client = await following(server)
        packets = packed(server, telemetry(1, t=1), telemetry(1, t=2))
        assert server.hub.receive(packets, 5, delivered=True) == 0
        assert await client.settled() == []
        history = server.hub.histories[Channel.TELEMETRY]
        assert [offset for offset, _, _ in history.since(0, partitions=0) or []] == [5, 6]
        with pytest.raises(PacketError, match="older"):
            server.hub.receive(packets, 6, delivered=True)


async def test_what_stands_before_a_broken_packet_is_delivered() -> None:
    async with Server(shared=True) as server:
        client = await following(server)
        with pytest.raises(PacketError):
            server.hub.receive(packed(server, telemetry(1, t=1)) + b"\1", 5)
        assert len(await client.settled()) == 1


async def test_a_client_that_is_further_than_this_node_waits_for_the_log() -> None:
    async with Server(shared=True, history=10, epoch="log") as server:
        follow(server)
        client = await server.login()
        await client.say(type="subscribe", id=1, channel="telemetry", since={"epoch": "log", "offset": 70})
        assert await client.settled() == []
        assert server.host.following == [(client.session, list(TELEMETRY), 70)]
        server.hub.receive(packed(server, telemetry(1, t=1)), 69)
        server.hub.advance_log(80)
        client.session.followed()
        assert (await client.hear())["recovered"] is True
        assert await client.settled() == []


async def test_a_client_of_another_log_does_not_wait() -> None:
    async with Server(shared=True, history=10, epoch="log") as server:
        follow(server)
        client = await server.login()
        answer = await subscribe(client, "telemetry", since={"epoch": "other", "offset": 70})
        assert answer["recovered"] is False


async def test_what_is_absorbed_is_history_or_newest_values_and_goes_to_nobody() -> None:
    async with Server(shared=True, history=10, epoch="log") as server:
        follow(server)
        server.hub.advance_log(50)
        client = await server.login()
        await subscribe(client, "telemetry", device_id=9)
        server.hub.absorb([(packed(server, telemetry(9, t=1), telemetry(9, t=2)), 10)], newest=False)
        assert await client.settled() == []
        server.hub.absorb([(packed(server, telemetry(9, t=2, h=7)), 0)], newest=True)
        assert await client.settled() == []
        late, newest = await server.login(), await server.login()
        answer = await subscribe(late, "telemetry", device_id=9, since={"epoch": "log", "offset": 10})
        assert answer["recovered"] is True
        assert [message["telemetry"]["t"]["value"] for message in await late.settled()] == [2]
        await subscribe(newest, "telemetry", snapshot=True)
        [snapshot] = await newest.settled()
        assert {name: metric["value"] for name, metric in snapshot["telemetry"].items()} == {"t": 2, "h": 7}


async def test_what_was_published_before_this_node_began_can_be_recovered() -> None:
    """A node that has just started takes over the clients of another one."""
    async with Server(shared=True, history=10) as server:
        server.hub.begin_log("log", 50)
        server.hub.absorb([(packed(server, telemetry(9, t=1), telemetry(9, t=2)), 10)], newest=False)
        lane = lane_of(Channel.TELEMETRY, 9)
        server.hub.histories[Channel.TELEMETRY].set_floor(lane, 5)
        follow(server, lane)
        for offset, missed in ((10, [2]), (5, [1, 2]), (4, None)):
            client = await server.login()
            since = {"epoch": "log", "offset": offset}
            answer = await subscribe(client, "telemetry", device_id=9, since=since)
            assert answer["recovered"] is (missed is not None)
            if missed is not None:
                assert [message["telemetry"]["t"]["value"] for message in await client.settled()] == missed


async def test_nobody_recovers_as_long_as_something_was_delivered_that_has_no_offset_yet() -> None:
    """It stands behind no position, and would be missing."""
    async with Server(shared=True, history=10, epoch="log") as server:
        await following(server)
        server.hub.receive(packed(server, telemetry(1, t=1)), 10)
        apart = packed(server, telemetry(1, t=2))
        server.hub.receive(apart, 0)
        since = {"epoch": "log", "offset": 10}

        async def recovered(device: int) -> list[object]:
            client = await server.login()
            answer = await subscribe(client, "telemetry", device_id=device, since=since)
            values = [message["telemetry"]["t"]["value"] for message in await client.settled()]
            return [answer["recovered"], *values]

        assert await recovered(1) == [False, 2]
        assert await recovered(2) == [True]
        server.hub.receive(apart, 11, delivered=True)
        server.hub.rejoin_log()
        assert await recovered(1) == [True, 2]


async def test_who_stands_ahead_of_a_snapshot_gets_one() -> None:
    """Also where the log has everything since its beginning: it may have begun after what the client lacks."""
    async with Server(shared=True, history=10, epoch="log") as server:
        follow(server)
        server.hub.absorb([(packed(server, telemetry(1, t=1)), 0)], newest=True)
        server.hub.receive(packed(server, telemetry(2, t=2)), 10)
        client = await server.login()
        answer = await subscribe(client, "telemetry", since={"epoch": "log", "offset": 0}, recover=True)
        assert (answer["recovered"], answer["position"]["offset"]) == (False, 0)
        assert sorted(message["device_id"] for message in await client.settled()) == [1, 2]


async def test_a_partition_that_was_not_followed_cannot_be_recovered() -> None:
    async with Server(shared=True, history=10, epoch="log") as server:
        follow(server)
        server.hub.receive(packed(server, telemetry(1, t=1)), 10)
        server.hub.receive(packed(server, telemetry(1, t=2)), 11)
        server.hub.histories[Channel.TELEMETRY].set_floor(lane_of(Channel.TELEMETRY, 2), 11)
        for devices, recovered in ((1, True), (2, False), ([1, 2], False), (None, False)):
            client = await server.login()
            answer = await subscribe(client, "telemetry", device_id=devices, since={"epoch": "log", "offset": 10})
            assert answer["recovered"] is recovered


async def test_those_who_have_missed_something_are_told_and_get_the_newest_values() -> None:
    async with Server(shared=True, history=10, epoch="log") as server:
        recovering = await following(server, device_id=1, recover=True)
        plain = await following(server, device_id=1)
        other = await following(server, device_id=2, recover=True)
        server.hub.receive(packed(server, telemetry(1, t=1), telemetry(2, t=1)), 10)
        for client in (recovering, plain, other):
            assert len(await client.settled()) == 1
        server.hub.absorb([(packed(server, telemetry(1, t=5)), 0)], newest=True)
        server.hub.resync([lane_of(Channel.TELEMETRY, 1)])
        told, snapshot = await recovering.settled()
        # The connection may end before the snapshot: then there must be another one.
        assert told == {"type": "resync", "channel": "telemetry", "position": {"epoch": "log", "offset": 0}}
        assert snapshot["telemetry"]["t"]["value"] == 5
        assert await plain.settled() == [snapshot]
        assert await other.settled() == []


async def test_lost_events_are_told() -> None:
    async with Server(shared=True, history=10, epoch="log") as server:
        follow(server)
        client, plain = await server.login(), await server.login()
        await subscribe(client, "alerts", recover=True)
        await subscribe(plain, "alerts")
        server.hub.resync([64 + 5])
        assert [message["type"] for message in await client.settled()] == ["resync"]
        assert await plain.settled() == []


async def test_without_the_log_messages_have_no_offset_and_are_not_kept() -> None:
    async with Server(shared=True, history=10) as server:
        client = await following(server, recover=True)
        assert server.hub.publish(telemetry(1, t=1)) == 1
        assert server.hub.receive(packed(server, telemetry(1, t=2)), 0) == 1
        assert ["offset" in message for message in await client.settled()] == [False, False]
        assert len(server.hub.histories[Channel.TELEMETRY]) == 0


def test_a_message_that_is_none_is_not_packed() -> None:
    hub = Hub(lambda flush: None, 0.0, shared=True, max_payload=300)
    with pytest.raises(ValueError, match="at most 300"):
        hub.pack(telemetry(1, t="x" * 300))
    with pytest.raises(ValueError, match="type is one of"):
        hub.pack({"type": "noise"})


def test_a_hub_that_is_alone_has_no_lanes() -> None:
    assert Hub(lambda flush: None, 0.0).lanes is None
