"""From data messages and answers to frames; checking and completing the message is part of it."""

from __future__ import annotations

import pytest

from socketless import METRICS, telemetry
from valtronics_fast._core.encode import closing_frame, encode, text_frame

AT = "2024-01-01T12:00:00Z"
BARE = {"type": "telemetry_update", "device_id": 1, "telemetry": dict.fromkeys(METRICS, 23.5)}
WIDE = telemetry(1, [f"metric_{i}" for i in range(256)])
ALERT = {
    "type": "alert", "alert_id": 123, "device_id": 1, "severity": "critical", "title": "High Temperature Alert",
    "message": "Temperature exceeds safe threshold", "timestamp": AT, "metadata": {"threshold_value": 30.0},
}  # fmt: skip
STATUS = {
    "type": "device_status_update", "device_id": 1, "old_status": "online", "new_status": "offline", "timestamp": AT,
    "reason": "Connection lost", "metadata": {},
}  # fmt: skip
SYSTEM = {"type": "system_status_update", "metrics": {"cpu_usage": 45.2, "memory_usage": 67.8}, "timestamp": AT}
ANSWER = {"type": "subscribe_response", "id": 1, "success": True, "channel": "telemetry", "filters": {"device_id": [1]}}


@pytest.mark.benchmark(group="encode: publications")
@pytest.mark.parametrize("count", [1, 2, 8])
def test_encode_metrics(steady, count):
    assert METRICS[count - 1].encode() in steady(encode, telemetry(1, METRICS[:count]))


@pytest.mark.benchmark(group="encode: publications")
def test_encode_2_of_8_metrics(steady):
    assert b"current" not in steady(encode, telemetry(1), set(METRICS[:2]))


@pytest.mark.benchmark(group="encode: publications")
def test_encode_8_bare_values(steady):
    assert b"current" in steady(encode, BARE)


@pytest.mark.benchmark(group="encode: publications")
def test_encode_256_metrics(steady):
    assert b"metric_255" in steady(encode, WIDE, iterations=20)


@pytest.mark.benchmark(group="encode: publications")
@pytest.mark.parametrize("message", [ALERT, STATUS, SYSTEM], ids=["alert", "status", "system"])
def test_encode_event(steady, message):
    assert b'"timestamp"' in steady(encode, message)


@pytest.mark.benchmark(group="encode: answers")
def test_encode_answer(steady):
    assert b"subscribe_response" in steady(text_frame, ANSWER)


@pytest.mark.benchmark(group="encode: answers")
def test_encode_close(steady):
    assert steady(closing_frame, 1001, "going away") == b"\x88\x0c\x03\xe9going away"
