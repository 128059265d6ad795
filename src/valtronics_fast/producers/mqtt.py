"""Data from an MQTT broker (docs/mqtt.md): gmqtt and `mqtt_inbound` below, `mapping` beside, the hub's `publish` above.

One gmqtt client lives for one connection. Its own reconnecting is not used: it waits a fixed time, ends for
good at a refused password, and does not subscribe again. The loop in `MqttProducer._run` does all three.

`_take` is called from gmqtt's read loop, which reads on only when that returned, so there is no queue here that could
grow: a flood waits in the socket and in the broker, which has limits of its own.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gmqtt import Client, MQTTConnectError, Subscription
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

from valtronics_fast._core.lanes import lanes_in
from valtronics_fast._core.wire import Channel
from valtronics_fast.errors import PublicationError
from valtronics_fast.logging import fields, limited
from valtronics_fast.producers.base import TaskProducer
from valtronics_fast.producers.leadership import Leadership
from valtronics_fast.producers.mapping import REASONS, MappingError, compile_topics
from valtronics_fast.producers.mqtt_inbound import Inbound
from valtronics_fast.producers.status import UNKNOWN, RetainedTable, StatusTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from valtronics_fast.config import MqttConfig
    from valtronics_fast.producers.base import Cluster, Publish
    from valtronics_fast.producers.mapping import Kind

__all__ = ["MqttProducer"]

logger = logging.getLogger(__name__)
# One line for each reason in ten seconds, however many messages are bad.
rejections = limited(f"{__name__}.rejections", lines=1, period=10.0)
# What it has to say (lost connections, with tracebacks) is said below, in one line each.
logging.getLogger("gmqtt").setLevel(logging.CRITICAL)

PORTS = {"mqtt": 1883, "mqtts": 8883}
CONNECT_TIMEOUT = 10.0
CLOSE_TIMEOUT = 2.0
# gmqtt pings after 0.8 times this silence and gives a connection up after twice this silence.
KEEP_ALIVE = 15
# Pauses between attempts double from the first to the last; each is cut by up to a half, at random, so that
# servers that lost the same broker do not return as one.
FIRST_PAUSE = 1.0
LAST_PAUSE = 30.0
# A connection that lasted this long starts the pauses anew. (Two servers with one client id throw each other
# out again and again: they must not do so at the shortest pause.)
STABLE = 30.0
# The broker leaves out larger messages (MQTT 5); so nobody can make this server assemble 256 MiB.
MAX_PACKET = 1 << 20
# Messages of QoS 1 that the broker may send ahead of their acknowledgements (MQTT 5); it may have a lower bound itself.
RECEIVE_MAXIMUM = 1000
# The reason of a DISCONNECT when another connection has the same client id (MQTT 5).
TAKEN_OVER = 0x8E
# Of a subscription: retained messages come with each one, or when the broker's session did not have it yet (MQTT 5).
ALL_RETAINED, RETAINED_FOR_NEW = 0, 1
ROLE = "mqtt"
STATUS_LANES = lanes_in(Channel.DEVICES, 2**64 - 1)

# gmqtt has only "for ever" (-1) and "once after n failures" (n >= 0); this is never.
NO_RECONNECTS = -2

# A heartbeat says that a device is there; these statuses say so too, and more, so it does not change them.
PRESENT = frozenset({"online", "warning", "maintenance"})


class MqttProducer(TaskProducer):
    """Subscribes to a broker and publishes what its rules make of the messages.

    A broker that is away is no error, and is tried for ever. To stop takes four seconds at the most.

    Of several nodes one is connected. All of them have the same client id and so, one after the other, the same
    session: what one has not acknowledged the broker sends the next one, and a connection that should no longer be
    there is ended by the broker when the next one begins.

    Args:
        config: `url` mqtt://[user:password@]host[:port], or mqtts:// for TLS with the system's certificate
            authorities; `client_id`, empty for a random one; `session_expiry`; `topics`, the rules of `mapping`.
        cluster: the other nodes, which all need the same client id if they may be connected; None: this one is alone.
        status_of: what the nodes know of a device's status; None: nothing.

    Raises:
        ValueError: a rule is not well-formed.
    """

    name = "mqtt"
    title = "the MQTT producer"

    def __init__(
        self,
        config: MqttConfig,
        cluster: Cluster | None = None,
        status_of: Callable[[int | str], str | None] = lambda _: None,
    ) -> None:
        url = urlsplit(config.url)
        self._host = url.hostname or ""
        self._port = url.port or PORTS[url.scheme]
        self._broker = f"{self._host}:{self._port}"
        self._tls = url.scheme == "mqtts"
        self._user = None if url.username is None else unquote(url.username)
        self._password = None if url.password is None else unquote(url.password)
        self._session_expiry = int(config.session_expiry) if config.client_id else 0
        self._cluster = cluster
        self._status_of = status_of
        self._leadership = None if cluster is None else Leadership(cluster.election, ROLE)
        self._client_id = config.client_id or f"valtronics-{secrets.token_hex(6)}"
        self._topics = compile_topics(config.topics)
        self._statuses = StatusTable()
        self._retained = RetainedTable()
        self._publish: Publish = _not_started
        self._version: int = MQTTv50
        self._connected = False
        self._subscribed = False
        self._connections = 0
        self._messages = 0
        self._published = 0
        self._skipped = 0
        self._dropped = 0
        self._rejected: dict[str, int] = dict.fromkeys((*REASONS, "not_publishable", "internal"), 0)

    def ready(self) -> bool:
        """Say whether the broker has accepted all subscriptions, of this node or of the one that is connected."""
        if self._cluster is not None and not self._cluster.election.leads(ROLE):
            return self._cluster.election.leader(ROLE) is not None
        return self._subscribed

    def stats(self) -> dict[str, int | bool | str]:
        """Return what came in and what became of it.

        `messages` came from the broker; `published` data messages were made of them; `skipped` said nothing
        new (heartbeats of devices known to be there, retained messages); `rejected_*` by reason. In a cluster also
        whether this node `leads`, which one is the `leader`, and what was `dropped` of QoS 0.
        """
        cluster: dict[str, int | bool | str] = {}
        if self._cluster is not None:
            election = self._cluster.election
            leader = election.leader(ROLE)
            name = "" if leader is None else f"{leader:016x}"
            cluster = {"leads": election.leads(ROLE), "leader": name, "dropped": self._dropped}
        return {
            **cluster,
            "connected": self._connected,
            "messages": self._messages,
            "published": self._published,
            "skipped": self._skipped,
            "reconnects": max(0, self._connections - 1),
            **{f"rejected_{reason}": count for reason, count in self._rejected.items()},
        }

    # --- the connection ---

    async def _run(self, publish: Publish) -> None:
        """Connect, stay until the connection is lost, pause, again; until cancelled."""
        self._publish = publish
        if self._cluster is None or self._leadership is None:
            await self._stay_connecting()
            return
        following = asyncio.create_task(self._leadership.follow(), name="mqtt-leadership")
        self._cluster.election.stand(ROLE)
        try:
            await self._stay_connecting()
        finally:
            self._cluster.election.withdraw(ROLE)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _stay_connecting(self) -> None:
        """Connect whenever this node is to be connected."""
        pause = FIRST_PAUSE
        while True:
            if self._leadership is not None:
                await self._leadership.gained()
                if self._cluster is not None and self._was_led():
                    await self._cluster.follow(STATUS_LANES, 0)  # so that a heartbeat does not clear a warning
            began = time.monotonic()
            client = self._new_client()
            may_take = None if self._leadership is None else self._leadership.holds
            inbound = Inbound(client, self._take, self._cluster, may_take)
            try:
                await self._stay_connected(client)
                problem = "connection lost"
            except (OSError, MQTTConnectError) as error:
                problem = str(error) or type(error).__name__
            except Exception:
                logger.exception("MQTT connection failed", extra=fields(broker=self._broker))
                problem = "unexpected error"
            finally:
                self._connected = self._subscribed = False
                await inbound.stop(CLOSE_TIMEOUT)
                self._dropped += inbound.dropped
                await self._close(client)
            if self._leadership is not None and not self._leadership.holds():
                logger.info("another node is to be connected to the MQTT broker", extra=fields(broker=self._broker))
                continue
            if time.monotonic() - began >= STABLE:
                pause = FIRST_PAUSE
            seconds = random.uniform(pause / 2, pause)  # noqa: S311 - no secret depends on it
            logger.warning(
                "no MQTT broker",
                extra=fields(broker=self._broker, problem=problem, next_attempt=round(seconds, 1)),
            )
            await asyncio.sleep(seconds)
            pause = min(pause * 2, LAST_PAUSE)

    def _new_client(self) -> Client:
        """Return a client for the next connection."""
        client = Client(
            self._client_id,
            clean_session=not self._session_expiry,
            session_expiry_interval=self._session_expiry,  # 0: none is kept
            receive_maximum=RECEIVE_MAXIMUM,
            maximum_packet_size=MAX_PACKET,
        )
        client.set_config({"reconnect_retries": NO_RECONNECTS})
        if self._user is not None:
            client.set_auth_credentials(self._user, self._password)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    async def _stay_connected(self, client: Client) -> None:
        """Connect, and return when the connection is lost; OSError or MQTTConnectError when there is none."""
        version, self._version = self._version, MQTTv50
        lost = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not lost.done():
                lost.set_result(None)

        def on_disconnect(_: Client, packet: object, *__: object) -> None:
            if self._cluster is not None and isinstance(packet, bytes) and packet[:1] == bytes((TAKEN_OVER,)):
                self._cluster.election.resign(ROLE)
            end()

        client.on_disconnect = on_disconnect
        if self._leadership is not None:
            self._leadership.on_lost = end
        connecting = asyncio.create_task(
            client.connect(
                self._host,
                self._port,
                ssl=ssl.create_default_context() if self._tls else False,
                keepalive=KEEP_ALIVE,
                version=version,
            )
        )
        try:
            await asyncio.wait({connecting, lost}, timeout=CONNECT_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                if not lost.done():
                    raise TimeoutError("no answer")
                if version == MQTTv50:
                    # So ends a broker that knows only MQTT 3.1.1 (its section 3.1.2.2): that is tried next.
                    self._version = MQTTv311
                raise ConnectionError("closed the connection instead of accepting it")
            connecting.result()
            self._version = version
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
        try:
            await lost
        finally:
            if self._leadership is not None:
                self._leadership.on_lost = None

    async def _close(self, client: Client) -> None:
        """Close a client's connection, if it has one, whatever its state."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await client.disconnect()
        except OSError as error:  # a timeout too
            logger.debug("MQTT connection not closed cleanly", extra=fields(detail=error))

    def _on_connect(self, client: Client, *_: object) -> None:
        """Subscribe. Called for each connection that the broker accepted."""
        self._connected = True
        self._connections += 1
        handling = RETAINED_FOR_NEW if self._was_led() else ALL_RETAINED
        client.subscribe([Subscription(one, qos=1, retain_handling_options=handling) for one in self._topics.filters])

    def _was_led(self) -> bool:
        """Say whether another node has been connected: then the nodes know already what is retained."""
        return self._cluster is not None and ROLE in self._cluster.election.heard

    def _on_subscribe(self, _: Client, __: int, granted: tuple[int, ...], ___: object) -> None:
        """Take the broker's answer to the subscriptions, one code each; from 128 on they are refusals."""
        refused = [
            topic_filter
            for topic_filter, code in zip(self._topics.filters, granted, strict=False)
            if code >= 128
        ]
        self._subscribed = not refused
        if refused:
            logger.error(
                "MQTT broker refused subscriptions",
                extra=fields(broker=self._broker, topics=", ".join(refused)),
            )
        else:
            logger.info("subscribed", extra=fields(broker=self._broker, client_id=self._client_id))

    # --- messages ---

    def _on_message(
        self, _: Client, topic: str | bytes, payload: bytes, __: int, properties: dict[str, object]
    ) -> None:
        """Take a message that `Inbound` has left to gmqtt."""
        if isinstance(topic, bytes):  # what gmqtt gives when a topic is not UTF-8
            self._messages += 1
            self._reject("unmapped_topic", topic, MappingError("unmapped_topic"))
        else:
            self._take(topic, payload, bool(properties["retain"]))

    def _take(self, topic: str, payload: bytes, retained: bool) -> None:
        """Publish what a message says. Called once a message; raises nothing."""
        self._messages += 1
        if self._retained.knows(topic, payload, retained=retained):
            self._skipped += 1
            return
        try:
            kind, messages = self._topics.map(topic, payload)
            for message in messages:
                if kind == "telemetry":
                    self._publish(message)
                    self._published += 1
                else:
                    self._publish_event(kind, message, retained=retained)
        except MappingError as error:
            self._reject(error.reason, topic, error)
        except PublicationError as error:
            self._reject("not_publishable", topic, error)
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._reject("internal", topic, error)

    def _publish_event(self, kind: Kind, message: dict[str, object], *, retained: bool) -> None:
        """Publish an alert or a status, unless it says nothing new.

        A retained message comes at every (re)connection. It is no event then: an alert or heartbeat says
        nothing about now, a status counts when it is another than the last known one.
        """
        if kind == "alert":
            if retained:
                self._skipped += 1
                return
            self._publish(message)
            self._published += 1
            return
        device: int | str = message["device_id"]  # type: ignore[assignment]
        status: str = message["new_status"]  # type: ignore[assignment]
        old = self._statuses.last(device)
        if old == UNKNOWN:
            old = self._status_of(device) or UNKNOWN
        if retained and (kind == "heartbeat" or old == status):
            self._skipped += 1
            return
        if kind == "heartbeat" and old in PRESENT:
            self._statuses.note(device, old)  # heard of, so not the next to be forgotten
            self._skipped += 1
            return
        message["old_status"] = old
        self._publish(message)
        self._published += 1
        self._statuses.note(device, status)

    def _reject(self, reason: str, topic: str | bytes, error: Exception) -> None:
        """Count a message that can't be used, and log it, with a limit."""
        self._rejected[reason] += 1
        unexpected = reason == "internal"
        rejections.warning(
            "MQTT message rejected",
            extra=fields(
                limit_key=reason,
                reason=reason,
                detail=type(error).__name__ if unexpected else str(error),
                topic=topic,
                count=self._rejected[reason],
            ),
            exc_info=error if unexpected else None,
        )


def _not_started(_: object) -> int:
    raise RuntimeError("the MQTT producer has not been started")
