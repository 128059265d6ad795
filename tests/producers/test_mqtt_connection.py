"""How the MQTT producer connects, stays connected and comes back."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
import trustme
from gmqtt import Client

from mqtt_harness import TIMEOUT, Hub, log_of, running, send, until
from services import Mosquitto, free_port
from valtronics_fast.config import MqttConfig
from valtronics_fast.producers.mqtt import MqttProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as mosquitto:
        yield mosquitto


@pytest.fixture
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valtronics_fast.producers.mqtt.FIRST_PAUSE", 0.05)


async def killed_and_restarted(broker: Mosquitto) -> None:
    hub = Hub()
    async with running(MqttConfig(url=broker.url), hub) as producer:
        await send(broker, "valtronics/devices/1/telemetry/a", 1)
        await until(lambda: len(hub) == 1)
        for restarts in (1, 2):
            broker.kill()
            await until(lambda: not producer.ready())
            assert producer.stats()["connected"] is False
            await asyncio.to_thread(broker.start)
            await until(producer.ready)
            await send(broker, "valtronics/devices/1/telemetry/a", 1)
            await until(lambda n=restarts: len(hub) == 1 + n)  # type: ignore[misc]
            assert producer.stats()["reconnects"] == restarts
            assert producer.stats()["connected"] is True


async def test_a_broker_killed_and_started_again(broker: Mosquitto) -> None:
    await killed_and_restarted(broker)


def test_a_broker_killed_and_started_again_without_uvloop(broker: Mosquitto) -> None:
    asyncio.run(killed_and_restarted(broker))


async def test_a_broker_that_hangs(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("valtronics_fast.producers.mqtt.KEEP_ALIVE", 1)
    monkeypatch.setattr("valtronics_fast.producers.mqtt.CONNECT_TIMEOUT", 0.5)
    hub = Hub()
    async with running(MqttConfig(url=broker.url), hub) as producer:
        broker.freeze()
        await until(lambda: not producer.ready())
        await until(lambda: "no answer" in log_of(caplog))
        broker.thaw()
        await until(producer.ready)
        await send(broker, "valtronics/1/heartbeat")
        await until(lambda: hub)


async def test_a_broker_that_is_away_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub()
    broker = Mosquitto(tmp_path)
    try:
        async with running(MqttConfig(url=broker.url), hub, wait=False) as producer:
            await until(lambda: "next_attempt=" in log_of(caplog))
            assert not producer.ready()
            await asyncio.to_thread(broker.start)
            await until(producer.ready)
            await send(broker, "valtronics/1/heartbeat")
            await until(lambda: hub)
            assert producer.stats()["reconnects"] == 0
    finally:
        broker.stop()


async def pauses_of(url: str, count: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the first pauses between a producer's attempts, without waiting for them."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def no_sleep(seconds: float) -> None:
        if seconds >= 0.5:
            pauses.append(seconds)
        await sleep(min(seconds, 0.001))

    with monkeypatch.context() as patch:
        patch.setattr("valtronics_fast.producers.mqtt.asyncio.sleep", no_sleep)
        producer = MqttProducer(MqttConfig(url=url))
        await producer.start(Hub().publish)
        await until(lambda: len(pauses) >= count)
        await producer.stop()
    return pauses[:count]


async def test_pauses_grow_from_half_a_second_to_thirty(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = await pauses_of(f"mqtt://127.0.0.1:{free_port()}", 40, monkeypatch)
    for pause, bound in zip(pauses, [1, 2, 4, 8, 16, *[30] * 35], strict=True):
        assert bound / 2 <= pause <= bound
    assert len(set(pauses[5:])) > 20  # jitter


async def test_pauses_grow_as_well_when_connections_do_not_last(monkeypatch: pytest.MonkeyPatch) -> None:
    async with peer(b"\x20\x03\x00\x00\x00", close=True) as (url, heard):  # CONNACK: accepted
        assert (await pauses_of(url, 6, monkeypatch))[-1] >= 15
        assert [connect[8] for connect in heard[:6]] == [5] * 6
        monkeypatch.setattr("valtronics_fast.producers.mqtt.STABLE", 0.0)
        assert max(await pauses_of(url, 6, monkeypatch)) <= 1


@pytest.mark.usefixtures("_short_pauses")
async def test_a_wrong_password_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Mosquitto(tmp_path, users={"server": "p@ss/word"}) as broker:
        config = MqttConfig(url=f"mqtt://server:wrong-word@127.0.0.1:{broker.port}")
        async with running(config, Hub(), wait=False) as producer:
            await until(lambda: log_of(caplog).count("Connection Refused:") >= 2)
            assert not producer.ready()
            assert producer.stats()["connected"] is False
        assert "wrong-word" not in log_of(caplog)


async def test_a_user_with_a_password(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, users={"server": "p@ss/word"}) as broker:
        hub = Hub()
        async with running(MqttConfig(url=f"mqtt://server:p%40ss%2Fword@127.0.0.1:{broker.port}"), hub):
            await send(broker, "valtronics/1/heartbeat")
            await until(lambda: hub)


async def test_a_configured_client_id_keeps_its_session(broker: Mosquitto) -> None:
    hub = Hub()
    config = MqttConfig(url=broker.url, client_id="valtronics-test")
    async with running(config, hub):
        assert " as valtronics-test " in broker.log()
    await send(broker, "valtronics/1/alert", {"severity": "info"})
    async with running(config, hub):
        await until(lambda: hub)
    async with running(MqttConfig(url=broker.url), hub):
        pass
    assert re.search(r" as valtronics-[0-9a-f]{12} ", broker.log())


async def test_a_refused_subscription_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (plugin,) = Path("/usr/lib").glob("*/mosquitto_dynamic_security.so")
    rules = tmp_path / "rules.json"
    rights = ("subscribe", "unsubscribe", "publishClientSend", "publishClientReceive")
    allowed = {"acltype": "subscribePattern", "topic": "valtronics/+/status", "allow": True}
    rules.write_bytes(
        orjson.dumps(
            {
                "defaultACLAccess": {right: right != "subscribe" for right in rights},
                "roles": [{"rolename": "server", "acls": [allowed]}],
                "groups": [{"groupname": "everyone", "roles": [{"rolename": "server"}]}],
                "anonymousGroup": "everyone",
            }
        )
    )
    settings = [f"plugin {plugin}", f"plugin_opt_config_file {rules}"]
    with Mosquitto(tmp_path, settings=settings) as broker:
        status, alert = "valtronics/{device}/status => status", "valtronics/{device}/alert => alert"
        async with running(MqttConfig(url=broker.url, topics=(status,)), Hub()):
            pass
        config = MqttConfig(url=broker.url, topics=(status, alert))
        async with running(config, Hub(), wait=False) as producer:
            await until(lambda: "topics=valtronics/+/alert" in log_of(caplog))
            assert producer.stats()["connected"] is True
            assert not producer.ready()


async def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key, roots = (tmp_path / name for name in ("chain.pem", "key.pem", "roots.pem"))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(chain), append=True)
    certificate.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(roots))
    with Mosquitto(tmp_path, certificate=(chain, key)) as broker:
        config = MqttConfig(url=broker.url.replace("mqtt:", "mqtts:"))
        async with running(config, Hub(), wait=False) as producer:
            await until(lambda: "certificate verify failed" in log_of(caplog))
            assert not producer.ready()
        monkeypatch.setenv("SSL_CERT_FILE", str(roots))
        assert ssl.create_default_context().cert_store_stats()["x509"] == 1
        async with running(config, Hub()):
            pass


# --- peers that are no brokers ---


@asynccontextmanager
async def peer(answer: bytes, *, close: bool) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Listen; answer whatever comes first with some bytes; yields a URL and what came."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.read(4096))
            writer.write(answer)
            await writer.drain()
            if not close:
                while await reader.read(4096):
                    pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)


async def odd_peer(answer: bytes, close: bool) -> None:
    async with peer(answer, close=close) as (url, heard):
        producer = MqttProducer(MqttConfig(url=url))
        await producer.start(Hub().publish)
        await until(lambda: len(heard) >= (3 if close else 1))
        assert not producer.ready()
        await producer.stop()
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    if close:
        # the protocol version, behind the name "MQTT": every other attempt is made with the older one
        assert [connect[8] for connect in heard[:3]] == [5, 4, 5]


ODD = [
    (b"", True),
    (b"\x20\x02\x00\x01", True),  # CONNACK of a broker that does not know MQTT 5
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", True),
    (b"\xff\xff\xff\xff\xff\xff", True),
    (b"", False),
    (b"\x00\xff\xff\xff\xff\xff\xff", False),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
]


@pytest.mark.usefixtures("_short_pauses")
@pytest.mark.parametrize(("answer", "close"), ODD)
async def test_peers_that_are_no_brokers(answer: bytes, close: bool) -> None:
    await odd_peer(answer, close)


@pytest.mark.usefixtures("_short_pauses")
@pytest.mark.parametrize(("answer", "close"), ODD)
def test_peers_that_are_no_brokers_without_uvloop(answer: bytes, close: bool) -> None:
    asyncio.run(odd_peer(answer, close))


@pytest.mark.usefixtures("_short_pauses")
async def test_a_broker_that_knows_only_mqtt_3_1_1(broker: Mosquitto) -> None:
    """The broker is real; before it stands a relay that refuses MQTT 5, as older brokers do."""
    versions: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connect = await reader.read(4096)
        versions.append(connect[8])
        if connect[8] == 5:
            writer.write(b"\x20\x02\x00\x01")
            writer.close()
            return
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", broker.port)
        writers[:] = [writer, to_broker]
        to_broker.write(connect)
        await asyncio.gather(pump(reader, to_broker), pump(from_broker, writer))

    hub = Hub()
    tasks = asyncio.all_tasks()
    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    producer = MqttProducer(MqttConfig(url=f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    await producer.start(hub.publish)
    try:
        await until(producer.ready)
        await send(broker, "valtronics/1/heartbeat")
        await until(lambda: hub)
        for writer in writers:
            writer.close()
        await until(lambda: producer.stats()["reconnects"] == 1)
    finally:
        await producer.stop()
        server.close()
        await server.wait_closed()
    await until(lambda: asyncio.all_tasks() == tasks)
    assert versions == [5, 4, 4]


@pytest.mark.usefixtures("_short_pauses")
async def test_whatever_a_library_raises_it_is_tried_again(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect = Client.connect
    failures = [OverflowError("what no broker should lead to")]

    async def fail_once(client: Client, *arguments: object, **more: object) -> None:
        if failures:
            raise failures.pop()
        await connect(client, *arguments, **more)

    monkeypatch.setattr(Client, "connect", fail_once)
    async with running(MqttConfig(url=broker.url), Hub()):
        assert "OverflowError: what no broker should lead to" in log_of(caplog)


async def test_a_connection_that_does_not_end_is_left_behind(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    disconnect, left = Client.disconnect, []

    async def hang(client: Client) -> None:
        left.append(client)
        await asyncio.Event().wait()

    monkeypatch.setattr("valtronics_fast.producers.mqtt.CLOSE_TIMEOUT", 0.05)
    monkeypatch.setattr(Client, "disconnect", hang)
    producer = MqttProducer(MqttConfig(url=broker.url))
    await producer.start(Hub().publish)
    await until(producer.ready)
    try:
        async with asyncio.timeout(TIMEOUT):
            await producer.stop()
    finally:
        for client in left:
            await disconnect(client)


async def test_a_peer_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("valtronics_fast.producers.mqtt.CONNECT_TIMEOUT", 0.05)
    async with peer(b"", close=False) as (url, heard), running(MqttConfig(url=url), Hub(), wait=False):
        await until(lambda: len(heard) >= 2)
        assert "no answer" in log_of(caplog)
        assert [connect[8] for connect in heard[:2]] == [5, 5]


async def test_stop_while_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:  # accepts nothing
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        config = MqttConfig(url=f"mqtt://127.0.0.1:{listener.getsockname()[1]}")
        async with running(config, Hub(), wait=False):
            await asyncio.sleep(0.05)
        async with running(config, Hub(), wait=False):
            pass


@pytest.mark.parametrize(
    ("client_id", "expiry", "clean"),
    [("", 3600.0, True), ("one", 3600.0, False), ("one", 60.0, False), ("one", 0.0, True)],
)
async def test_what_the_broker_is_told_of_the_session(client_id: str, expiry: float, clean: bool) -> None:
    async with peer(b"", close=False) as (url, heard):
        config = MqttConfig(url=url, client_id=client_id, session_expiry=expiry)
        async with running(config, Hub(), wait=False):
            await until(lambda: heard)
    (connect,) = heard
    assert bool(connect[9] & 2) == clean
    properties = connect[13 : 13 + connect[12]]
    assert b"\x11" + (0 if clean else int(expiry)).to_bytes(4, "big") in properties
    assert b"\x21" + (1000).to_bytes(2, "big") in properties  # the receive maximum
