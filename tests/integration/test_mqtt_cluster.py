"""MQTT in a cluster: one node ingests, and the next one goes on where it stopped; nothing with QoS 1 is lost."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from cluster_site import Publisher, Watcher, came_whole, cluster, until
from harness import TIMEOUT
from mqtt_harness import send

if TYPE_CHECKING:
    from pathlib import Path

RATE = 1000


def tell(publisher: Publisher, *watchers: Watcher) -> None:
    """Print the figures, for `pytest -rP`."""
    for watcher in watchers:
        print(f"{publisher.count} published, {watcher.repeats} came again, {dict(watcher.other)}")


async def test_a_leader_that_is_killed(tmp_path: Path) -> None:
    async with cluster(tmp_path, 3) as site:
        leader = await site.leader()
        others = [node for node in range(3) if node != leader]
        watcher = await site.watch(others[0])
        async with Publisher(site.broker, RATE) as publisher:
            await publisher.published(2 * RATE)
            site.nodes[leader].tell(signal.SIGKILL)
            next_one = await site.leader(but=leader)
            await publisher.published(2 * RATE)
            await publisher.stop()
            await came_whole(watcher, publisher)
        tell(publisher, watcher)
        assert next_one in others
        for node in others:
            stats = await site.ask(node, "/api/v1/stats")
            assert stats["producers"]["mqtt"]["leads"] == (node == next_one)
            next_stats = await site.ask(next_one, "/api/v1/stats")
            assert stats["producers"]["mqtt"]["leader"] == next_stats["backplane"]["node"]
            assert (await site.ask(node, "/health/ready"))["status"] == "ready"
        assert watcher.repeats <= 200


async def test_a_leader_that_stands_still(tmp_path: Path) -> None:
    async with cluster(tmp_path, 2) as site:
        leader = await site.leader()
        watcher = await site.watch(1 - leader)
        async with Publisher(site.broker, RATE) as publisher:
            await publisher.published(2 * RATE)
            site.nodes[leader].tell(signal.SIGSTOP)
            assert await site.leader(but=leader) == 1 - leader
            await publisher.published(15 * RATE)
            site.nodes[leader].tell(signal.SIGCONT)
            await publisher.published(5 * RATE)
            assert await site.leader() == 1 - leader
            await publisher.stop()
            await came_whole(watcher, publisher)
        tell(publisher, watcher)
        assert not (await site.mqtt(leader))["leads"]
        assert (await site.mqtt(leader))["connected"] is False
        assert (await site.ask(leader, "/health/ready"))["status"] == "ready"


async def test_a_leader_that_is_ended(tmp_path: Path) -> None:
    async with cluster(tmp_path, 2) as site:
        leader = await site.leader()
        watcher = await site.watch(1 - leader)
        async with Publisher(site.broker, RATE) as publisher:
            await publisher.published(RATE)
            assert await site.nodes[leader].end() == 0
            assert await site.leader(but=leader) == 1 - leader
            await publisher.published(RATE)
            await publisher.stop()
            await came_whole(watcher, publisher)
        tell(publisher, watcher)
        assert watcher.repeats == 0


async def test_what_was_known_is_known_to_the_next_leader(tmp_path: Path) -> None:
    """A heartbeat does not clear a warning, and what is retained is not new."""
    async with cluster(tmp_path, 2) as site:
        leader = await site.leader()
        async with asyncio.timeout(TIMEOUT):
            while not (await site.mqtt(1 - leader))["leader"]:  # it says so with its next heartbeat
                await asyncio.sleep(0.1)
        watcher = await site.watch(1 - leader, "telemetry", "devices")
        await send(site.broker, "valtronics/7/status", {"status": "warning"}, retain=True)
        # With QoS 1 it would come again, too, when the leader dies before it has acknowledged it.
        await send(site.broker, "valtronics/devices/1/telemetry/n", 0, retain=True, qos=0)
        await until(lambda: watcher.count == 1 and watcher.statuses == [("unknown", "warning")])
        site.nodes[leader].tell(signal.SIGKILL)
        await site.leader(but=leader)
        await send(site.broker, "valtronics/7/heartbeat")
        await send(site.broker, "valtronics/7/status", {"status": "offline"})
        await until(lambda: len(watcher.statuses) == 2)
        assert watcher.statuses[1] == ("warning", "offline")
        assert (watcher.count, watcher.repeats) == (1, 0)


async def test_a_broker_that_is_restarted(tmp_path: Path) -> None:
    settings = ["persistence true", f"persistence_location {tmp_path}/broker/", "autosave_interval 1"]
    async with cluster(tmp_path, 2, broker=settings) as site:
        leader = await site.leader()
        watcher = await site.watch(1 - leader)
        async with Publisher(site.broker, RATE) as publisher:
            await publisher.published(RATE)
            await publisher.stop()
            await asyncio.to_thread(site.broker.stop)
            await asyncio.to_thread(site.broker.start)
            assert await site.leader() == leader
            await came_whole(watcher, publisher)
        tell(publisher, watcher)


async def test_a_backplane_that_is_away(tmp_path: Path) -> None:
    """The leader goes on for its own clients; when the log is back the others get what they missed.

    The log ends in order: a Redis that is killed, and keeps nothing on disk, may take along what it has answered for
    and not told yet. Then clients are told that they have missed something (tests/cluster counts that), no more.
    """
    async with cluster(tmp_path, 2, VFAST_BACKPLANE__PATIENCE="1s") as site:
        leader = await site.leader()
        here, there = await site.watch(leader), await site.watch(1 - leader)
        async with Publisher(site.broker, RATE) as publisher:
            await publisher.published(RATE)
            await asyncio.to_thread(site.redis.end)
            before = here.count
            await publisher.published(5 * RATE)
            assert here.count > before + 2 * RATE
            assert await site.leader() == leader
            assert not (await site.mqtt(1 - leader))["leads"]
            await asyncio.to_thread(site.redis.start)
            await publisher.published(5 * RATE)
            await publisher.stop()
            await came_whole(here, publisher)
            await came_whole(there, publisher)
        tell(publisher, here, there)
        assert await site.leader() == leader
