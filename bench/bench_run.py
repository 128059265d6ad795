"""Batches: a turn's messages to 100 connections as one message each, beside the same as they are (bench_outbox.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from socketless import METRICS, Population, telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 100


@pytest.fixture(scope="module", params=[False, True], ids=["single", "batched"])
def subscribed(request: pytest.FixtureRequest) -> Iterator[Population]:
    """Connections that are subscribed to all of one device, and to half of another one's metrics or all of them."""
    with Population() as population:
        population.connect_tcp(CONNECTIONS)
        for number in range(CONNECTIONS):
            population.command(number, {"type": "auth", "token": "", "batch": request.param})
            population.command(number, {"type": "subscribe", "channel": "telemetry", "device_id": 1})
            some = {"type": "subscribe", "channel": "telemetry", "device_id": 2}
            population.command(number, some | ({"metrics": METRICS[:4]} if number % 2 else {}))
        population.settle()
        yield population


@pytest.mark.benchmark(group="run: write a turn to 100 connections")
@pytest.mark.parametrize("device", [1, 2], ids=["same_frames", "two_projections"])
@pytest.mark.parametrize("messages", [8, 64])
def test_write(steady, subscribed, messages, device):
    """With two projections neighbours have different frames, and share no batch."""
    message = telemetry(device, METRICS if device == 2 else METRICS[:1], pad="x" * (20 if device == 2 else 150))

    def publish() -> None:
        subscribed.drain()
        for _ in range(messages):
            subscribed.hub.publish(message)

    refused = subscribed.hub.turn.refused
    steady(subscribed.hub.turn.flush, prepare=publish, items=CONNECTIONS * messages)
    assert subscribed.hub.turn.refused == refused
    assert subscribed.drain() > CONNECTIONS * messages * 200
