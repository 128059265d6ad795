"""What the tests of the MQTT producer share: a hub that records, a producer that is ended."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson

from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.errors import PublicationError
from valtronics_fast.logging import TextFormatter
from valtronics_fast.producers.mqtt import MqttProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    import pytest

    from services import Mosquitto
    from valtronics_fast.config import MqttConfig

Message = dict[str, object]
TIMEOUT = float(os.environ.get("TEST_TIMEOUT", "40"))


def log_of(caplog: pytest.LogCaptureFixture) -> str:
    """Return the lines that were logged, with their fields."""
    return "\n".join(map(TextFormatter().format, caplog.records))


class Hub(list[Message]):
    """Records what is published; refuses messages about the device "refused", fails for "broken"."""

    def publish(self, message: Mapping[str, object]) -> int:
        if message.get("device_id") == "refused":
            raise PublicationError(ErrorCode.INVALID_MESSAGE, "device_id is refused")
        if message.get("device_id") == "broken":
            raise RuntimeError("broken")
        self.append(dict(message))
        return 0


class Election:
    """One node alone, which plays the role while `leading`."""

    def __init__(self) -> None:
        self.leading = False
        self.pauses = 0
        self.resigned = 0
        self.heard: set[str] = set()

    def leads(self, _: str) -> bool:
        return self.leading

    def leader(self, _: str) -> int | None:
        return 1 if self.leading else None

    def stand(self, _: str) -> None:
        """It stands already."""

    def withdraw(self, _: str) -> None:
        self.leading = False

    def resign(self, _: str) -> None:
        self.resigned += 1
        self.leading = False

    def pause(self) -> None:
        self.pauses += 1
        self.leading = False


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.01)


async def send(
    broker: Mosquitto, topic: str, payload: object = b"", *, qos: int = 1, retain: bool = False
) -> None:
    data = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    await asyncio.to_thread(broker.publish, topic, data, qos=qos, retain=retain)


@asynccontextmanager
async def running(config: MqttConfig, hub: Hub, *, wait: bool = True) -> AsyncIterator[MqttProducer]:
    """Run a producer; afterwards nothing of it may be left."""
    tasks = asyncio.all_tasks()
    producer = MqttProducer(config)
    await producer.start(hub.publish)
    try:
        if wait:
            await until(producer.ready)
        yield producer
    finally:
        await producer.stop()
        await producer.stop()
    assert not producer.ready()
    assert producer.stats()["connected"] is False
    assert asyncio.all_tasks() == tasks
