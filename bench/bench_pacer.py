"""Frequencies: publishing to subscribers that wait, serving those whose time has come, and what others notice of it.

The connections are shut (socketless.py): they are counted and served, and nothing is queued.
"""

from __future__ import annotations

import itertools
import time

import pytest

from socketless import METRICS, Population, telemetry

CONNECTIONS = 1000
MESSAGE = telemetry(1, METRICS[:1])
IDLE = 10  # devices at a frequency, of each connection


def subscribe(population: Population, number: int, frequency: str, *devices: int) -> None:
    command = {"type": "subscribe", "channel": "telemetry", "device_id": list(devices), "frequency": frequency}
    population.command(number, command)


@pytest.mark.benchmark(group="pacer: publish to 1000 connections")
@pytest.mark.parametrize("frequency", ["real-time", "1h"])
def test_publish_to_those_that_wait(steady, frequency):
    """At a frequency nothing is due: the cohort is counted, whatever its size."""
    with Population() as population:
        for number in range(CONNECTIONS):
            population.connect()
            subscribe(population, number, frequency, 1)
        population.shut()
        assert steady(population.hub.publish, MESSAGE, iterations=100, items=CONNECTIONS) == CONNECTIONS
        assert population.hub.pacer.stats()["subscribers"] == (0 if frequency == "real-time" else CONNECTIONS)


@pytest.mark.benchmark(group="pacer: publish in real time to 1000 connections")
@pytest.mark.parametrize("others", ["none", "idle", "waiting"])
def test_what_real_time_notices(steady, others):
    """Beside 10,000 subscriptions at a frequency: to devices from which nothing comes, or whose time runs."""
    with Population() as population:
        for number in range(CONNECTIONS):
            population.connect()
            subscribe(population, number, "real-time", 1)
            if others != "none":
                subscribe(population, number, "1h", *range(2 + number * IDLE, 2 + (number + 1) * IDLE))
        population.shut()
        if others == "waiting":
            for device in range(2, 2 + CONNECTIONS * IDLE):
                population.hub.publish(telemetry(device, METRICS[:1]))
        assert population.hub.pacer.stats()["timers"] == (CONNECTIONS * IDLE if others == "waiting" else 0)
        assert steady(population.hub.publish, MESSAGE, iterations=100, items=CONNECTIONS) == CONNECTIONS


@pytest.mark.benchmark(group="pacer: a tick with 1000 due cohorts")
@pytest.mark.parametrize("each", [1, 10])
def test_tick(steady, each):
    """1,000 devices, to each of which `each` of the connections are subscribed."""
    with Population() as population:
        hub = population.hub
        for number in range(CONNECTIONS):
            population.connect()
            subscribe(population, number, "1s", *[(number + i) % CONNECTIONS for i in range(each)])
        population.shut()
        messages = [telemetry(device, METRICS[:1]) for device in range(CONNECTIONS)]
        times = itertools.count(int(time.monotonic()) + 10, 4)  # far enough apart for the cohorts to be gone
        now = 0.0

        def publish() -> None:
            nonlocal now
            now = next(times)
            for moment in (now, now + 0.5):
                hub.advance(moment)
                for message in messages:
                    hub.publish(message, moment)

        steady(lambda: hub.advance(now + 1.1), prepare=publish, items=CONNECTIONS)
        assert hub.pacer.stats()["cohorts"] == CONNECTIONS
        hub.advance(now + 3)  # nothing came after the tick: nobody is owed anything
        assert hub.pacer.stats()["cohorts"] == 0
