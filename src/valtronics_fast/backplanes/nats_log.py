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
from typing import TYPE_CHECKING, Any

import msgspec
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from valtronics_fast.backplanes.addresses import parse_address
from valtronics_fast.backplanes.envelope import MAX_PACKETS
from valtronics_fast.backplanes.log import Batch, Entry, Kept, LogError
from valtronics_fast.backplanes.nats_servers import TIMEOUT, OrderedClient, call, connect, end, find_stream
from valtronics_fast.backplanes.ordering import Ordering
from valtronics_fast.logging import fields

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext

    from valtronics_fast.backplanes.log import Receiver
    from valtronics_fast.config import BackplaneConfig

__all__ = ["SPAN", "NatsLog"]

SPAN = MAX_PACKETS
"""Offsets between one entry of the stream and the next one."""

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
        self._replicas = int(self._address.options.get("replicas", "1"))
        self._client: OrderedClient | None = None
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
        client = self._client = await connect(self._address, self._take, self._closed)
        self._js = client.jetstream(timeout=TIMEOUT)
        inbox = client.new_inbox()
        self._inbox = f"{inbox}.".encode()
        for name in ("ack.*", "read"):  # a consumer does not see that a pattern would do for both
            await call(client.subscribe(f"{inbox}.{name}"))
        for name in (f"n.{node}", "r.all", f"r.sync.{node}"):
            await call(client.subscribe(f"{self._prefix}.{name}"))
        info = await find_stream(self._js, self._stream, self._prefix, self._entries, self._replicas)
        found = f"{info.created}" if info.created is not None else ""
        if found == epoch and (info.state.last_seq + 1) * SPAN <= position:
            # It has less than it had: another order of things.
            await call(self._js.delete_stream(self._stream))
            info = await find_stream(self._js, self._stream, self._prefix, self._entries, self._replicas)
            found = f"{info.created}"
        self._kept = info.config.max_msgs_per_subject or 0
        if self._kept != self._entries:
            _log.warning(
                "the stream keeps another number of entries than backplane.entries says, until it is deleted",
                extra=fields(stream=self._stream, entries=self._kept),
            )
        return found

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
            await end(client)

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
        await call(self._nats().publish(f"{self._prefix}.n.{node}", data))

    async def follow(self, lanes: Collection[int]) -> None:
        """Subscribe to what is republished of lanes; `sync` has every server know of it."""
        client = self._nats()
        for lane in lanes:
            if lane not in self._followed:
                self._followed[lane] = await call(client.subscribe(f"{self._prefix}.r.{lane}"))
        await call(client.flush(int(TIMEOUT)))

    async def unfollow(self, lanes: Collection[int]) -> None:
        """End subscriptions."""
        client = self._nats()
        for lane in lanes:
            if (subscription := self._followed.pop(lane, None)) is not None:
                await call(subscription.unsubscribe())
        await call(client.flush(int(TIMEOUT)))

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
        info = await call(self._js.stream_info(self._stream, subjects_filter=f"{self._prefix}.l.*"))
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
            info = await call(self._js.add_consumer(self._stream, config))
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
                    await call(client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}"))
        return reading.entries

    def _nats(self) -> OrderedClient:
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
                await call(client.publish(subject, data, reply=reply.decode(), headers=headers))
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
