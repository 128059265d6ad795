"""The log goes away, hangs, loses what it had, or gets nonsense; nodes stop and stand still."""

from __future__ import annotations

import asyncio
import struct
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import redis.asyncio

from backplanes.nodes import Node, Proxy, cluster, hear, number
from core.harness import subscribe, telemetry, until
from redis_server import Redis
from valtronics_fast._core.lanes import lane_of
from valtronics_fast._core.wire import Channel
from valtronics_fast.backplanes import election
from valtronics_fast.backplanes.envelope import Envelope, seal
from valtronics_fast.backplanes.log import Batch

if TYPE_CHECKING:
    from pathlib import Path

    from backplanes.conftest import Broker
    from core.wire_client import Client

LANE = lane_of(Channel.TELEMETRY, 1)


def contains(text: bytes, data: bytes) -> bool:
    return text in data


async def until_resync(client: Client) -> list[int]:
    """Return the numbers that a client has heard before a resync."""
    heard = []
    while (message := await client.hear())["type"] != "resync":
        heard.append(number(message))
    return heard


async def test_nobody_succeeds_a_node_that_only_finds_the_log_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has published for its own clients would come behind what its successor publishes."""
    monkeypatch.setattr(election, "LISTENING", 0.0)
    monkeypatch.setattr(election, "LISTENING_AGAIN", 1000.0)
    with Redis(tmp_path) as broker:
        async with cluster(broker.url) as (first, second):
            first.backplane.election.stand("a role")
            await until(lambda: second.backplane.election.leader("a role"))
            second.backplane.election.stand("a role")
            broker.kill()
            await until(lambda: not first.backplane.ready() and not second.backplane.ready())
            await first.backplane.stop()
            broker.start()
            await until(second.backplane.ready)
            second.backplane.election.judge()
            assert not second.backplane.election.leads("a role")


@pytest.mark.parametrize("persistent", [True, False])
async def test_a_log_that_was_away_is_taken_up_again(tmp_path: Path, persistent: bool) -> None:
    with Redis(tmp_path, persistent=persistent) as broker:
        async with cluster(broker.url) as (first, second):
            here = await first.subscribed(recover=True)
            there = await second.subscribed(recover=True)
            first.publish(1, 1)
            assert [number(message) for client in (here, there) for message in await hear(client, 1)] == [1, 1]
            epoch = first.hub.epoch
            broker.kill()
            await until(lambda: not first.backplane.ready() and not second.backplane.ready())
            first.publish(1, 2, 3)
            second.publish(2, 4)
            assert [number(message) for message in await hear(here, 2)] == [2, 3]
            assert [number(message) for message in await hear(there, 1)] == [4]
            broker.start()
            await until(lambda: first.backplane.ready() and second.backplane.ready())
            await first.synced()
            await second.synced()
            await until(lambda: first.stat("nodes") == second.stat("nodes") == 1)
            assert (first.hub.epoch == epoch) is persistent
            assert first.hub.epoch == second.hub.epoch
            if persistent:
                assert [number(message) for message in await hear(here, 1)] == [4]
                assert [number(message) for message in await hear(there, 2)] == [2, 3]
                assert first.stat("resyncs") == second.stat("resyncs") == 0
            else:  # what was missed can't be known: everybody is told
                await until(lambda: first.stat("resyncs") == second.stat("resyncs") == 64)
                for node in (first, second):
                    late = await node.subscribed(snapshot=True)
                    values = {message["device_id"]: number(message) for message in await hear(late, 2)}
                    assert values == {1: 3, 2: 4}
                    late.close()
            assert [first.log()[-3:], first.stat("repeated")] == [second.log()[-3:], 0]
            first.publish(1, 5)
            await second.synced()
            assert first.stat("garbage") == second.stat("garbage") == 0
            await first.settled(here)
            await second.settled(there)


async def test_what_was_delivered_without_the_log_can_be_recovered_afterwards(tmp_path: Path) -> None:
    with Redis(tmp_path, persistent=True) as broker:
        async with cluster(broker.url) as (first, second):
            here = await first.subscribed(recover=True)
            await second.subscribed()
            first.publish(1, 1)
            [message] = await hear(here, 1)
            broker.kill()
            await until(lambda: not first.backplane.ready())
            first.publish(1, 2)
            assert "offset" not in (await hear(here, 1))[0]
            broker.start()
            await until(lambda: first.backplane.ready() and second.backplane.ready())
            await first.synced()
            await second.synced()
            assert await here.settled() == []
            for node in (first, second):
                late = await node.login()
                since = {"epoch": node.hub.epoch, "offset": message["offset"]}
                assert (await subscribe(late, "telemetry", since=since))["recovered"] is True
                assert [number(one) for one in await hear(late, 1)] == [2]


async def test_a_log_that_hangs_is_noticed(broker: Broker) -> None:
    async with cluster(broker.url) as (first, second):
        client = await first.subscribed()
        await second.subscribed()
        broker.freeze()
        first.publish(1, 1)
        try:
            await until(lambda: not first.backplane.ready() and not second.backplane.ready())
            assert [number(message) for message in await hear(client, 1)] == [1]
        finally:
            broker.thaw()
        await until(lambda: first.backplane.ready() and second.backplane.ready())
        await first.synced()
        await second.synced()
        assert await client.settled() == []
        assert len(second.log()) == 1


async def test_an_append_whose_answer_is_lost_is_neither_lost_nor_repeated(redis_server: Redis) -> None:
    async with Proxy(redis_server.port) as proxy, Node(redis_server.url) as other:
        there = await other.subscribed()
        async with Node(f"redis://127.0.0.1:{proxy.port}") as node:
            here = await node.subscribed()
            node.publish(1, 0)
            assert [number(message) for message in await hear(here, 1)] == [0]
            for count in range(1, 6):
                text = f'"n":{{"value":{count}'.encode()
                proxy.swallow = partial(contains, text)
                node.publish(1, count)
                assert [number(message) for message in await hear(here, 1)] == [count]
                proxy.swallow = lambda _: False
                await until(node.backplane.ready)
                await node.synced()
            assert proxy.swallowed >= 5
            assert await here.settled() == []
            assert [number(message) for message in await hear(there, 6)] == list(range(6))
            assert await there.settled() == []
            assert other.stat("repeated") >= 1
            assert other.stat("resyncs") == 0


async def test_cut_connections_lose_nothing(redis_server: Redis) -> None:
    async with (
        Proxy(redis_server.port) as proxy,
        cluster(redis_server.url) as (first, second),
        Node(f"redis://127.0.0.1:{proxy.port}") as node,
    ):
        clients = [await one.subscribed() for one in (first, second, node)]
        for count in range(150):
            first.publish(1, count)
            node.publish(2, count)
            if count % 30 == 29:
                proxy.cut()
            await asyncio.sleep(0.02)
        await until(node.backplane.ready)
        for client in clients:
            heard = await hear(client, 300)
            for device in (1, 2):
                own = [number(message) for message in heard if message["device_id"] == device]
                assert (own == list(range(150))) is True, [one for one in pairwise(own) if one[1] != one[0] + 1]
            assert await client.settled() == []
        assert node.stat("losses") >= 1
        assert [one.stat("resyncs") for one in (first, second, node)] == [0, 0, 0]
        assert first.log() == second.log()


async def test_a_node_that_is_too_slow_for_its_connection_catches_up(redis_server: Redis) -> None:
    """Redis ends a connection on which more waits than its output buffer may have."""
    admin = redis.asyncio.Redis.from_url(redis_server.url)
    await admin.config_set("client-output-buffer-limit", "pubsub 300000 0 0")
    await admin.aclose()
    async with (
        Proxy(redis_server.port) as proxy,
        Node(redis_server.url) as first,
        Node(f"redis://127.0.0.1:{proxy.port}") as slow,
    ):
        await slow.backplane.follow([LANE], 0)
        proxy.flowing.clear()
        for count in range(400):
            first.backplane.publish(telemetry(1, n=count, fill="x" * 20000))
            await first.backplane.settled()
        proxy.flowing.set()
        await until(lambda: len(slow.log()) == 400)  # a client may well be too slow for so much at once
        offsets = [offset for offset, _, _ in slow.log()]
        assert offsets == sorted(set(offsets))  # as many as there are: none is missing, none came twice
        assert slow.stat("losses") == 1
        assert slow.stat("resyncs") == 0


async def test_nonsense_is_counted_and_does_no_harm(broker: Broker) -> None:
    async with cluster(broker.url) as (first, second):
        client = await second.subscribed(recover=True)
        log, node = first.backplane._log, f"{second.backplane._node:016x}"
        other = Envelope(77, 1, 1, b"\xff" * 30)
        for blob in (b"", b"x" * 100, seal(other)[:10], seal(other)):
            await log.append([Batch(LANE, 1, blob)])
        for data in (b"", b"{", b'{"node":-1,"number":1}', b'{"node":5,"number":1,"sequences":{"999":1}}'):
            await log.announce(data)
        request = struct.pack("<4sQIQ32s", b"vfa\x02", 9, 9, 2**60, b"\xff" * 32)
        for data in (b"", b"vfa\x02", b"vfd\x02" + b"\0" * 40, b"vfc\x02" + b"\0" * 12, request):
            await log.send(node, data)
        first.publish(1, 1)
        assert await until_resync(client) == []  # a lane's envelope was there, and could not be read
        assert [number(message) for message in await hear(client, 1)] == [1]
        await second.synced()
        assert second.stat("garbage") >= 4 + 4 + 2 - 1
        assert first.backplane.ready()
        assert second.backplane.ready()


async def test_what_the_buffer_gave_up_is_told(redis_server: Redis) -> None:
    async with Proxy(redis_server.port) as proxy, Node(redis_server.url) as other:
        there = await other.subscribed(recover=True)
        async with Node(f"redis://127.0.0.1:{proxy.port}", buffer=1 << 20) as node:
            here = await node.subscribed()
            node.publish(1, 1)
            node.publish(2, 1)
            await hear(here, 2)
            await hear(there, 2)
            proxy.flowing.clear()
            proxy.cut()
            await until(lambda: not node.backplane.ready())
            for count in range(3):  # is given up, and nothing follows in its lane
                node.backplane.publish(telemetry(1, n=count, fill="x" * 100_000))
            for count in range(2000):
                node.backplane.publish(telemetry(2, n=count, fill="x" * 1000))
                if count % 100 == 0:
                    await here.settled()
            await here.settled()
            assert node.stat("dropped") > 0
            assert node.stat("waiting_bytes") <= 1 << 20
            proxy.flowing.set()
            await until(node.backplane.ready)
            await until_resync(there)
            await until(lambda: other.stat("resyncs") >= 2)
            await node.synced()
            await other.synced()
            late = await other.subscribed(snapshot=True)
            values = {message["device_id"]: number(message) for message in await hear(late, 2)}
            assert values == {1: 2, 2: 1999}
            assert await here.settled() == []
            await other.settled(there)


async def test_a_node_that_is_gone_is_forgotten_and_is_not_asked_for_long(broker: Broker) -> None:
    async with cluster(broker.url, 3, patience=10) as nodes:
        first, second, third = nodes
        await first.subscribed()
        await second.subscribed()
        first.publish(1, 1)
        await until(lambda: third.backplane._members.followers([LANE], but=[first.backplane._node]))
        runner = first.backplane._runner
        assert runner is not None
        runner.cancel()  # without a word
        await first.backplane._log.close()
        client = await third.subscribed(snapshot=True)
        assert [number(message) for message in await hear(client, 1)] == [1]
        assert third.stat("dumps_taken") == 64  # the other one had to be asked
        await until(lambda: third.stat("nodes") == 1)


async def test_a_node_that_stood_still_goes_on(redis_server: Redis) -> None:
    """Here: nothing comes to it for some seconds."""
    async with (
        Proxy(redis_server.port) as proxy,
        Node(redis_server.url) as first,
        Node(f"redis://127.0.0.1:{proxy.port}") as node,
    ):
        client = await node.subscribed()
        proxy.flowing.clear()
        first.publish(1, 1, 2)
        await until(lambda: not node.backplane.ready())
        node.publish(2, 3)
        proxy.flowing.set()
        await until(node.backplane.ready)
        assert sorted(number(message) for message in await hear(client, 3)) == [1, 2, 3]
        await node.synced()
        assert await client.settled() == []
        assert node.stat("resyncs") == 0


async def test_an_offset_that_is_not_newer_is_told(broker: Broker) -> None:
    async with cluster(broker.url) as (first, second):
        client = await second.subscribed(recover=True)
        first.publish(1, 1)
        await hear(client, 1)
        second.backplane.received(LANE, 1, seal(Envelope(99, 1, 1, first.hub.pack(telemetry(1, n=0))[1])))
        assert await until_resync(client) == []
        assert [number(message) for message in await hear(client, 1)] == [1]


async def test_a_lane_that_could_not_be_loaded_before_the_log_went_away_is_loaded_afterwards(broker: Broker) -> None:
    async with cluster(broker.url) as (first, second):
        first.publish(1, 1)
        await first.backplane.settled()
        client = await second.login()
        broker.freeze()
        try:
            await client.say(type="subscribe", id=1, channel="telemetry", recover=True)
            await until(lambda: not second.backplane.ready())
        finally:
            broker.thaw()
        answer = await client.hear()
        assert answer["success"] is True
        await until(lambda: second.stat("lanes") == 64)
        first.publish(1, 2)
        heard = [await client.hear()]
        while heard[-1]["type"] == "resync" or number(heard[-1]) != 2:
            heard.append(await client.hear())
        assert len(heard) <= 5
        await client.settled()
