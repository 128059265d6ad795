"""What holds for every producer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services import free_port
from valtronics_fast.config import MqttConfig
from valtronics_fast.producers.mqtt import MqttProducer
from valtronics_fast.producers.simulated import SimulatedFleet
from valtronics_fast.producers.system import SystemProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from valtronics_fast.producers.base import Producer


def mqtt() -> Producer:
    return MqttProducer(MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}"))  # no broker is there


def simulated() -> Producer:
    return SimulatedFleet(5, 1, 0.01)


def system() -> Producer:
    return SystemProducer(0.01, lambda: 1)


@pytest.mark.parametrize("make", [mqtt, simulated, system])
async def test_a_producer_starts_stops_and_starts_again(make: Callable[[], Producer]) -> None:
    published: list[Mapping[str, object]] = []

    def publish(message: Mapping[str, object]) -> int:
        published.append(message)
        return 0

    tasks = asyncio.all_tasks()
    producer = make()
    await producer.stop()  # never started
    assert not producer.ready()
    for _ in range(2):
        before = len(published)
        await producer.start(publish)
        with pytest.raises(RuntimeError):
            await producer.start(publish)
        if producer.ready():  # a broker that is away makes it unready, and hinders nothing
            async with asyncio.timeout(30):
                while len(published) < before + 3:
                    await asyncio.sleep(0.001)
        await producer.stop()
        await producer.stop()
        assert not producer.ready()
        assert asyncio.all_tasks() == tasks
        after = len(published)
        await asyncio.sleep(0.05)
        assert len(published) == after
    assert producer.name == make.__name__
    for name, value in producer.stats().items():
        assert isinstance(name, str)
        assert isinstance(value, int | bool | str)
