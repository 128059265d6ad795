"""From mosquitto_pub over a real broker and a server to a WebSocket subscriber (docs/mqtt.md)."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from mqtt_harness import send
from mqtt_site import figures, received, serving

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Message

NOON = "2024-01-01T12:00:00Z"
HALF_PAST = "2024-01-01T12:30:00.500Z"


class MadeUp:
    """Equals what the server makes up where a producer left it out."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __eq__(self, other: object) -> bool:
        return re.fullmatch(self.pattern, str(other)) is not None

    def __repr__(self) -> str:
        return f"<made up: {self.pattern}>"


NOW = MadeUp(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ID = MadeUp(r"\d{16}")


def telemetry(device: object, **metrics: Message) -> Message:
    return {"type": "telemetry_update", "channel": "telemetry", "device_id": device, "telemetry": metrics}


def metric(value: object, unit: str | None = None, timestamp: object = NOW, **more: object) -> Message:
    return {"value": value, "unit": unit, "timestamp": timestamp, **more}


def status(device: object, new: str, **more: object) -> Message:
    return {
        "type": "device_status_update",
        "channel": "devices",
        "device_id": device,
        "old_status": "unknown",
        "new_status": new,
        "timestamp": NOW,
        "reason": None,
        "metadata": {},
    } | more


def alert(device: object, severity: str, title: str, **more: object) -> Message:
    return {
        "type": "alert",
        "channel": "alerts",
        "alert_id": ID,
        "device_id": device,
        "severity": severity,
        "title": title,
        "message": title,
        "timestamp": NOW,
        "metadata": {},
    } | more


METRICS = {
    "metrics": [
        {"name": "temperature", "value": 23.5, "unit": "°C", "metadata": {"sensor": "b"}},
        {"name": "open", "value": True, "timestamp": 1704112200.5},
        {"name": "temperature", "value": 23.75},
    ],
    "timestamp": NOON,
}
SHAPES: dict[str, tuple[str, object, list[Message]]] = {
    "one metric": (
        "valtronics/1/telemetry",
        {"name": "temperature", "value": 23.5, "unit": "°C"},
        [telemetry(1, temperature=metric(23.5, "°C"))],
    ),
    "a list of metrics": (
        "valtronics/pump-3/telemetry",
        METRICS,
        [
            telemetry(
                "pump-3",
                temperature=metric(23.5, "°C", NOON, metadata={"sensor": "b"}),
                open=metric(True, None, HALF_PAST),
            ),
            telemetry("pump-3", temperature=metric(23.75, None, NOON)),
        ],
    ),
    "a metric of the topic": (
        "valtronics/devices/007/telemetry/rpm",
        {"value": 1450, "unit": "1/min", "timestamp": 1704110400000},
        [telemetry("007", rpm=metric(1450, "1/min", "2024-01-01T12:00:00.000Z"))],
    ),
    "a bare value": ("valtronics/devices/7/telemetry/mode", "auto", [telemetry(7, mode=metric("auto"))]),
    "a status": (
        "valtronics/1/status",
        {"status": "warning", "reason": "Filter is full", "timestamp": NOON, "metadata": {"a": 1}, "b": 2},
        [status(1, "warning", reason="Filter is full", timestamp=NOON, metadata={"a": 1, "b": 2})],
    ),
    "a status of the topic": ("valtronics/devices/1/status/offline", b"", [status(1, "offline")]),
    "a status of the topic, with details": (
        "valtronics/devices/1/status/offline",
        {"reason": "Unplugged"},
        [status(1, "offline", reason="Unplugged")],
    ),
    "a heartbeat": ("valtronics/1/heartbeat", b"\xff beat", [status(1, "online", reason="Heartbeat")]),
    "an alert": (
        "valtronics/1/alert",
        {"type": "overheat", "severity": "critical", "message": "It melts", "metadata": {"limit": 80}, "room": "b"},
        [
            alert(1, "critical", "Overheat Alert", message="It melts", metadata={"limit": 80})
            | {"alert_type": "overheat", "room": "b"}
        ],
    ),
    "an alert with an id": (
        "valtronics/1/alert",
        {"id": "A-17", "severity": "info", "title": "Serviced", "timestamp": NOON, "device_id": 2},
        [alert(1, "info", "Serviced", alert_id="A-17", timestamp=NOON)],
    ),
    "an alert of the platform": (
        "valtronics/system/alerts/info",
        {"type": "backup", "severity": "critical"},
        [alert(None, "info", "Backup Alert", alert_type="backup")],
    ),
    "an alert of the platform, without details": (
        "valtronics/system/alerts/info",
        b"",
        [alert(None, "info", "Info Alert")],
    ),
}


@pytest.mark.parametrize(("topic", "payload", "messages"), SHAPES.values(), ids=SHAPES.keys())
async def test_each_shape_of_topic_and_payload(
    tmp_path: Path, topic: str, payload: object, messages: list[Message]
) -> None:
    async with serving(tmp_path) as (broker, site), site.client() as client:
        for channel in ("telemetry", "alerts", "devices", "system"):
            await client.subscribe(channel)
        await send(broker, topic, payload)
        assert [await client.receive() for _ in messages] == messages
        await client.nothing_more()
        assert figures(site) == {"ready": True, "connected": True, "messages": 1, "published": len(messages)}


PUBLISHED: list[tuple[str, object]] = [
    ("valtronics/1/telemetry", {"metrics": [{"name": "temperature", "value": 20}, {"name": "humidity", "value": 40}]}),
    ("valtronics/devices/pump-3/telemetry/rpm", 1450),
    ("valtronics/devices/1/telemetry/rpm", 900),
    ("valtronics/1/alert", {"type": "overheat", "severity": "critical"}),
    ("valtronics/2/alert", {"type": "vibration", "severity": "warning"}),
    ("valtronics/system/alerts/critical", {"type": "overheat"}),
    ("valtronics/1/status", {"status": "warning"}),
    ("valtronics/devices/2/status/offline", b""),
    ("valtronics/3/heartbeat", b""),
]
FILTERS: list[tuple[str, dict[str, object], list[list[object]]]] = [
    ("telemetry", {}, [[1, "temperature", "humidity"], ["pump-3", "rpm"], [1, "rpm"]]),
    ("telemetry", {"device_id": "1"}, [[1, "temperature", "humidity"], [1, "rpm"]]),
    ("telemetry", {"device_id": ["pump-3", 4]}, [["pump-3", "rpm"]]),
    ("telemetry", {"metrics": ["rpm", "humidity"]}, [[1, "humidity"], ["pump-3", "rpm"], [1, "rpm"]]),
    ("telemetry", {"metrics": "temperature", "device_id": 1}, [[1, "temperature"]]),
    ("alerts", {}, [[1, "critical"], [2, "warning"], [None, "critical"]]),
    ("alerts", {"severity": "critical"}, [[1, "critical"], [None, "critical"]]),
    ("alerts", {"severity": ["warning", "info"]}, [[2, "warning"]]),
    ("alerts", {"alert_type": "overheat"}, [[1, "critical"], [None, "critical"]]),
    ("alerts", {"alert_type": "overheat", "device_id": [1, 2]}, [[1, "critical"]]),
    ("devices", {}, [[1, "warning"], [2, "offline"], [3, "online"]]),
    ("devices", {"status_types": ["offline", "online"]}, [[2, "offline"], [3, "online"]]),
    ("devices", {"status_types": "warning", "device_id": [1, 3]}, [[1, "warning"]]),
]


def gist(message: Message) -> list[object]:
    """Return a message's device, and of the rest what its channel's filters look at."""
    names = message.get("telemetry", {})
    return [message["device_id"], *names, *(message[key] for key in ("severity", "new_status") if key in message)]


async def test_filters_apply(tmp_path: Path) -> None:
    """One connection for each filter; all of them hear of the same messages."""
    async with serving(tmp_path) as (broker, site), AsyncExitStack() as stack:
        clients = []
        for channel, filters, _ in FILTERS:
            client = await stack.enter_async_context(site.client())
            await client.subscribe(channel, **filters)
            clients.append(client)
        for topic, payload in PUBLISHED:
            await send(broker, topic, payload)
        await received(site, len(PUBLISHED))
        for client, (channel, filters, expected) in zip(clients, FILTERS, strict=True):
            assert [gist(await client.receive()) for _ in expected] == expected, (channel, filters)
            await client.nothing_more()


async def test_a_status_knows_the_one_before(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, site), site.client() as client:
        await client.subscribe("devices", device_id=1)
        await send(broker, "valtronics/1/heartbeat")
        await send(broker, "valtronics/1/heartbeat")  # nothing new
        await send(broker, "valtronics/1/status", {"status": "warning"})
        await send(broker, "valtronics/2/status", {"status": "maintenance"})  # another device's
        await send(broker, "valtronics/1/heartbeat")  # a heartbeat clears no warning
        await send(broker, "valtronics/devices/1/status/offline")
        await send(broker, "valtronics/1/heartbeat")
        changes = [("unknown", "online"), ("online", "warning"), ("warning", "offline"), ("offline", "online")]
        told = [await client.receive() for _ in changes]
        assert [(each["old_status"], each["new_status"]) for each in told] == changes
        await client.nothing_more()
        assert figures(site) == {"ready": True, "connected": True, "messages": 7, "published": 5, "skipped": 2}


async def test_alerts_without_an_id_get_one_each(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, site), site.client() as client:
        await client.subscribe("alerts")
        for topic in ("valtronics/1/alert", "valtronics/1/alert", "valtronics/system/alerts/info"):
            await send(broker, topic, {"severity": "info"})
        ids = [(await client.receive())["alert_id"] for _ in range(3)]
        assert all(type(each) is int for each in ids)
        assert len(set(ids)) == 3
