from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mqtt_harness import Hub, Message, log_of, running, send, until
from services import Mosquitto
from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.config import MqttConfig
from valtronics_fast.errors import PublicationError
from valtronics_fast.producers.mqtt import MAX_PACKET, MqttProducer
from valtronics_fast.producers.status import StatusTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as mosquitto:
        yield mosquitto


# --- what comes in ---

NOON = "2024-01-01T12:00:00Z"
SHAPES: list[tuple[str, object, Message]] = [
    (
        "valtronics/1/telemetry",
        {"metrics": [{"name": "temperature", "value": 23.5, "unit": "°C"}], "timestamp": NOON},
        {
            "type": "telemetry_update",
            "device_id": 1,
            "telemetry": {"temperature": {"value": 23.5, "unit": "°C", "timestamp": NOON}},
        },
    ),
    (
        "valtronics/1/telemetry",
        {"name": "humidity", "value": 45.2, "unit": "%"},
        {"type": "telemetry_update", "device_id": 1, "telemetry": {"humidity": {"value": 45.2, "unit": "%"}}},
    ),
    (
        "valtronics/devices/pump-3/telemetry/rpm",
        {"value": 1450, "unit": "1/min", "timestamp": NOON, "metadata": {"sensor": "b"}},
        {
            "type": "telemetry_update",
            "device_id": "pump-3",
            "telemetry": {
                "rpm": {"value": 1450, "unit": "1/min", "timestamp": NOON, "metadata": {"sensor": "b"}}
            },
        },
    ),
    (
        "valtronics/1/status",
        {"status": "warning", "reason": "Filter is full", "timestamp": NOON},
        {
            "type": "device_status_update",
            "device_id": 1,
            "old_status": "unknown",
            "new_status": "warning",
            "reason": "Filter is full",
            "timestamp": NOON,
        },
    ),
    (
        "valtronics/devices/1/status/offline",
        b"",
        {"type": "device_status_update", "device_id": 1, "old_status": "unknown", "new_status": "offline"},
    ),
    (
        "valtronics/1/heartbeat",
        b"",
        {
            "type": "device_status_update",
            "device_id": 1,
            "old_status": "unknown",
            "new_status": "online",
            "reason": "Heartbeat",
        },
    ),
    (
        "valtronics/1/alert",
        {"type": "overheat", "severity": "critical", "message": "Too hot"},
        {
            "type": "alert",
            "alert_type": "overheat",
            "device_id": 1,
            "severity": "critical",
            "message": "Too hot",
        },
    ),
    (
        "valtronics/system/alerts/info",
        {"type": "backup", "message": "Backup done"},
        {"type": "alert", "alert_type": "backup", "severity": "info", "message": "Backup done"},
    ),
]


@pytest.mark.parametrize(("topic", "payload", "message"), SHAPES)
async def test_each_topic_shape(broker: Mosquitto, topic: str, payload: object, message: Message) -> None:
    hub = Hub()
    async with running(MqttConfig(url=broker.url), hub) as producer:
        await send(broker, topic, payload)
        await until(lambda: hub)
        assert hub == [message]
        assert producer.stats()["published"] == producer.stats()["messages"] == 1


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_every_quality_of_service(broker: Mosquitto, qos: int) -> None:
    hub = Hub()
    async with running(MqttConfig(url=broker.url), hub):
        await send(broker, "valtronics/devices/1/telemetry/a", 1, qos=qos)
        await until(lambda: hub)
    assert len(hub) == 1


async def test_own_topics(broker: Mosquitto) -> None:
    hub = Hub()
    topics = ("plant/+/{device}/{metric} => telemetry", "plant/# => alert")
    async with running(MqttConfig(url=broker.url, topics=topics), hub):
        await send(broker, "valtronics/1/heartbeat")
        await send(broker, "plant/hall/7/rpm", 5)
        await send(broker, "plant/siren", {"severity": "critical"})
        await until(lambda: len(hub) == 2)
    assert hub == [
        {"type": "telemetry_update", "device_id": 7, "telemetry": {"rpm": {"value": 5}}},
        {"type": "alert", "severity": "critical"},
    ]


async def test_statuses_know_the_one_before(broker: Mosquitto) -> None:
    hub = Hub()
    async with running(MqttConfig(url=broker.url), hub) as producer:
        await send(broker, "valtronics/1/heartbeat")
        await send(broker, "valtronics/1/heartbeat")  # known to be there: skipped
        await send(broker, "valtronics/1/status", {"status": "online"})  # said outright: forwarded
        await send(broker, "valtronics/1/status", {"status": "warning"})
        await send(broker, "valtronics/1/heartbeat")  # says less than "warning": skipped
        await send(broker, "valtronics/devices/1/status/offline")
        await send(broker, "valtronics/1/heartbeat")
        await until(lambda: producer.stats()["messages"] == 7)
        assert producer.stats()["skipped"] == 2
    assert [(message["old_status"], message["new_status"]) for message in hub] == [
        ("unknown", "online"),
        ("online", "online"),
        ("online", "warning"),
        ("warning", "offline"),
        ("offline", "online"),
    ]


