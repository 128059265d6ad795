"""Several nodes on one log: the same order, the same offsets, everything once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from backplanes.nodes import Node, cluster, hear, number
from core.harness import subscribe, telemetry, until
from valtronics_fast._core.lanes import lane_of
from valtronics_fast._core.wire import Channel
from valtronics_fast.backplanes import interest

if TYPE_CHECKING:
    import pytest

    from backplanes.conftest import Broker


async def test_all_nodes_deliver_the_same_in_the_same_order_with_the_same_offsets(broker: Broker) -> None:
    async with cluster(broker.url, 3) as nodes:
        clients = [await node.subscribed(recover=True) for node in nodes]
        for count in range(300):
            nodes[count % 3].publish(count % 7, count)
            if count % 20 == 0:
                await asyncio.sleep(0)
        heard = await asyncio.gather(*[hear(client, 300) for client in clients])
        offsets = [message["offset"] for message in heard[0]]
        assert heard[0] == heard[1] == heard[2]
        assert offsets == sorted(set(offsets))
        assert sorted(map(number, heard[0])) == list(range(300))
        for node, first in zip(nodes, range(3), strict=True):  # one node's order is kept for each device
            for device in range(7):
                own = [number(message) for message in heard[0] if message["device_id"] == device]
                assert sorted(one for one in own if one % 3 == first) == [one for one in own if one % 3 == first]
            assert [node.stat(name) for name in ("repeated", "garbage", "resyncs", "losses")] == [0, 0, 0, 0]
        logs = [node.log() for node in nodes]
        assert logs[0] == logs[1] == logs[2]
        for client in clients:
            assert await client.settled() == []


async def test_a_client_recovers_on_another_node(broker: Broker) -> None:
    async with cluster(broker.url) as (first, second):
        client = await first.login()
        answer = await subscribe(client, "telemetry", device_id=1, recover=True)
        first.publish(1, 1, 2)
        heard = await hear(client, 2)
        client.close()
        second.publish(1, 3)
        await second.synced()
        other = await second.login()
        since = {"epoch": answer["position"]["epoch"], "offset": heard[0]["offset"]}
        answer = await subscribe(other, "telemetry", device_id=1, recover=True, since=since)
        assert answer["recovered"] is True
        assert [number(message) for message in await hear(other, 2)] == [2, 3]


async def test_a_client_may_be_ahead_of_the_node_that_it_comes_to(broker: Broker) -> None:
    """What it has heard elsewhere comes through the log here, too, before it is answered."""
    async with cluster(broker.url) as (first, second):
        client = await first.subscribed(recover=True)
        await (await second.login()).ask(type="subscribe", id=1, channel="telemetry")
        for count in range(20):
            first.publish(5, count)
            [message] = await hear(client, 1)
            since = {"epoch": first.hub.epoch, "offset": message["offset"]}
            other = await second.login()
            assert (await subscribe(other, "telemetry", device_id=5, since=since))["recovered"] is True
            assert await other.settled() == []
            other.close()


async def test_what_was_published_just_before_a_lane_is_followed_is_not_lost(broker: Broker) -> None:
    async with cluster(broker.url) as (first, second):
        for device in range(30):
            first.publish(device, device)
            await first.backplane.settled()
            client = await second.login()
            await subscribe(client, "telemetry", device_id=device, snapshot=True)
            assert [number(message) for message in await hear(client, 1)] == [device]
            client.close()


async def test_newest_values_come_from_a_node_when_the_log_no_longer_has_them(broker: Broker) -> None:
    async with cluster(broker.url, entries=1) as (first, second):
        await first.subscribed()
        for device in range(64):
            first.publish(device, device)
        for count in range(300):  # Redis cuts a stream off by hundreds of entries
            first.publish(1000, count)
            await first.backplane.settled()
        await until(lambda: len(first.backplane._members.followers(range(64), but=[second.backplane._node])) == 0)
        await until(lambda: second.backplane._members.followers([0]))
        client = await second.login()
        await subscribe(client, "telemetry", snapshot=True)
        values = {message["device_id"]: number(message) for message in await hear(client, 65)}
        assert values == {**{device: device for device in range(64)}, 1000: 299}
        assert second.stat("dumps_taken") == 64
        assert first.stat("dumps_given") == 64
        late = await second.login()
        since = {"epoch": second.hub.epoch, "offset": 1}
        assert (await subscribe(late, "telemetry", device_id=1000, since=since))["recovered"] is False


async def test_newest_values_and_history_come_from_the_log_when_nobody_follows(broker: Broker) -> None:
    async with cluster(broker.url, 1) as [first]:
        client = await first.subscribed(recover=True)
        first.publish(1, 1, 2, 3)
        heard = await hear(client, 3)
        since = {"epoch": first.hub.epoch, "offset": heard[0]["offset"]}
    async with cluster(broker.url, 1) as [second]:
        late, newest = await second.login(), await second.login()
        assert (await subscribe(late, "telemetry", since=since))["recovered"] is True
        assert [number(message) for message in await hear(late, 2)] == [2, 3]
        await subscribe(newest, "telemetry", snapshot=True)
        assert [number(message) for message in await hear(newest, 1)] == [3]


async def test_a_large_dump_comes_in_pieces(broker: Broker) -> None:
    async with cluster(broker.url, entries=1) as (first, second):
        await first.subscribed()
        lane = lane_of(Channel.TELEMETRY, 1)
        devices = [device for device in range(1, 60000) if lane_of(Channel.TELEMETRY, device) == lane][:600]
        for device in devices:
            first.backplane.publish(telemetry(device, n="x" * 4000))
        await first.backplane.settled()
        await until(lambda: second.backplane._members.followers([lane]))
        client = await second.login()
        await subscribe(client, "telemetry", snapshot=True)
        assert {message["device_id"] for message in await hear(client, len(devices))} == set(devices)
        assert second.stat("dumps_taken") == 64


async def test_only_lanes_that_are_needed_are_followed(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interest, "LINGER", 0.5)
    async with cluster(broker.url) as (first, second):
        client = await first.login()
        await subscribe(client, "telemetry", device_id=1)
        assert (first.stat("lanes"), second.stat("lanes")) == (1, 0)
        second.publish(2, 1)  # who publishes follows, a little later
        await until(lambda: second.stat("lanes") == 1)
        client.close()
        await until(lambda: first.stat("lanes") == 0)
        second.publish(1, 7)
        await second.synced()
        await first.synced()
        assert first.log() == []
        again = await first.login()
        await subscribe(again, "telemetry", device_id=1, snapshot=True)
        assert [number(message) for message in await hear(again, 1)] == [7]


async def test_requests_at_the_same_time_are_done_together(broker: Broker) -> None:
    async with cluster(broker.url) as (first, second):
        first.publish(1, 1)
        await first.backplane.settled()
        await asyncio.gather(*[second.backplane.follow([lane, lane + 1], 0) for lane in range(40)])
        assert second.stat("lanes") == second.stat("loaded") == 41


async def test_a_request_that_is_given_up_takes_no_other_with_it(broker: Broker) -> None:
    async with cluster(broker.url, 1) as [node]:
        first = asyncio.ensure_future(node.backplane.follow([1, 2], 0))
        second = asyncio.ensure_future(node.backplane.follow([2, 3], 0))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert node.hub.lanes is not None
        assert {2, 3} <= set(node.hub.lanes.following())


async def test_an_acknowledgement_waits_for_the_log(broker: Broker) -> None:
    async with cluster(broker.url, 1) as [node]:
        for count in range(50):
            node.publish(count, count)
        assert node.stat("waiting_bytes") > 0
        await node.backplane.settled()
        assert node.stat("waiting_bytes") == 0


async def test_what_waits_at_the_end_goes_to_the_log(broker: Broker) -> None:
    async with cluster(broker.url) as (first, second):
        client = await second.subscribed()
        first.publish(1, *range(100))
        await first.backplane.stop()
        assert [number(message) for message in await hear(client, 100)] == list(range(100))
        await until(lambda: second.stat("nodes") == 0)  # it has said that it goes
        await first.backplane.start(first.hub)


async def test_a_node_that_starts_without_the_log_serves_what_it_has(broker: Broker) -> None:
    broker.kill()
    async with Node(broker.url, patience=0.1) as node:
        assert not node.backplane.ready()
        client = await node.subscribed(recover=True)
        node.publish(1, 1)
        [message] = await hear(client, 1)
        assert "offset" not in message
        broker.start()
        await until(node.backplane.ready)
        node.publish(1, 2)
        assert (await client.hear())["type"] == "resync"  # something may be missing
        assert [number(message) for message in await hear(client, 1)] == [2]
        await node.synced()
        async with Node(broker.url) as other:
            late = await other.subscribed(snapshot=True)
            assert [number(message) for message in await hear(late, 1)] == [2]
        await client.settled()
