"""The newest values: what noting those of a publication costs, with room and at the bound. Nobody is subscribed."""

from __future__ import annotations

import itertools

import pytest

from socketless import METRICS, Population, telemetry

DEVICES = 1000
BOUND = 1 << 20
STATUS = {"type": "device_status_update", "old_status": "online", "new_status": "offline"}


@pytest.mark.benchmark(group="latest: a publication of one of 1000 devices")
@pytest.mark.parametrize("metrics", [1, 8])
def test_store(steady, metrics):
    """Each of the devices is known."""
    with Population() as population:
        following = itertools.cycle([telemetry(device, METRICS[:metrics]) for device in range(DEVICES)]).__next__
        publish = population.hub.publish
        steady(lambda: publish(following()), iterations=DEVICES)
        assert population.hub.latest[0].stats()["devices"] == DEVICES


@pytest.mark.benchmark(group="latest: a publication of one of 1000 devices")
def test_store_one_of_100_metrics(steady):
    """Its device has 99 others."""
    with Population() as population:
        names = [f"m{i}" for i in range(100)]
        for device in range(DEVICES):
            population.hub.publish(telemetry(device, names))
        following = itertools.cycle([telemetry(device, names[-1:]) for device in range(DEVICES)]).__next__
        publish = population.hub.publish
        steady(lambda: publish(following()), iterations=DEVICES)
        assert population.hub.latest[0].stats()["metrics"] == DEVICES * 100


@pytest.mark.benchmark(group="latest: a publication of one of 1000 devices")
def test_store_a_status(steady):
    with Population() as population:
        following = itertools.cycle([{**STATUS, "device_id": device} for device in range(DEVICES)]).__next__
        publish = population.hub.publish
        steady(lambda: publish(following()), iterations=DEVICES)
        assert population.hub.latest[2].stats()["devices"] == DEVICES


@pytest.mark.benchmark(group="latest: at the bound")
def test_each_publication_makes_another_device_go(steady):
    """A thousand times as many devices as there is room for come in turn."""
    with Population(max_latest=BOUND) as population:
        numbers = itertools.count()
        message = telemetry(0, METRICS[:1])
        publish = population.hub.publish
        steady(lambda: publish({**message, "device_id": next(numbers)}), iterations=DEVICES)
        stats = population.hub.latest[0].stats()
        assert stats["bytes"] <= BOUND
        assert stats["evicted"] > DEVICES * 30
