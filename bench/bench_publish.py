from __future__ import annotations

import time

import pytest

from valtronics_fast._core.encode import encode
from valtronics_fast._core.hub import Hub

NAMES = ["temperature", "humidity", "pressure", "vibration", "battery", "air_quality", "voltage", "current"]
MESSAGE = {
    "type": "telemetry_update",
    "device_id": 1,
    "telemetry": {
        name: {"value": 20.5 + i, "unit": "x", "timestamp": "2026-01-01T12:00:00Z"} for i, name in enumerate(NAMES)
    },
}


@pytest.mark.benchmark(group="publish")
def test_publish_8_metrics_to_nobody(benchmark):
    hub = Hub(lambda flush: None, time.monotonic())
    assert benchmark(hub.publish, MESSAGE) == 0


@pytest.mark.benchmark(group="encode")
def test_encode_8_metrics(benchmark):
    assert b"current" in benchmark(encode, MESSAGE)


@pytest.mark.benchmark(group="encode")
def test_encode_2_of_8_metrics(benchmark):
    assert b"current" not in benchmark(encode, MESSAGE, {"temperature", "humidity"})
