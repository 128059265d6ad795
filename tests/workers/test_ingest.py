"""MQTT with workers: the first one ingests, and nothing with QoS 1 is lost whoever of them is killed."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from cluster_site import BROKER, Publisher, Watcher, came_whole
from cluster_site import until as until_within
from harness import TIMEOUT, http
from mqtt_harness import send
from services import Mosquitto
from workers.processes import Processes, kill, on_worker, processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RATE = 500


@asynccontextmanager
async def ingesting(directory: Path, **variables: str) -> AsyncIterator[tuple[Mosquitto, Processes]]:
    """Run a broker, and workers that are connected to it."""
    with Mosquitto(directory, settings=BROKER) as broker:
        mqtt = {"VFAST_MQTT__URL": broker.url, "VFAST_MQTT__CLIENT_ID": "vfast"}
        async with processes(**mqtt, **variables) as site:
            await connected(site)
            yield broker, site


async def connected(site: Processes) -> None:
    """Return when a worker has its subscriptions at the broker."""
    await site.seen(lambda stats: stats.get("producers", {}).get("mqtt", {}).get("connected"))
    async with asyncio.timeout(TIMEOUT):
        while (await http("GET", site.http_url("/health/ready")))[1]["checks"].get("mqtt") != "ok":
            await asyncio.sleep(0.05)


async def watch(site: Processes, worker: str, stack: AsyncExitStack, *channels: str) -> Watcher:
    """Subscribe to channels at a worker; to telemetry when there are none."""
    client = await on_worker(site, stack, worker)
    watcher = Watcher(client.connection)
    stack.push_async_callback(watcher.end)
    for channel in channels or ("telemetry",):
        await client.send(type="subscribe", id=channel, channel=channel)
    await until_within(lambda: watcher.other["subscribe_response"] == (len(channels) or 1))
    return watcher


async def test_the_worker_that_ingests_is_killed_again_and_again(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as (broker, site), AsyncExitStack() as stack:
        watcher = await watch(site, "1", stack)
        async with Publisher(broker, RATE) as publisher:
            for _ in range(3):
                await publisher.published(RATE)
                pid = (await site.all_there())["0"]
                kill(pid)
                await site.replaced(pid)
                await connected(site)
            await publisher.published(RATE)
            await publisher.stop()
            await came_whole(watcher, publisher)
        stats = await site.stats()
        assert stats["supervisor"]["starts"] == {"0": 4, "1": 1}
        assert watcher.repeats <= 3 * 200


async def test_another_worker_is_killed(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as (broker, site), AsyncExitStack() as stack:
        watcher = await watch(site, "0", stack)
        async with Publisher(broker, RATE) as publisher:
            await publisher.published(RATE)
            pid = (await site.workers())["1"]
            kill(pid)
            await site.replaced(pid)
            await publisher.published(RATE)
            await publisher.stop()
            await came_whole(watcher, publisher)
        assert watcher.repeats == 0
        assert (await site.stats())["producers"]["mqtt"]["reconnects"] == 0


async def test_what_the_supervisor_has_not_taken_is_not_acknowledged(tmp_path: Path) -> None:
    """However long that takes: then it comes again, to the next one that ingests."""
    settings = {"VFAST_BACKPLANE__PATIENCE": "100ms", "VFAST_SERVER__WORKER_TIMEOUT": "0"}
    async with ingesting(tmp_path, **settings) as (broker, site), AsyncExitStack() as stack:
        watcher = await watch(site, "1", stack)
        pid = (await site.workers())["0"]
        async with Publisher(broker, 20) as publisher:
            await publisher.published(20)
            await until_within(lambda: watcher.count >= 20)
            kill(site.supervisor.pid, signal.SIGSTOP)
            await publisher.published(100)  # far longer than the patience
            kill(pid)
            await asyncio.sleep(0.5)
            kill(site.supervisor.pid, signal.SIGCONT)
            await site.replaced(pid)
            await connected(site)
            await publisher.published(20)
            await publisher.stop()
            await came_whole(watcher, publisher)


async def test_what_was_known_is_known_to_the_next_one(tmp_path: Path) -> None:
    """A heartbeat does not clear a warning, and what is retained is not new."""
    async with ingesting(tmp_path) as (broker, site), AsyncExitStack() as stack:
        watcher = await watch(site, "1", stack, "telemetry", "devices")
        await send(broker, "valtronics/7/status", {"status": "warning"}, retain=True)
        await send(broker, "valtronics/devices/1/telemetry/n", 0, retain=True)
        await until_within(lambda: watcher.count == 1 and watcher.statuses == [("unknown", "warning")])
        pid = (await site.workers())["0"]
        kill(pid)
        await site.replaced(pid)
        await connected(site)
        await send(broker, "valtronics/7/heartbeat")
        await send(broker, "valtronics/7/status", {"status": "offline"})
        await until_within(lambda: len(watcher.statuses) == 2, TIMEOUT)
        assert watcher.statuses[1] == ("warning", "offline")
        assert (watcher.count, watcher.repeats) == (1, 0)
