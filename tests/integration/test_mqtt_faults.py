"""What does not fit, and a broker that dies: the WebSocket clients live on (docs/mqtt.md; edge case 50)."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path

from documented import TELEMETRY
from harness import TIMEOUT, Message, Site, http
from mqtt_harness import send
from mqtt_site import figures, received, serving

PAGE = Path(__file__).parents[2] / "docs" / "mqtt.md"

BAD: list[tuple[str, object, str]] = [
    ("valtronics/devices/telemetry", 1, "unmapped_topic"),
    (f"valtronics/{'x' * 65}/heartbeat", b"", "bad_device"),
    ("valtronics//status", {"status": "offline"}, "bad_device"),
    ("valtronics/1/telemetry", b'{"name": "temperature", "value": 1', "bad_json"),
    ("valtronics/1/telemetry", b"\xff\x00\xfe", "bad_json"),
    ("valtronics/devices/1/telemetry/t", b"NaN", "bad_json"),
    ("valtronics/devices/1/telemetry/t", b"1e309", "bad_json"),
    ("valtronics/1/telemetry", [1], "bad_payload"),
    ("valtronics/1/telemetry", {"metrics": [{"name": "a", "value": 1}, {"name": "b"}]}, "bad_metric"),
    ("valtronics/1/status", {"status": 7}, "bad_status"),
    ("valtronics/1/alert", {"type": "overheat"}, "bad_severity"),
    ("valtronics/1/telemetry", {"name": "a", "value": 1, "timestamp": "yesterday"}, "bad_timestamp"),
    (f"valtronics/devices/1/telemetry/{'m' * 129}", 1, "not_publishable"),
    ("valtronics/devices/1/telemetry/t", "x" * 100_000, "not_publishable"),
]


async def statistics(site: Site) -> tuple[Message, Message]:
    """Return the server's figures that do not move by themselves, and apart from them those of MQTT."""
    code, stats = await site.figures()
    assert code == 200
    moving = {"uptime", "average_connection_duration", "event_loop", "loop_lag", "memory", "cpu_seconds", "tokens"}
    for each in moving:
        del stats[each]
    return stats, stats.pop("producers")["mqtt"]


async def readiness(site: Site) -> Message:
    """Return what the server says of itself; clients are to come here, whatever the broker does."""
    code, ready, _ = await http("GET", site.http_url("/health/ready"))
    assert code == 200
    return ready


async def ready_as(site: Site, word: str) -> Message:
    """Wait until the server says this word of itself."""
    async with asyncio.timeout(TIMEOUT):
        while (ready := await readiness(site))["status"] != word:
            await asyncio.sleep(0.05)
    return ready


async def test_row_50_what_does_not_fit_is_counted_and_changes_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, site), site.client() as client:
        for channel in ("telemetry", "alerts", "devices"):
            await client.subscribe(channel)
        before, mqtt = await statistics(site)
        nothing = dict.fromkeys(mqtt, 0) | {"ready": True, "connected": True}
        assert mqtt == nothing
        for topic, payload, _ in BAD:
            await send(broker, topic, payload)
        await received(site, len(BAD))
        after, mqtt = await statistics(site)
        assert after == before
        rejected = Counter(f"rejected_{reason}" for _, _, reason in BAD)
        assert mqtt == nothing | {"messages": len(BAD)} | rejected
        assert (await readiness(site))["status"] == "ready"
        # Nothing of it has reached the client, and nothing of it became the device's last status.
        await send(broker, "valtronics/1/status", {"status": "offline"})
        status = await client.receive()
        assert (status["old_status"], status["new_status"]) == ("unknown", "offline")
        await client.nothing_more()


def test_each_documented_reason_is_tried() -> None:
    reasons = set(re.findall(r"^\| `rejected_(\w+)` \|", PAGE.read_text(), re.MULTILINE))
    assert {reason for _, _, reason in BAD} == reasons - {"internal"}  # that one is a fault of the server


async def test_row_50_a_connection_outlives_the_broker_and_goes_on_receiving(tmp_path: Path) -> None:
    """The client subscribes once, and from then on only listens."""
    async with serving(tmp_path) as (broker, site), site.client() as client:
        await client.subscribe("telemetry", metrics="temperature")
        await client.subscribe("devices")
        for number in range(2):
            await send(broker, "valtronics/devices/1/telemetry/temperature", number)
            assert (await client.receive())["telemetry"]["temperature"]["value"] == number
            await send(broker, "valtronics/1/status", {"status": f"state-{number}"})
            status = await client.receive()
            before = f"state-{number - 1}" if number else "unknown"  # remembered over the loss of the broker
            assert (status["old_status"], status["new_status"]) == (before, f"state-{number}")

            broker.kill()
            degraded = await ready_as(site, "degraded")
            assert degraded["checks"] == {"mqtt": "degraded", "backplane": "ok"}
            assert figures(site).get("connected") is None
            assert site.server.publish(TELEMETRY) == 1  # the other producers are served
            assert (await client.receive())["telemetry"]["temperature"] == TELEMETRY["telemetry"]["temperature"]

            await asyncio.to_thread(broker.start)
            ready = await ready_as(site, "ready")
            assert ready["checks"] == {"mqtt": "ok", "backplane": "ok"}
            assert figures(site)["reconnects"] == number + 1
        await send(broker, "valtronics/devices/1/telemetry/temperature", 23.5)
        assert (await client.receive())["telemetry"]["temperature"]["value"] == 23.5
        await client.nothing_more()
        stats, _ = await statistics(site)
        assert (stats["total_connections"], stats["active_connections"], stats["close_codes"]) == (1, 1, {})


async def test_row_50_a_client_that_comes_while_the_broker_is_away_is_served(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, site):
        broker.kill()
        await ready_as(site, "degraded")
        async with site.client("/ws/telemetry") as client:
            await client.nothing_more()
            await asyncio.to_thread(broker.start)
            await ready_as(site, "ready")
            await send(broker, "valtronics/devices/1/telemetry/temperature", 23.5)
            assert (await client.receive())["device_id"] == 1
