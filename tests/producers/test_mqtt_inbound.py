"""What becomes of PUBLISH packets: taken by `Inbound`, or left to gmqtt; and the acknowledgements."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from gmqtt import Client
from gmqtt.mqtt.constants import MQTTv50, MQTTv311
from gmqtt.mqtt.package import Package
from hypothesis import example, given
from hypothesis import strategies as st

from mqtt_harness import Hub, running, send, until
from services import Mosquitto
from valtronics_fast.config import MqttConfig
from valtronics_fast.producers.mqtt_inbound import Inbound

if TYPE_CHECKING:
    from pathlib import Path

PUBLISH, RETAIN, QOS_1, QOS_2 = 0x30, 1, 2, 4
DUPLICATE = 8

Taken = tuple[str | bytes, bytes, bool]


class Recorded:
    """A gmqtt client without a connection, and what came of the packets that it was given."""

    def __init__(self, version: int = MQTTv50) -> None:
        self.taken: list[Taken] = []
        self.left: list[Taken] = []
        self.client = Client("test")
        self.client._connection_state.protocol_version = version
        self.client.on_message = self._leave
        self.inbound = Inbound(self.client, lambda *message: self.taken.append(message))

    def _leave(
        self, _: Client, topic: str | bytes, payload: bytes, qos: int, properties: dict[str, object]
    ) -> None:
        self.left.append((topic, payload, bool(properties["retain"])))

    def receive(self, flags: int, packet: bytes) -> None:
        self.client._package_handler(Package(PUBLISH | flags, packet))


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


@pytest.mark.parametrize("flags", [0, DUPLICATE])
@pytest.mark.parametrize("retained", [False, True])
@pytest.mark.parametrize("payload", [b"", b"23.5", b"\0" * 100_000])
def test_a_plain_message_is_taken(payload: bytes, retained: bool, flags: int) -> None:
    for version, properties in ((MQTTv50, b"\0"), (MQTTv311, b"")):
        recorded = Recorded(version)
        recorded.receive(flags | (RETAIN if retained else 0), text("gerät/1".encode()) + properties + payload)
        assert recorded.taken == [("gerät/1", payload, retained)]
        assert recorded.left == []


@pytest.mark.parametrize(
    ("packet", "topic"),
    [
        (text(b"a/b") + b"\x80\x01\x26" + text(b"k") + text(b"v" * 122) + b"23.5", "a/b"),  # many properties
        (text(b"\xff") + b"\0" + b"23.5", b"\xff"),
    ],
)
def test_the_others_are_left_to_gmqtt(
    packet: bytes, topic: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = Recorded()
    recorded.receive(RETAIN, packet)
    assert recorded.taken == []
    assert recorded.left == [(topic, b"23.5", True)]
    assert caplog.records == []  # it would quote a topic in no UTF-8


@pytest.mark.parametrize("version", [MQTTv50, MQTTv311])
@pytest.mark.parametrize(
    "packet", [b"", b"\0", b"\0\0", b"\0\0\0", b"\0\x05ab", b"\0\x02ab" + b"\x03\x02", b"\xff\xffab\0"]
)
def test_a_packet_that_is_cut_off_is_neither(version: int, packet: bytes) -> None:
    recorded = Recorded(version)
    recorded.receive(0, packet)
    if not (version == MQTTv311 and packet.startswith(b"\0\x02ab")):  # there it is whole
        assert recorded.taken == recorded.left == []


@given(
    st.sampled_from([0, RETAIN]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
    | st.binary(min_size=1, max_size=8),
    st.sampled_from([b"\0", b"\x05\x02\x00\x00\x00\x09", b"\x07\x26\0\x01a\0\x01b", b"\x02\x01\x01"]),
    st.binary(max_size=8),
)
@example(0, b"\xff", b"\0", b"")
def test_it_makes_of_a_packet_what_gmqtt_does(
    flags: int, topic: str | bytes, properties: bytes, payload: bytes
) -> None:
    name = topic.encode() if isinstance(topic, str) else topic
    recorded = Recorded()
    packet = text(name) + properties + payload
    recorded.receive(flags, packet)
    (message,) = recorded.taken or recorded.left
    recorded.left.clear()
    recorded.inbound._left_to_gmqtt(PUBLISH | flags, packet)
    assert recorded.left == [message]


class Connection:
    """What a client writes to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.send_package = self.sent.append
        self.is_closing = lambda: False


