"""From publish to the kernel: real sockets over loopback, whose other ends are read between the rounds.

`plain` is the least that Python can do for the same bytes: one `socket.send` a connection of all of them in one piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from socketless import METRICS, Population, telemetry
from valtronics_fast._core.encode import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 100
BATCHES = [1, 8, 64]
MESSAGE = telemetry(1, METRICS[:1], pad="x" * 150)  # 300 bytes as JSON


@pytest.fixture(scope="module")
def subscribed() -> Iterator[Population]:
    """Connections that are subscribed to one device, half of them to two metrics and half to all of a message."""
    with Population() as population:
        population.connect_tcp(CONNECTIONS)
        for number in range(CONNECTIONS):
            population.command(number, {"type": "subscribe", "channel": "telemetry", "device_id": 1})
            some = {"type": "subscribe", "channel": "telemetry", "device_id": 2}
            population.command(number, some | ({"metrics": METRICS[:2]} if number % 2 else {}))
        yield population


@pytest.mark.benchmark(group="outbox: a turn to 100 connections")
@pytest.mark.parametrize("batch", BATCHES)
def test_publish_and_write(steady, subscribed, batch):
    hub = subscribed.hub

    def turn() -> None:
        for _ in range(batch):
            hub.publish(MESSAGE)
        hub.turn.flush()

    received = []
    steady(turn, prepare=lambda: received.append(subscribed.drain()), items=CONNECTIONS * batch)
    assert received[-1] == CONNECTIONS * batch * len(encode(MESSAGE))


@pytest.mark.benchmark(group="outbox: a turn to 100 connections")
@pytest.mark.parametrize("batch", BATCHES)
def test_plain(steady, subscribed, batch):
    data = encode(MESSAGE) * batch
    writers = subscribed.writers

    def turn() -> None:
        for writer in writers:
            writer.send(data)

    received = []
    steady(turn, prepare=lambda: received.append(subscribed.drain()), items=CONNECTIONS * batch)
    assert received[-1] == CONNECTIONS * len(data)
    subscribed.drain()


@pytest.mark.benchmark(group="outbox: parts of a turn")
@pytest.mark.parametrize("batch", BATCHES)
def test_queue(steady, subscribed, batch):
    """Publishing alone, up to the queues."""
    hub = subscribed.hub

    def clear() -> None:
        hub.turn.flush()
        subscribed.drain()

    def publish() -> int:
        return sum(hub.publish(MESSAGE) for _ in range(batch))

    assert steady(publish, prepare=clear, items=CONNECTIONS * batch) == CONNECTIONS * batch
    clear()


@pytest.mark.benchmark(group="outbox: parts of a turn")
@pytest.mark.parametrize("device", [1, 2], ids=["same_frames", "two_projections"])
@pytest.mark.parametrize("batch", BATCHES)
def test_write(steady, subscribed, batch, device):
    """Writing alone; with two projections neighbours have different frames, and no buffer can be shared."""
    hub = subscribed.hub
    message = telemetry(device, pad="x" * 20)

    def publish() -> None:
        subscribed.drain()
        for _ in range(batch):
            hub.publish(message)

    refused = hub.turn.refused
    steady(hub.turn.flush, prepare=publish, items=CONNECTIONS * batch)
    assert hub.turn.refused == refused
    subscribed.drain()
