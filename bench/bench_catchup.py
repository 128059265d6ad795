"""Readers that are behind, and snapshots: what they cost a publication, and what it takes to serve them.

Serving includes the kernel, both ends: the other one is read in between, as much as comes at a time.
"""

from __future__ import annotations

import pytest

from socketless import METRICS, Population, telemetry

READERS = 1000
MESSAGE = telemetry(0, METRICS[:1])
EVERYTHING = {"type": "subscribe", "channel": "telemetry"}
SNAPSHOT = EVERYTHING | {"snapshot": True}


@pytest.mark.benchmark(group="catch-up: publish beside 1000 readers that are behind")
@pytest.mark.parametrize("behind", ["none", "other_devices", "same_device"])
def test_publish(steady, behind):
    """There are no readers, or 1,000 that are behind: with what others publish, or what is published here too."""
    with Population() as population:
        if behind != "none":
            for number in range(READERS):
                population.connect()
                population.command(number, EVERYTHING | {"device_id": [0, 1] if behind == "same_device" else 1})
            population.stop_reading(telemetry(1, METRICS[:1], pad="x" * 2000))
        expected = READERS if behind == "same_device" else 0
        assert steady(population.hub.publish, MESSAGE, iterations=100) == expected
        assert population.hub.behind == (0 if behind == "none" else READERS)
        assert population.hub.stats()["telemetry"]["conflated"] >= expected * 4000


@pytest.mark.benchmark(group="catch-up: one reader")
@pytest.mark.parametrize("devices", [1000, 10_000])
def test_catch_up(steady, devices):
    """From the moment that it reads on: what had been queued, and the newest values of all devices."""
    with Population() as population:
        population.connect_tcp(1)
        population.command(0, EVERYTHING)
        messages = [telemetry(device, METRICS[:2]) for device in range(devices)]

        def fall_behind() -> None:
            population.stop_reading(MESSAGE)
            for message in messages:
                population.hub.publish(message)

        def read_on() -> int:
            population.sessions[0].resume_writing()
            return population.settle()

        assert steady(read_on, prepare=fall_behind, items=devices) > devices * 200


@pytest.mark.benchmark(group="catch-up: a snapshot")
@pytest.mark.parametrize(
    ("clients", "devices"), [(1, 1000), (1, 10_000), (1000, 100)], ids=["1000", "10000", "100_for_1000_clients"]
)
def test_snapshot(steady, clients, devices):
    """For each client in turn, as they ask; those that ask for the same share its frames."""
    with Population() as population:
        population.connect_tcp(clients)
        for device in range(devices):
            population.hub.publish(telemetry(device, METRICS[:2]))

        def unsubscribe() -> None:
            for number in range(clients):
                population.command(number, {"type": "unsubscribe", "channel": "telemetry"})
            population.settle()

        def ask() -> int:
            for number in range(clients):
                population.command(number, SNAPSHOT)
            return population.settle()

        rounds = 40 if clients == 1 else 10
        received = steady(ask, prepare=unsubscribe, rounds=rounds, items=clients * devices)
        assert received > clients * devices * 200
