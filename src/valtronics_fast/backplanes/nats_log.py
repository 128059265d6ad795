"""A log on NATS: a stream of JetStream, with a subject for each lane.

The numbers in the stream are the order of the log. The server republishes what it has stored, with these numbers, and
a node subscribes to the republished subjects of the lanes that it follows. Announcements, and the marks by which a node
knows that everything has come, go through the same stream: nothing else is in order with it. A server that is not in a
cluster stores and republishes in the task of each client that publishes, so that two of them may come in the wrong
order, a moment apart: `Ordering` holds everything for that long. What comes later still is noticed (Arrivals).

    <prefix>.l.<lane>          what is appended            ──►  <prefix>.r.<lane>
    <prefix>.l.all             announcements               ──►  <prefix>.r.all
    <prefix>.l.sync.<node>     a node's marks, the last    ──►  <prefix>.r.sync.<node>
    <prefix>.n.<node>          what is sent to one node; not stored

An entry's first offset is its number in the stream times SPAN: it may take as many offsets as that.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import ssl
from typing import TYPE_CHECKING, Any

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RePublish,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from valtronics_fast.backplanes.addresses import parse_address
from valtronics_fast.backplanes.envelope import MAX_PACKETS
from valtronics_fast.backplanes.log import Batch, Entry, Kept, LogError
from valtronics_fast.backplanes.ordering import Ordering
from valtronics_fast.logging import fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext
    from nats.js.api import StreamInfo

    from valtronics_fast.backplanes.log import Receiver
    from valtronics_fast.config import BackplaneConfig

__all__ = ["SPAN", "NatsLog"]

SPAN = MAX_PACKETS
"""Offsets between one entry of the stream and the next one."""

TIMEOUT = 3.0
"""Seconds that NATS has to answer."""

READS = 8
"""Lanes that are read at a time."""

_SEQUENCE = b"\nNats-Sequence: "
_log = logging.getLogger(__name__)


class _Ack(msgspec.Struct):
    """What JetStream answers to something that is to be stored."""

    seq: int = 0
    error: dict[str, Any] | None = None


class _Reading:
    """What comes of a lane that is read."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.done = asyncio.Event()


class _Client(Client):
    """Hands on what comes in the order in which it comes.

    The library has a queue and a task for each subscription, which loses the order between them. This is the one
    place through which everything goes; tests/backplanes/test_nats_log.py fails if it no longer does.

    Args:
        take: gets subject, reply, data and headers; returns whether that was all that was to be done.
    """

    def __init__(self, take: Callable[[bytes, bytes, bytes, bytes], bool]) -> None:
        super().__init__()
        self._take = take

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if not self._take(subject, reply, data, headers):
            await super()._process_msg(sid, subject, reply, data, headers)