async def test_stopping_acknowledges_what_was_taken_and_takes_nothing_more() -> None:
    recorded, connection = Recorded(), Connection()
    recorded.client._connection = connection
    recorded.client._connack_received.set()
    recorded.receive(QOS_1, text(b"a") + b"\0\x01" + b"\0" + b"1")
    recorded.receive(QOS_1, text(b"a") + b"\0\x02" + b"\0" + b"2")
    assert connection.sent == []  # that is for the end of the turn
    await recorded.inbound.stop(1.0)
    assert connection.sent == [b"\x40\x02\0\x01\x40\x02\0\x02"]
    recorded.receive(QOS_1, text(b"a") + b"\0\x03" + b"\0" + b"3")
    recorded.receive(QOS_2, text(b"a") + b"\0\x04" + b"\0" + b"4")
    await asyncio.sleep(0)
    assert [payload for _, payload, _ in recorded.taken] == [b"1", b"2"]
    assert recorded.left == []
    assert len(connection.sent) == 1


async def test_what_comes_with_qos_2_although_it_was_not_asked_for_is_left_to_gmqtt() -> None:
    hub, answered = Hub(), asyncio.Event()

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"\x20\x03\0\0\0")  # CONNACK
        await reader.read(4096)
        packet = text(b"valtronics/devices/1/telemetry/a") + b"\0\7" + b"\0" + b"1"
        writer.write(bytes([PUBLISH | QOS_2, len(packet)]) + packet)
        while data := await reader.read(4096):
            if data.startswith(b"\x50"):  # PUBREC
                answered.set()
        writer.close()

    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    async with running(MqttConfig(url=f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"), hub, wait=False):
        await until(lambda: hub)
        await until(answered.is_set)
    server.close()
    await server.wait_closed()
    assert [message["telemetry"] for message in hub] == [{"a": {"value": 1}}]


async def test_an_acknowledgement_for_a_connection_that_is_gone_goes_nowhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorded = Recorded()
    recorded.receive(QOS_1, text(b"a/b") + b"\0\7" + b"\0" + b"23.5")
    for _ in range(3):
        await asyncio.sleep(0)
    assert recorded.taken == [("a/b", b"23.5", False)]
    assert caplog.records == []


class Outlet:
    """Where messages are carried on while `settling` is set, with room for more unless it is `full`."""

    def __init__(self) -> None:
        self.settling = asyncio.Event()
        self.full = False

    def publish(self, _: object) -> int:
        raise NotImplementedError

    async def settled(self) -> bool:
        return await self.settling.wait()

    def congested(self) -> bool:
        return self.full


def with_outlet(outlet: Outlet) -> tuple[Recorded, Connection]:
    recorded, connection = Recorded(), Connection()
    recorded.client._connection = connection
    recorded.client._connack_received.set()
    recorded.inbound._outlet = outlet
    return recorded, connection


def qos_1(number: int) -> bytes:
    return text(b"a") + bytes((0, number)) + b"\0" + b"x"


async def test_with_an_outlet_what_was_carried_on_is_acknowledged() -> None:
    """And what came meanwhile waits for the next time, so that one round trip is for many messages."""
    outlet = Outlet()
    recorded, connection = with_outlet(outlet)
    recorded.receive(QOS_1, qos_1(1))
    recorded.receive(QOS_1, qos_1(2))
    await asyncio.sleep(0.01)
    recorded.receive(QOS_1, qos_1(3))
    await asyncio.sleep(0.01)
    assert connection.sent == []
    outlet.settling.set()
    await until(lambda: len(connection.sent) == 2)
    assert connection.sent == [b"\x40\x02\0\x01\x40\x02\0\x02", b"\x40\x02\0\x03"]
    await until(lambda: recorded.inbound._task is not None and recorded.inbound._task.done())
    recorded.receive(QOS_1, qos_1(4))
    await until(lambda: connection.sent[2:] == [b"\x40\x02\0\x04"])
    await recorded.inbound.stop(1.0)


async def test_a_congested_outlet_holds_acknowledgements_and_loses_qos_0() -> None:
    outlet = Outlet()
    outlet.settling.set()
    outlet.full = True
    recorded, connection = with_outlet(outlet)
    recorded.receive(0, text(b"a") + b"\0" + b"0")
    recorded.receive(QOS_1, qos_1(1))
    await asyncio.sleep(0.2)
    assert ([payload for _, payload, _ in recorded.taken], recorded.inbound.dropped) == ([b"x"], 1)
    assert connection.sent == []
    outlet.full = False
    await until(lambda: connection.sent == [b"\x40\x02\0\x01"])
    recorded.receive(0, text(b"a") + b"\0" + b"0")
    assert recorded.inbound.dropped == 1
    await recorded.inbound.stop(1.0)


@pytest.mark.parametrize(("settles", "full"), [(False, False), (True, True), (True, False)])
async def test_at_the_end_what_was_not_carried_on_stays_with_the_broker(settles: bool, full: bool) -> None:
    outlet = Outlet()
    outlet.full = full
    recorded, connection = with_outlet(outlet)
    recorded.receive(QOS_1, qos_1(1))
    await asyncio.sleep(0.01)
    recorded.receive(QOS_1, qos_1(2))
    if settles:
        outlet.settling.set()
    await recorded.inbound.stop(0.1)
    is_carried_on = settles and not full
    assert b"".join(connection.sent) == (b"\x40\x02\0\x01\x40\x02\0\x02" if is_carried_on else b"")


async def test_what_may_not_be_taken_stays_with_the_broker() -> None:
    recorded, connection = with_outlet(Outlet())
    recorded.inbound._may_take = lambda: False
    recorded.receive(QOS_1, qos_1(1))
    recorded.receive(QOS_2, qos_1(2))
    await recorded.inbound.stop(0.1)
    assert (recorded.taken, recorded.left, connection.sent) == ([], [], [])


async def test_every_message_of_qos_1_is_acknowledged(tmp_path: Path) -> None:
    """The broker sends no second one before the first is acknowledged."""
    hub = Hub()
    with Mosquitto(tmp_path, settings=["max_inflight_messages 1"]) as broker:
        async with running(MqttConfig(url=broker.url), hub):
            for number in range(5):
                await send(broker, "valtronics/devices/1/telemetry/a", number, qos=1)
            await until(lambda: len(hub) == 5)
    assert [message["telemetry"] for message in hub] == [{"a": {"value": number}} for number in range(5)]


async def test_messages_of_one_session_come_once(tmp_path: Path) -> None:
    """What was acknowledged is not sent again at the next connection; what came meanwhile is."""
    hub = Hub()
    with Mosquitto(tmp_path) as broker:
        config = MqttConfig(url=broker.url, client_id="once")
        async with running(config, hub):
            for number in range(30):  # more than the broker sends without an acknowledgement
                await send(broker, "valtronics/devices/1/telemetry/a", number, qos=1)
            await until(lambda: len(hub) == 30)
        await send(broker, "valtronics/devices/1/telemetry/a", 30, qos=1)
        async with running(config, hub):
            await until(lambda: len(hub) == 31)
            await send(broker, "valtronics/devices/1/telemetry/a", 31)
            await until(lambda: len(hub) == 32)
    assert [message["telemetry"] for message in hub] == [{"a": {"value": number}} for number in range(32)]
