"""One of several nodes has the connection; with servers and a backplane: tests/integration/test_mqtt_cluster.py."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from mqtt_harness import TIMEOUT, Election, Hub, running, send, until
from services import Mosquitto
from valtronics_fast.config import MqttConfig
from valtronics_fast.producers.mqtt import MqttProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

ID = "one-of-several"


class Cluster:
    """What a producer knows of the others; what it publishes is carried on while `carries` is set."""

    def __init__(self) -> None:
        self.election = Election()
        self.carries = asyncio.Event()

    def publish(self, _: Mapping[str, object], /) -> int:
        raise NotImplementedError

    async def settled(self) -> None:
        await self.carries.wait()

    def congested(self) -> bool:
        return False

    async def follow(self, lanes: list[int], offset: int) -> None:
        """Nothing is known elsewhere."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker


@asynccontextmanager
async def one_of_several(url: str, cluster: Cluster, hub: Hub) -> AsyncIterator[MqttProducer]:
    producer = MqttProducer(MqttConfig(url=url, client_id=ID), cluster)
    await producer.start(hub.publish)
    try:
        yield producer
    finally:
        async with asyncio.timeout(TIMEOUT):
            await producer.stop()


async def test_who_does_not_lead_does_not_connect(broker: Mosquitto) -> None:
    cluster = Cluster()
    async with one_of_several(broker.url, cluster, Hub()) as producer:
        await asyncio.sleep(0.5)
        assert (producer.stats()["connected"], producer.ready()) == (False, False)
        cluster.election.leading = True
        await until(producer.ready)
        cluster.election.leading = False
        await until(lambda: not producer.stats()["connected"])


async def test_who_is_replaced_at_the_broker_resigns() -> None:
    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"\x20\x03\0\0\0")  # CONNACK
        await reader.read(4096)
        writer.write(b"\xe0\x01\x8e")  # DISCONNECT, session taken over
        await reader.read()
        writer.close()

    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    cluster = Cluster()
    cluster.election.leading = True
    async with one_of_several(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", cluster, Hub()) as producer:
        await until(lambda: cluster.election.resigned)
        await until(lambda: not producer.stats()["connected"])
    server.close()
    await server.wait_closed()


async def test_what_is_not_carried_on_does_not_hold_up_the_end(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not acknowledged: whoever connects next gets it."""
    monkeypatch.setattr("valtronics_fast.producers.mqtt.CLOSE_TIMEOUT", 0.05)
    cluster, hub = Cluster(), Hub()
    cluster.election.leading = True
    async with one_of_several(broker.url, cluster, hub) as producer:
        await until(producer.ready)
        await send(broker, "valtronics/devices/1/telemetry/a", 7, qos=1)
        await until(lambda: len(hub) == 1)
    async with running(MqttConfig(url=broker.url, client_id=ID), hub):
        await until(lambda: len(hub) == 2)
    assert hub[0]["telemetry"] == hub[1]["telemetry"] == {"a": {"value": 7}}
