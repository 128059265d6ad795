"""What a broker has retained, as the snapshot of a client that comes later (docs/mqtt.md; protocol.md, section 3)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from harness import running
from mqtt_harness import send
from mqtt_site import figures, received, subscribed
from services import Mosquitto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harness import Client, Message, Site

NOON = "2024-01-01T12:00:00Z"
ONE = "2024-01-01T13:00:00Z"
# Each metric of pump-3 has a topic of its own, which the broker retains by itself; device 1 has one for all.
RETAINED: list[tuple[str, object]] = [
    ("valtronics/devices/pump-3/telemetry/rpm", {"value": 1450, "unit": "1/min", "timestamp": NOON}),
    ("valtronics/devices/pump-3/telemetry/temperature", {"value": 61.5, "unit": "°C", "timestamp": ONE}),
    ("valtronics/1/telemetry", {"metrics": [{"name": "temperature", "value": 23.5}, {"name": "rpm", "value": 40}]}),
    ("valtronics/1/status", {"status": "warning", "reason": "Filter is full", "timestamp": NOON}),
    ("valtronics/devices/2/status/offline", {"timestamp": ONE}),
    ("valtronics/1/alert", {"type": "overheat", "severity": "critical"}),
]


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[tuple[Mosquitto, Site]]:
    """Run a broker that has all that retained, and a server that comes to it later and has received it."""
    with Mosquitto(directory) as broker:
        for topic, payload in RETAINED:
            await send(broker, topic, payload, retain=True)
        async with running(mqtt={"url": broker.url}) as site:
            await subscribed(site)
            await received(site, len(RETAINED))
            yield broker, site


async def snapshot(client: Client, channel: str, expected: int, **filters: object) -> list[Message]:
    """Subscribe with a snapshot; return what comes, which is so many messages, in the order of devices."""
    answer = await client.ask(type="subscribe", id="s", channel=channel, snapshot=True, filters=filters)
    assert (answer["type"], answer["success"]) == ("subscribe_response", True), answer
    found = [await client.receive() for _ in range(expected)]
    await client.nothing_more()
    return sorted(found, key=lambda message: str(message["device_id"]))


def values(message: Message) -> Message:
    """Return a message's values by metric."""
    return {name: metric["value"] for name, metric in message["telemetry"].items()}


async def test_a_client_that_comes_later_gets_what_was_retained(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, site), site.client() as client:
        first, pump = await snapshot(client, "telemetry", 2)
        assert (first["device_id"], values(first)) == (1, {"temperature": 23.5, "rpm": 40})
        assert pump == {
            "type": "telemetry_update",
            "channel": "telemetry",
            "device_id": "pump-3",
            "telemetry": {
                "rpm": {"value": 1450, "unit": "1/min", "timestamp": NOON},
                "temperature": {"value": 61.5, "unit": "°C", "timestamp": ONE},
            },
        }
        changes = await snapshot(client, "devices", 2)
        assert [(each["device_id"], each["new_status"], each["timestamp"]) for each in changes] == [
            (1, "warning", NOON),
            (2, "offline", ONE),
        ]
        # Live from here on.
        await send(broker, "valtronics/devices/pump-3/telemetry/rpm", 900)
        live = await client.receive()
        assert (live["device_id"], values(live)) == ("pump-3", {"rpm": 900})
        await client.nothing_more()


async def test_the_snapshot_has_what_is_newest(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, site), site.client() as client:
        await send(broker, "valtronics/devices/pump-3/telemetry/rpm", 900)
        await send(broker, "valtronics/1/status", {"status": "maintenance"})
        await received(site, len(RETAINED) + 2)
        (pump,) = await snapshot(client, "telemetry", 1, device_id="pump-3")
        assert values(pump) == {"rpm": 900, "temperature": 61.5}
        (change,) = await snapshot(client, "devices", 1, device_id=1)
        assert (change["old_status"], change["new_status"]) == ("warning", "maintenance")


async def test_filters_and_scope_hold_for_what_was_retained(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, site):
        async with site.client() as client:
            first, pump = await snapshot(client, "telemetry", 2, metrics="temperature")
            assert (values(first), values(pump)) == ({"temperature": 23.5}, {"temperature": 61.5})
            assert await snapshot(client, "telemetry", 0, device_id=7) == []
            (change,) = await snapshot(client, "devices", 1, status_types="offline")
            assert change["device_id"] == 2
        async with site.client(devices=["pump-3", 2]) as client:
            (pump,) = await snapshot(client, "telemetry", 1)
            assert pump["device_id"] == "pump-3"
            (change,) = await snapshot(client, "devices", 1)
            assert change["device_id"] == 2


async def test_a_retained_alert_has_happened_and_is_in_no_snapshot(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, site), site.client() as client:
        assert figures(site)["skipped"] == 1
        assert await snapshot(client, "alerts", 0) == []
        await send(broker, *RETAINED[-1])  # another one
        assert (await client.receive())["type"] == "alert"
        async with site.client() as late:
            assert await snapshot(late, "alerts", 0) == []


async def test_without_being_asked_for_nothing_comes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, site), site.client() as client:
        for channel in ("telemetry", "devices", "alerts"):
            await client.subscribe(channel)
        await client.nothing_more()


async def test_what_was_retained_outlives_the_broker(tmp_path: Path) -> None:
    """A broker that has forgotten everything takes nothing away; what it says from then on is newer."""
    async with serving(tmp_path) as (broker, site), site.client() as client:
        await snapshot(client, "telemetry", 1, device_id=1)
        broker.stop()
        broker.start()
        await send(broker, "valtronics/devices/1/telemetry/rpm", 41, retain=True)
        live = await client.receive()
        assert (live["device_id"], values(live)) == (1, {"rpm": 41})
        async with site.client() as late:
            (first,) = await snapshot(late, "telemetry", 1, device_id=1)
            assert values(first) == {"temperature": 23.5, "rpm": 41}
