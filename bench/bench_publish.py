"""Publishing, up to the queues: to nobody, to everybody, and by projection. bench_outbox.py has the writing."""

from __future__ import annotations

import pytest

from socketless import METRICS, Population, telemetry

BARE = {"type": "telemetry_update", "device_id": 1, "telemetry": dict.fromkeys(METRICS, 23.5)}
ALERT = {"type": "alert", "device_id": 1, "severity": "critical", "title": "Too hot"}
CONNECTIONS = 1000
# What each connection subscribes to, by its number.
SUBSCRIPTIONS = {
    "everything": lambda number: {},
    "device": lambda number: {"device_id": 1},
    "device_and_all": lambda number: {"device_id": 1} if number % 2 else {},
    "8_projections": lambda number: {"metrics": METRICS[: number % 8 + 1]},
    "other_devices": lambda number: {"device_id": number + 2},
}


@pytest.mark.benchmark(group="publish: to nobody")
@pytest.mark.parametrize(
    "message",
    [telemetry(1, METRICS[:1]), telemetry(1), BARE, ALERT],
    ids=["1_metric", "8_metrics", "8_bare_values", "alert"],
)
def test_publish_to_nobody(steady, message):
    with Population() as population:
        assert steady(population.hub.publish, message) == 0


@pytest.mark.benchmark(group="publish: among 1000 connections")
@pytest.mark.parametrize("kind", SUBSCRIPTIONS)
def test_publish_among_1000(steady, kind):
    """Matched and counted; the connections are shut, so that nothing is queued."""
    with Population() as population:
        for number in range(CONNECTIONS):
            population.connect()
            population.command(
                number, {"type": "subscribe", "channel": "telemetry", **SUBSCRIPTIONS[kind](number)}
            )
        population.shut()
        expected = 0 if kind == "other_devices" else CONNECTIONS
        assert steady(population.hub.publish, telemetry(1), iterations=100, items=CONNECTIONS) == expected