async def test_a_heartbeat_keeps_a_device_remembered(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    producer = MqttProducer(MqttConfig(url=broker.url))
    monkeypatch.setattr(producer, "_statuses", StatusTable(2))
    await producer.start(hub.publish)
    await until(producer.ready)
    for device in (1, 2, 1, 3, 1):  # 3 pushes 2 out
        await send(broker, f"valtronics/{device}/heartbeat")
    await until(lambda: producer.stats()["messages"] == 5)
    await producer.stop()
    assert [message["device_id"] for message in hub] == [1, 2, 3]


async def test_retained_messages_are_the_state_and_no_events(broker: Mosquitto) -> None:
    await send(broker, "valtronics/1/status", {"status": "offline"}, retain=True)
    await send(broker, "valtronics/2/alert", {"severity": "info"}, retain=True)
    await send(broker, "valtronics/3/heartbeat", b"x", retain=True)
    await send(broker, "valtronics/devices/4/telemetry/a", 1, retain=True)
    hub = Hub()
    producer = MqttProducer(MqttConfig(url=broker.url))
    for times in (1, 2):  # the second time stands for a reconnection
        await producer.start(hub.publish)
        await until(lambda n=times: producer.stats()["messages"] == 4 * n)  # type: ignore[misc]
        await producer.stop()
    assert producer.stats()["skipped"] == 6
    assert sorted(str(message["device_id"]) for message in hub) == ["1", "4"]


async def test_a_retained_message_counts_when_its_topic_said_something_else_last(broker: Mosquitto) -> None:
    topic = "valtronics/devices/4/telemetry/a"
    hub = Hub()
    producer = MqttProducer(MqttConfig(url=broker.url))

    async def values_are(*values: int) -> None:
        await until(lambda: [message["telemetry"] for message in hub] == [{"a": {"value": value}} for value in values])

    await send(broker, topic, 1, retain=True)
    await producer.start(hub.publish)
    await values_are(1)
    await send(broker, topic, 2, retain=True)  # it comes at once, without the flag
    await values_are(1, 2)
    await producer.stop()
    await producer.start(hub.publish)
    await until(lambda: producer.stats()["skipped"] == 1)
    await producer.stop()
    await send(broker, topic, 3, retain=True)
    await producer.start(hub.publish)
    await values_are(1, 2, 3)
    await producer.stop()


# --- what can't be used ---


async def test_bad_messages_are_counted_and_logged_with_a_limit(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    hub = Hub()
    async with running(MqttConfig(url=broker.url), hub) as producer:
        for payload in (b"{", b"\xff\x00", b"secret text"):
            await send(broker, "valtronics/1/telemetry", payload)
        await send(broker, "valtronics/1/telemetry", [])
        await send(broker, f"valtronics/{'x' * 65}/heartbeat")
        await send(broker, "valtronics/devices/telemetry", 1)
        await send(broker, "valtronics/refused/heartbeat")
        await send(broker, "valtronics/refused/alert", {"severity": "info"})
        await send(broker, "valtronics/broken/heartbeat")
        await send(broker, "valtronics/1/heartbeat")
        await until(lambda: hub)
        stats = producer.stats()
        producer._on_message(None, b"\xff", b"", 0, {"retain": 0})  # what gmqtt makes of a topic in no UTF-8
        assert producer.stats()["rejected_unmapped_topic"] == 2
    assert len(hub) == 1
    rejected = {name[9:]: count for name, count in stats.items() if name.startswith("rejected_") and count}
    assert rejected == {
        "bad_json": 3,
        "bad_payload": 1,
        "bad_device": 1,
        "unmapped_topic": 1,
        "not_publishable": 2,
        "internal": 1,
    }
    assert stats["messages"] == 10
    assert stats["published"] == 1
    lines = [line for line in log_of(caplog).split("\n") if "WARNING" in line]
    assert sorted(line.split("reason=")[1].split()[0] for line in lines) == sorted(rejected)  # one a reason
    assert "secret text" not in log_of(caplog)
    assert log_of(caplog).count("Traceback") == 1


async def test_the_broker_leaves_out_what_is_too_large(broker: Mosquitto) -> None:
    hub = Hub()
    async with running(MqttConfig(url=broker.url), hub) as producer:
        await send(broker, "valtronics/devices/1/telemetry/a", {"value": 1, "more": "x" * MAX_PACKET})
        await send(broker, "valtronics/devices/1/telemetry/a", 2)
        await until(lambda: hub)
        assert producer.stats()["messages"] == 1


async def test_a_status_that_was_refused_is_not_the_last_one(broker: Mosquitto) -> None:
    class Refusing(Hub):
        def publish(self, message: Mapping[str, object]) -> int:
            if message.get("new_status") == "x":
                raise PublicationError(ErrorCode.INVALID_MESSAGE, "no such status")
            return super().publish(message)

    hub = Refusing()
    async with running(MqttConfig(url=broker.url), hub):
        for status in ("online", "x", "offline"):
            await send(broker, f"valtronics/devices/1/status/{status}")
        await until(lambda: len(hub) == 2)
    assert hub[1]["old_status"] == "online"
