"""The four data messages of the API, with all of their documented fields and no others (protocol.md, section 3)."""

from __future__ import annotations

from typing import Any

TIME = "2024-01-01T12:00:00Z"

TELEMETRY: dict[str, Any] = {
    "type": "telemetry_update",
    "channel": "telemetry",
    "device_id": 1,
    "telemetry": {
        "temperature": {"value": 21.25, "unit": "°C", "timestamp": TIME},
        "humidity": {"value": 48.5, "unit": "%", "timestamp": TIME},
    },
}
ALERT: dict[str, Any] = {
    "type": "alert",
    "channel": "alerts",
    "alert_id": 4711,
    "device_id": 1,
    "severity": "critical",
    "title": "Overheated",
    "message": "The bearing is hotter than it may be",
    "timestamp": TIME,
    "metadata": {"limit": 80.0, "measured": 91.5},
}
STATUS: dict[str, Any] = {
    "type": "device_status_update",
    "channel": "devices",
    "device_id": 1,
    "old_status": "online",
    "new_status": "offline",
    "timestamp": TIME,
    "reason": "No heartbeat",
    "metadata": {"last_seen": "2024-01-01T11:58:00Z"},
}
SYSTEM: dict[str, Any] = {
    "type": "system_status_update",
    "channel": "system",
    "metrics": {"cpu_usage": 12.5, "memory_usage": 34.0, "disk_usage": 56.5, "active_connections": 7},
    "timestamp": TIME,
}

MESSAGES = (TELEMETRY, ALERT, STATUS, SYSTEM)

BARE: tuple[dict[str, Any], ...] = (
    {"type": "telemetry_update", "device_id": 1, "telemetry": {"temperature": 21.25}},
    {"type": "alert", "device_id": 1, "severity": "critical"},
    {"type": "device_status_update", "device_id": 1, "new_status": "offline"},
    {"type": "system_status_update", "metrics": {"cpu_usage": 12.5}},
)
"""The same as short as a producer may write them, in the same order."""

METRIC_FIELDS = {"value", "unit", "timestamp"}


def assert_documented_fields(received: dict[str, Any]) -> None:
    """Assert that a data message has the documented fields, all of them and no others."""
    documented = next(message for message in MESSAGES if message["type"] == received["type"])
    assert received.keys() == documented.keys()
    assert received["channel"] == documented["channel"]
    for metric in received.get("telemetry", {}).values():
        assert metric.keys() == METRIC_FIELDS
