"""Matching: a publication that ten connections are subscribed to, among few and among many other subscriptions.

The connections are shut (socketless.py): they are matched and counted, and nothing is queued. With a metric that nobody
asked for, that is finding the device and asking its filters alone; with one that all asked for, the slots are walked
over and the message is encoded too.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from socketless import METRICS, Population, telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

EACH = 10
SIZES = {1_000: 100, 1_000_000: 10_000}  # subscriptions: connections
SAMPLE = 1000


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size}_subscriptions")
def populated(request: pytest.FixtureRequest) -> Iterator[tuple[Population, int, dict[str, float]]]:
    """A population, the number of its devices, and the bytes of a subscription: of the postings alone, and all told."""
    devices = request.param // EACH
    with Population() as population:
        grown = population.subscribe_at_random(SIZES[request.param], devices, EACH, filters=1)
        stats = population.hub.index.stats()
        assert stats["entries"] == request.param
        each = {"postings_bytes_each": stats["bytes"] / request.param, "resident_bytes_each": grown / request.param}
        population.shut()
        yield population, devices, each


def messages(devices: int, metric: str) -> Iterator[dict[str, object]]:
    """Return publications of random devices without end, so that the index is not in the cache by mere repetition."""
    source = random.Random(2)
    return itertools.cycle([telemetry(source.randrange(devices), [metric]) for _ in range(SAMPLE)])


@pytest.mark.benchmark(group="index: publish to 10 of N subscriptions")
@pytest.mark.parametrize(("metric", "matched"), [("nobody_asks", 0), (METRICS[0], EACH)], ids=["filters", "matched"])
def test_publish(benchmark, steady, populated, metric, matched):
    population, devices, each = populated
    benchmark.extra_info.update(each)
    following = messages(devices, metric).__next__
    publish = population.hub.publish
    assert steady(lambda: publish(following())) == matched


@pytest.mark.benchmark(group="index: publish to 10 of N subscriptions")
def test_publish_of_an_unknown_device(steady, populated):
    population, devices, _ = populated
    following = itertools.cycle([telemetry(devices + i, METRICS[:1]) for i in range(SAMPLE)]).__next__
    publish = population.hub.publish
    assert steady(lambda: publish(following())) == 0


@pytest.mark.benchmark(group="index: matches at one device")
@pytest.mark.parametrize("filters", [1, 16])
@pytest.mark.parametrize("count", [10, 100, 1000])
def test_publish_to_one_device(steady, count, filters):
    with Population() as population:
        population.subscribe_at_random(count, 1, count, filters)
        population.shut()
        message = telemetry(0)
        assert steady(population.hub.publish, message, iterations=200, items=count) == count


@pytest.mark.benchmark(group="index: subscribe and unsubscribe")
@pytest.mark.parametrize("devices", [1, 100])
def test_subscribe_and_unsubscribe(steady, devices):
    with Population() as population:
        population.connect()
        subscribe = {"type": "subscribe", "channel": "telemetry", "device_id": list(range(devices))}

        def both() -> None:
            population.command(0, subscribe)
            population.command(0, {"type": "unsubscribe", "channel": "telemetry"})

        steady(both, iterations=100, items=devices)
        assert population.hub.index.entries == 0