class NatsLog:
    """A log on NATS.

    Args:
        config: the settings.
    """

    name = "nats"

    def __init__(self, config: BackplaneConfig) -> None:
        self._address = parse_address(config.url)
        self._entries = config.entries
        self._prefix = config.prefix
        self._stream = f"{config.prefix}-log"
        self._client: _Client | None = None
        self._js: JetStreamContext
        self._receiver: Receiver
        self._node = ""
        self._inbox = b""
        self._numbers = itertools.count(1)
        self._acks: dict[bytes, asyncio.Future[int]] = {}
        self._syncs: dict[bytes, asyncio.Future[int]] = {}
        self._readings: dict[bytes, _Reading] = {}
        self._followed: dict[int, Subscription] = {}
        self._kept = 0
        self._ordering = Ordering(self._in_order)
        republished = f"{config.prefix}.r."
        self._lanes = {f"{republished}{lane}".encode(): lane for lane in range(256)}
        self._republished = republished.encode()
        self._stored = f"{config.prefix}.l.".encode()
        self._all = f"{republished}all".encode()

    async def open(self, node: str, receiver: Receiver, epoch: str, position: int) -> str:
        """Connect to one of the servers, and find the stream or make it."""
        self._receiver = receiver
        self._node = node
        client = self._client = await self._connect()
        self._js = client.jetstream(timeout=TIMEOUT)
        inbox = client.new_inbox()
        self._inbox = f"{inbox}.".encode()
        for name in ("ack.*", "read"):  # a consumer does not see that a pattern would do for both
            await self._call(client.subscribe(f"{inbox}.{name}"))
        for name in (f"n.{node}", "r.all", f"r.sync.{node}"):
            await self._call(client.subscribe(f"{self._prefix}.{name}"))
        info = await self._find_stream()
        found = f"{info.created}" if info.created is not None else ""
        if found == epoch and (info.state.last_seq + 1) * SPAN <= position:
            # It has less than it had: another order of things.
            await self._call(self._js.delete_stream(self._stream))
            info = await self._find_stream()
            found = f"{info.created}"
        self._kept = info.config.max_msgs_per_subject or 0
        if self._kept != self._entries:
            _log.warning(
                "the stream keeps another number of entries than backplane.entries says, until it is deleted",
                extra=fields(stream=self._stream, entries=self._kept),
            )
        return found

    async def _connect(self) -> _Client:
        """Connect to the first server that answers."""
        address, options = self._address, self._address.options
        more: dict[str, Any] = {}
        if address.tls:
            more["tls"] = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
            if "ssl_certfile" in options:
                more["tls"].load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
        if address.password is not None:
            more |= {"user": address.user or "", "password": address.password}
        elif address.user is not None:
            more["token"] = address.user
        if "credentials" in options:
            more["user_credentials"] = options["credentials"]
        problem: LogError | None = None
        hosts = list(address.hosts)
        random.shuffle(hosts)
        for host, port in hosts:
            client = _Client(self._take)
            place = f"[{host}]" if ":" in host else host
            try:
                await self._call(
                    client.connect(
                        f"{'tls' if address.tls else 'nats'}://{place}:{port}",
                        allow_reconnect=False,
                        connect_timeout=int(TIMEOUT),
                        error_cb=_ignore,
                        closed_cb=self._closed,
                        name="valtronics-fast",
                        **more,
                    )
                )
            except LogError as error:
                problem = error
                await _end(client)
            else:
                return client
        raise problem or LogError("NATS: no server")

    async def _find_stream(self) -> StreamInfo:
        with contextlib.suppress(NotFoundError):
            info: StreamInfo = await self._request(self._js.stream_info(self._stream))
            return info
        config = StreamConfig(
            name=self._stream,
            subjects=[f"{self._prefix}.l.>"],
            max_msgs_per_subject=self._entries,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
            num_replicas=int(self._address.options.get("replicas", "1")),
            republish=RePublish(src=f"{self._prefix}.l.>", dest=f"{self._prefix}.r.>"),
            allow_rollup_hdrs=True,
        )
        with contextlib.suppress(LogError):  # another node may have been faster, with other settings
            await self._call(self._js.add_stream(config))
        made: StreamInfo = await self._call(self._js.stream_info(self._stream))
        return made

    async def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        for waiting in (*self._acks.values(), *self._syncs.values()):
            if not waiting.done():
                waiting.set_exception(LogError("NATS: the connection was closed"))
                waiting.exception()  # nobody may be left who waits for it
        self._acks.clear()
        self._syncs.clear()
        self._followed.clear()
        self._ordering.clear()
        if client is not None:
            await _end(client)

    async def _closed(self) -> None:
        if self._client is not None:
            self._receiver.lost(LogError("NATS: the connection is gone"))

    async def append(self, batches: Sequence[Batch]) -> None:
        """Have all stored, and wait for all."""
        await self._store([(f"{self._prefix}.l.{batch.lane}", batch.blob, None) for batch in batches])

    async def announce(self, data: bytes) -> None:
        """Have it stored where all nodes listen."""
        await self._store([(f"{self._prefix}.l.all", data, None)])

    async def send(self, node: str, data: bytes) -> None:
        """Publish on a node's own subject."""
        await self._call(self._nats().publish(f"{self._prefix}.n.{node}", data))

    async def follow(self, lanes: Collection[int]) -> None:
        """Subscribe to what is republished of lanes; `sync` has every server know of it."""
        client = self._nats()
        for lane in lanes:
            if lane not in self._followed:
                self._followed[lane] = await self._call(client.subscribe(f"{self._prefix}.r.{lane}"))
        await self._call(client.flush(int(TIMEOUT)))

    async def unfollow(self, lanes: Collection[int]) -> None:
        """End subscriptions."""
        client = self._nats()
        for lane in lanes:
            if (subscription := self._followed.pop(lane, None)) is not None:
                await self._call(subscription.unsubscribe())
        await self._call(client.flush(int(TIMEOUT)))

    async def sync(self) -> int:
        """Have a mark stored, of which the stream keeps the last one, and wait until it comes back."""
        number = str(next(self._numbers)).encode()
        come: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._syncs[number] = come
        try:
            await self._store([(f"{self._prefix}.l.sync.{self._node}", number, {"Nats-Rollup": "sub"})])
            async with asyncio.timeout(TIMEOUT):
                return await come
        except TimeoutError:
            raise LogError("NATS: what was stored has not come") from None
        finally:
            self._syncs.pop(number, None)

    async def read(self, lanes: Collection[int], after: int | None) -> dict[int, Kept]:
        """Read lanes from the stream, each with a consumer of its own."""
        if not lanes:
            return {}
        gate = asyncio.Semaphore(READS)

        async def read(lane: int) -> list[Entry]:
            async with gate:
                return await self._read(lane, 0 if after is None else after // SPAN)

        found = await asyncio.gather(*[read(lane) for lane in lanes])
        info = await self._call(self._js.stream_info(self._stream, subjects_filter=f"{self._prefix}.l.*"))
        counts = info.state.subjects or {}
        kept = {}
        for lane, entries in zip(lanes, found, strict=True):
            count = counts.get(f"{self._prefix}.l.{lane}", 0)
            # Nothing was cut off as long as there is room; and nothing behind what is there and was not asked for.
            is_cut = entries and count >= self._kept and len(entries) >= count
            kept[lane] = Kept(entries[0].offset - 1 if is_cut else 0, entries)
        return kept

    async def _read(self, lane: int, sequence: int) -> list[Entry]:
        client = self._nats()
        name = f"read-{self._node}-{next(self._numbers)}"
        reading = self._readings[name.encode()] = _Reading()
        config = ConsumerConfig(
            name=name,
            deliver_subject=f"{self._inbox.decode()}read",
            filter_subject=f"{self._prefix}.l.{lane}",
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=max(1, sequence),
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            num_replicas=1,
        )
        try:
            info = await self._call(self._js.add_consumer(self._stream, config))
            is_empty = not info.num_pending and not (info.delivered and info.delivered.consumer_seq)
            if is_empty and not reading.entries:
                return []
            async with asyncio.timeout(TIMEOUT):
                await reading.done.wait()
        except TimeoutError:
            raise LogError("NATS: a lane could not be read") from None
        finally:
            del self._readings[name.encode()]
            if self._client is not None:  # it would go by itself, some seconds later
                with contextlib.suppress(LogError):
                    await self._call(client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}"))
        return reading.entries

    def _nats(self) -> _Client:
        if self._client is None:
            raise LogError("NATS: not connected")
        return self._client

    async def _store(self, messages: Sequence[tuple[str, bytes, dict[str, str] | None]]) -> None:
        """Have messages stored in order; return when all are."""
        client, loop = self._nats(), asyncio.get_running_loop()
        acks: list[asyncio.Future[int]] = []
        replies = []
        try:
            for subject, data, headers in messages:
                reply = self._inbox + b"ack.%d" % next(self._numbers)
                replies.append(reply)
                ack = self._acks[reply] = loop.create_future()
                acks.append(ack)
                await self._call(client.publish(subject, data, reply=reply.decode(), headers=headers))
            async with asyncio.timeout(TIMEOUT):
                for ack in acks:
                    await ack
        except TimeoutError:
            raise LogError("NATS: it has not said that it has stored something") from None
        finally:
            for reply in replies:
                self._acks.pop(reply, None)
            for ack in acks:
                if ack.done() and not ack.cancelled():
                    ack.exception()

    async def _request(self, work: Awaitable[Any]) -> Any:
        """Await what NATS does; all errors but NotFoundError become the log's."""
        try:
            return await work
        except NotFoundError:
            raise
        except (NatsError, OSError, TimeoutError, ssl.SSLError, ValueError, AttributeError) as error:
            raise LogError(f"NATS: {type(error).__name__}: {error}") from error

    async def _call(self, work: Awaitable[Any]) -> Any:
        """Await what NATS does; its errors become the log's."""
        try:
            return await self._request(work)
        except NotFoundError as error:
            raise LogError(f"NATS: {error}") from error

    # --- what comes

    def _take(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> bool:
        try:
            return self._hand_on(subject, reply, data, headers)
        except Exception as error:  # noqa: BLE001 - whatever it is, the log is opened again
            _log.exception("what came from NATS could not be read")
            self._receiver.lost(error)
            return True

    def _hand_on(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> bool:
        if subject.startswith(self._republished):
            self._ordering.add(_sequence(headers), (subject, data))
        elif subject.startswith(self._inbox):
            self._answered(subject, data)
        elif subject.endswith(self._node.encode()) and subject.startswith(f"{self._prefix}.n.".encode()):
            self._receiver.told(data)
        elif subject.startswith(self._stored):
            self._read_one(reply, data)
        else:
            return False
        return True

    def _in_order(self, sequence: int, message: tuple[bytes, bytes]) -> None:
        """Hand on what was republished."""
        subject, data = message
        lane = self._lanes.get(subject)
        if lane is not None:
            self._receiver.received(lane, sequence * SPAN, data)
        elif subject == self._all:
            self._receiver.heard(data, sequence * SPAN)
        elif (come := self._syncs.get(data)) is not None and not come.done():
            come.set_result(sequence * SPAN)

    def _read_one(self, reply: bytes, data: bytes) -> None:
        """Take what is read: the reply has the consumer's name, the number in the stream, and how many come yet."""
        tokens = reply.split(b".")
        at = 3 if len(tokens) == 9 else 5  # $JS.ACK.<stream>.<consumer>...; newer ones have two more in front
        if (reading := self._readings.get(tokens[at])) is not None:
            reading.entries.append(Entry(int(tokens[at + 2]) * SPAN, data))
            if tokens[at + 5] == b"0":
                reading.done.set()

    def _answered(self, subject: bytes, data: bytes) -> None:
        """Take an acknowledgement."""
        ack = self._acks.get(subject)
        if ack is None or ack.done():
            return
        if not data:
            ack.set_exception(LogError("NATS: nobody stores it"))
            return
        answer = msgspec.json.decode(data, type=_Ack)
        if answer.error is not None:
            ack.set_exception(LogError(f"NATS: {answer.error.get('description')}"))
        else:
            ack.set_result(answer.seq)


def _sequence(headers: bytes) -> int:
    """Return the number that a republished message has in the stream."""
    begin = headers.index(_SEQUENCE) + len(_SEQUENCE)
    return int(headers[begin : headers.index(b"\r", begin)])


async def _ignore(_: Exception) -> None:
    """Who asked is told by an error of what was asked."""


async def _end(client: _Client) -> None:
    with contextlib.suppress(NatsError, OSError, TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(TIMEOUT):
            await client.close()
