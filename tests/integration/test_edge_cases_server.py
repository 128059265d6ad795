"""What happens to a whole server: the edge cases 49, 51 and 52 (50: test_mqtt_faults.py, 47: test_descriptors.py)."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from abuse.target import Target
from abuse.target import token as abuse_token
from front_server import request
from harness import TIMEOUT, Client, Site, alert, running, telemetry, until
from stranger import SILENT, small

if TYPE_CHECKING:
    from pathlib import Path


HOUR = 3600


async def attempt(site: Site) -> tuple[int, asyncio.StreamWriter]:
    """Connect with a token in the handshake; return the status, and the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    writer.write(request("/ws/telemetry", f"Authorization: Bearer {site.token('crowd')}"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ") or b"Retry-After: " in head
    return int(head.split(b" ")[1]), writer


@pytest.mark.parametrize("limit", ["connections", "connections_per_user", "connection_rate"])
async def test_row_49_a_storm_of_clients_that_come_back(limit: str) -> None:
    """Row 49: as many as may come in do, the others are told when to try again, and who is in notices nothing."""
    limits: dict[str, Any] = {"connections_per_user": 0, limit: "100/h" if limit == "connection_rate" else 100}
    before = 1 if limit != "connections_per_user" else 0  # the one that is in counts for two of the limits
    async with running(limits=limits) as site, site.client(user="bob") as inside:
        await inside.subscribe("telemetry")
        for storm in range(2):
            tries = await asyncio.gather(*(attempt(site) for _ in range(300)))
            came = 0 if limit == "connection_rate" and storm else 100 - before
            refused = 503 if limit == "connections" else 429
            assert Counter(status for status, _ in tries) == +Counter({101: came, refused: 300 - came})
            assert site.server.stats()["active_connections"] == came + 1
            assert site.server.publish(telemetry(storm)) == came + 1
            assert (await inside.receive())["device_id"] == storm
            for _, writer in tries:
                writer.close()
            await until(lambda: site.server.stats()["active_connections"] == 1)
        assert site.server.stats()["index"]["entries"] == 1  # type: ignore[index]


async def test_row_51_the_wall_clock_is_set(tmp_path: Path) -> None:
    """Row 51: tokens are judged by it; connections, timers and the order of data are not."""
    with Target(tmp_path, mqtt_url="", connections=50) as target:
        url = f"ws://127.0.0.1:{target.port}/ws"
        sources = itertools.count(2)

        async def enters(lifetime: float) -> bool:
            source = (f"127.0.0.{next(sources)}", 0)  # an address may come ten times a minute
            async with connect(url, proxy=None, open_timeout=TIMEOUT, local_addr=source) as connection:
                answer = await Client(connection).ask(type="auth", token=abuse_token("eve", lifetime=lifetime))
                return bool(answer["success"])

        async with connect(url, proxy=None, open_timeout=TIMEOUT, ping_interval=None) as connection:
            client = Client(connection)
            await client.authenticate(abuse_token("bob", publish=True))
            await client.subscribe("telemetry", frequency="100ms")
            value = 0
            for ahead in (HOUR, -HOUR, 0, 24 * HOUR, -24 * HOUR, 0):
                target.set_clock(ahead)
                for _ in range(2):  # the second one waits for a timer
                    value += 1
                    await client.send(type="publish", message=telemetry(1, t=value))
                    while (await client.receive())["telemetry"]["t"]["value"] != value:
                        pass
                assert await enters(HOUR / 6) == (ahead <= 0)
                assert await enters(48 * HOUR)
                await client.nothing_more()
            assert target.get("/api/v1/stats")["close_codes"].keys() <= {"1000"}


async def test_row_52_more_memory_than_the_process_may_have() -> None:
    """Row 52: nobody comes in, the client that most waits for goes, the others stay; and then all is as before."""
    limits = {"queue_mark": 0, "connections": 10}
    async with running(limits=limits, server={**SILENT, "close_timeout": 0.2}) as site:
        peers = [await small(site, 4096) for _ in range(2)]
        for peer, severity in zip(peers, ("info", ["info", "critical"]), strict=True):
            await peer.ask(type="auth", token=site.token())
            await peer.ask(type="subscribe", id=1, channel="alerts", severity=severity)
        less, more = sorted(site.server._clients.sessions(), key=lambda session: session.number)
        while less.queued_bytes < 1 << 18:
            for severity in ("info", "critical"):
                site.server.publish(alert(severity, message="x" * 30_000))
            await asyncio.sleep(0)
        site.server._upkeep.reload(1 << 20)
        await until(lambda: site.server.stats()["short_of_memory"])
        status, writer = await attempt(site)
        writer.close()
        assert status == 503
        await until(lambda: more.close_code == 4102)
        site.server._upkeep.reload(0)
        await until(lambda: not site.server.stats()["short_of_memory"])
        status, writer = await attempt(site)
        assert status == 101
        for end in (writer, *peers):
            end.close()


async def test_row_52_as_much_memory_as_the_limits_permit() -> None:
    """Row 52: a full server takes nobody in, and the largest backlog goes before all together are over the bound."""
    limits = {"all_queues": 1 << 20, "queue_mark": 0, "connections": 2}
    async with running(limits=limits, server={**SILENT, "close_timeout": 0.2}) as site:
        peers = [await small(site, 4096) for _ in range(2)]
        for peer, severity in zip(peers, ("info", ["info", "critical"]), strict=True):
            await peer.ask(type="auth", token=site.token())
            await peer.ask(type="subscribe", id=1, channel="alerts", severity=severity)
        less, more = sorted(site.server._clients.sessions(), key=lambda session: session.number)
        status, writer = await attempt(site)
        writer.close()
        assert status == 503
        turn = 0
        while not more.close_code:
            site.server.publish(alert("info" if turn % 4 == 0 else "critical", message="x" * 30_000))
            await asyncio.sleep(0)
            turn += 1
            assert less.queued_bytes + more.queued_bytes <= 2 << 20
        await until(lambda: site.server._clients.sessions() == [less])
        assert site.server.stats()["close_codes"] == {"4102": 1}
        status, writer = await attempt(site)
        assert status == 101
        for end in (writer, *peers):
            end.close()
