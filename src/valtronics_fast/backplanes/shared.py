"""The backplane of a server that is one of several: a log that all of them append to and read.

What is published is appended to the log, and delivered when it comes back from there, so that all nodes have the same
order and the same offsets. While the log is away what is published here is delivered here at once, without an offset,
and waits for the log, bounded; when the log is back, what was missed is read from it. Where something can't be had any
more, that is noticed by the numbers of the envelopes, and the clients get a `resync` and a snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from valtronics_fast._core.packet import PacketError
from valtronics_fast.backplanes.arrivals import Arrivals
from valtronics_fast.backplanes.dumps import Dumps
from valtronics_fast.backplanes.interest import Interest
from valtronics_fast.backplanes.loading import Loading, lanes_of
from valtronics_fast.backplanes.log import Entry, LogError
from valtronics_fast.backplanes.members import INTERVAL, Heartbeat, Members
from valtronics_fast.backplanes.outgoing import Outgoing
from valtronics_fast.backplanes.pulse import SILENCE, Pulse
from valtronics_fast.backplanes.sequences import Sequences
from valtronics_fast.logging import fields, limited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Mapping

    from valtronics_fast._core.hub import Hub
    from valtronics_fast._core.lanes import Lanes
    from valtronics_fast.backplanes.log import Log
    from valtronics_fast.config import BackplaneConfig

__all__ = ["SharedBackplane"]

LANES = 256

RETRY = (0.5, 10.0)
"""Seconds between two attempts to reach the log: first, and at most; each is shortened by up to a half, by chance."""

GOODBYE = 2.0
"""Seconds that what waits has at the end to reach the log."""

_log = logging.getLogger(__name__)
_complaints = limited("valtronics_fast.backplanes.complaints")


class SharedBackplane:
    """Carries what is published over a log.

    Args:
        log: which one.
        config: the settings.
    """

    shared = True

    def __init__(self, log: Log, config: BackplaneConfig) -> None:
        self.name = log.name
        self._log = log
        self._patience = config.patience
        self._node = secrets.randbits(64)
        self._outgoing = Outgoing(self._node, config.buffer)
        self._sequences = Sequences()
        self._members = Members()
        self._dumps = Dumps(self._node, self._send, self._dump)
        self._loading = Loading(self._node, log, self._dumps, self._members, self._sequences)
        self._arrivals = Arrivals(self._node, self._sequences, self._members, self._dumps, self._spawn)
        self._hub: Hub
        self._lanes: Lanes
        self._open = False
        self._arrived: list[tuple[int, Entry]] | None = None  # while the log is being opened: what has come meanwhile
        self._pulse = Pulse()
        self._interest = Interest()
        self._drained = asyncio.Event()
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._appender: asyncio.Task[None] | None = None
        self._delivered_apart = 0
        self._losses = 0

    # --- what the server calls

    async def start(self, hub: Hub) -> None:
        """Begin to carry; returns when the log is there, and after `backplane.patience` if it is not."""
        self._hub = hub
        self._lanes = lanes_of(hub)
        self._arrivals.hub = hub
        self._drained.set()
        opened = asyncio.Event()
        self._runner = asyncio.create_task(self._run(opened), name="backplane")
        # Most often it is there: then the first client is not served without it.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await opened.wait()

    async def stop(self) -> None:
        """Give the log what waits for it, as far as it takes it soon, and end."""
        if self._runner is None:
            return
        with suppress(TimeoutError, LogError):
            async with asyncio.timeout(GOODBYE):
                if self._open:
                    await self._drained.wait()
                    await self._log.announce(msgspec.json.encode(self._heartbeat(leaving=True)))
        runner, self._runner = self._runner, None
        tasks = [runner, *self._tasks] if self._appender is None else [runner, self._appender, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._open = False
        await self._log.close()

    def publish(self, message: Mapping[str, object], /) -> int:
        """Publish on every node that follows the message's lane.

        Returns:
            0 as long as the log is there: what matches is known when the message comes back from it.
        """
        lane, packet = self._hub.pack(message)
        self._outgoing.add(lane, packet, apart=not self._open)
        self._drained.clear()
        self._interest.publish(lane, self._pulse.number)
        if not self._open:
            self._delivered_apart += 1
            return self._hub.receive(packet, 0)
        if self._appender is None or self._appender.done():
            self._appender = asyncio.ensure_future(self._append())
        return 0

    async def settled(self) -> None:
        """Wait until the log has taken everything that has been published, for `backplane.patience` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._drained.wait()

    async def follow(self, lanes: list[int], offset: int) -> None:
        """Follow lanes, and wait for an offset, for `backplane.patience` at most."""
        try:
            async with asyncio.timeout(self._patience):
                if self._open:
                    await self._loading.load(self._hub, lanes)
                    if offset > self._hub.log_position:
                        await self._pass_barrier()
        except (TimeoutError, LogError) as error:
            _complaints.warning("lanes could not be followed", extra=fields(lanes=len(lanes), problem=error))

    def ready(self) -> bool:
        """Say whether the log is there and nothing is missing."""
        return self._open

    def stats(self) -> dict[str, int | bool | str]:
        """Return counters since the start, and what is at hand."""
        return {
            "connected": self._open,
            "epoch": self._hub.epoch,
            "position": self._hub.log_position,
            "nodes": len(self._members),
            "lanes": len(self._followed()),
            "loaded": self._loading.loaded,
            "waiting_bytes": self._outgoing.size,
            "dropped": self._outgoing.dropped,
            "dumps_given": self._dumps.given,
            "dumps_taken": self._dumps.taken,
            "repeated": self._arrivals.repeated,
            "garbage": self._arrivals.garbage,
            "resyncs": self._arrivals.resyncs,
            "delivered_apart": self._delivered_apart,
            "losses": self._losses,
        }

    # --- what the log calls

    def received(self, lane: int, offset: int, blob: bytes, /) -> None:
        """Deliver what has come, or keep it until its lane is known."""
        if self._arrived is not None:
            self._arrived.append((lane, Entry(offset, blob)))
        elif lane in self._loading.lanes:
            self._loading.arrived.append((lane, Entry(offset, blob)))
        else:
            self._arrivals.take(lane, offset, blob)

    def heard(self, data: bytes, offset: int, /) -> None:
        """Take a heartbeat."""
        try:
            heartbeat = msgspec.json.decode(data, type=Heartbeat)
            self._note(heartbeat, offset)
        except (msgspec.MsgspecError, ValueError):
            self._arrivals.refuse("heartbeat")

    def told(self, data: bytes, /) -> None:
        """Take what another node has sent to this one."""
        try:
            answer = self._dumps.told(data)
        except PacketError:
            self._arrivals.refuse("message")
            return
        if answer is not None:
            self._spawn(self._give(answer))

    def lost(self, error: Exception, /) -> None:
        """The connection to the log is gone."""
        if not self._ended.is_set():
            self._ended.set()
            _complaints.warning("the backplane is gone", extra=fields(limit_key="lost", problem=error))

    # --- heartbeats

    def _note(self, heartbeat: Heartbeat, offset: int) -> None:
        """Note a heartbeat: this node's own says that the log works, another's what should have come."""
        now = asyncio.get_running_loop().time()
        if self._arrived is None:
            self._hub.advance_log(offset)
        if heartbeat.node == self._node:
            self._pulse.come_back(heartbeat.number, now)
            return
        if heartbeat.number == 1 and not heartbeat.leaving:
            self._sequences.begin(heartbeat.node, filter(self._is_followed, range(LANES)))
        self._members.note(heartbeat, now)
        if self._arrived is not None:
            return
        missed = [
            lane
            for lane, sequence in heartbeat.sequences.items()
            if self._is_followed(lane) and not self._sequences.reach(heartbeat.node, lane, sequence)
        ]
        if missed:
            self._arrivals.miss(missed)

    # --- the way out

    async def _append(self) -> None:
        """Append what waits, one piece after the other; what gathers meanwhile goes with the next one."""
        await asyncio.sleep(0)  # the turn's other messages come with it
        try:
            while self._open and self._outgoing:
                batches = self._outgoing.take()
                await self._log.append(batches)
                for sealed in self._outgoing.acknowledge(len(batches)):
                    if not self._is_followed(sealed.lane):  # then it does not come back
                        self._arrivals.apart.discard((sealed.lane, sealed.envelope.sequence))
        except LogError as error:
            self.lost(error)
            return
        if not self._outgoing:
            self._drained.set()

    async def _send(self, node: int, data: bytes) -> None:
        await self._log.send(f"{node:016x}", data)

    async def _give(self, answer: Awaitable[None]) -> None:
        """Answer another node."""
        try:
            await answer
        except LogError as error:
            self.lost(error)

    def _dump(self, lanes: list[int]) -> tuple[dict[int, bytes], int]:
        return self._hub.dump(lanes), self._hub.log_position

    def _heartbeat(self, *, leaving: bool = False) -> Heartbeat:
        """Return the next heartbeat."""
        self._pulse.number += 1
        taken = self._outgoing.acknowledged
        return Heartbeat(
            node=self._node,
            number=self._pulse.number,
            follows=f"{sum(1 << lane for lane in self._followed()):x}",
            sequences={lane: taken[lane] for lane in self._interest.recent(self._pulse.number) if lane in taken},
            leaving=leaving,
        )

    async def _pass_barrier(self) -> None:
        """Wait until everything has come that the log has up to now."""
        heartbeat = self._heartbeat()
        passed = self._pulse.barrier()
        await self._log.announce(msgspec.json.encode(heartbeat))
        await passed

    # --- interest

    def _is_followed(self, lane: int) -> bool:
        return self._lanes.is_followed(lane)

    def _followed(self) -> list[int]:
        return [lane for lane in range(LANES) if self._is_followed(lane)]

    def _look_after_interest(self, now: float) -> None:
        """Follow what is needed here and is not followed, and leave what has not been needed for long."""
        missing, idle = self._interest.judge(self._lanes.wanted(), self._followed(), now)
        if missing:
            self._spawn(self.follow(missing, 0))
        if idle:
            self._spawn(self._leave(idle))

    async def _leave(self, lanes: list[int]) -> None:
        """Follow lanes no longer."""
        with suppress(LogError):
            await self._loading.leave(self._hub, lanes)

    # --- the life of the connection

    async def _run(self, opened: asyncio.Event) -> None:
        """Keep the log open, from one loss to the next one."""
        delay = RETRY[0]
        while True:
            self._ended.clear()
            try:
                await self._connect()
                opened.set()
                delay = RETRY[0]
                await self._beat()
            except LogError as error:
                _complaints.warning("no backplane", extra=fields(limit_key="away", problem=error))
            self._go_apart()
            await self._log.close()
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - no secret
            delay = min(2 * delay, RETRY[1])

    async def _connect(self) -> None:
        """Open the log, and take what was missed since it was open the last time."""
        hub = self._hub
        followed = self._followed()
        before = hub.log_position
        read: list[tuple[int, list[Entry]]] = []
        self._arrived = []
        try:
            opened = await self._log.open(f"{self._node:016x}", self)
            is_same = opened.epoch == hub.epoch and opened.head >= before
            if followed:
                await self._log.follow(followed)
                if is_same:
                    read = await asyncio.gather(*[self._log.read(lane, before) for lane in followed])
        finally:
            arrived, self._arrived = self._arrived, None
        entries = {entry.offset: (lane, entry) for lane, entry in arrived}
        missed = followed
        if is_same:
            missed = [lane for lane, (floor, _) in zip(followed, read, strict=True) if floor > before]
            for lane, (_, found) in zip(followed, read, strict=True):
                entries.update({entry.offset: (lane, entry) for entry in found if entry.offset > before})
        else:
            hub.begin_log(opened.epoch, opened.head)
            self._sequences.clear()
        self._outgoing.seal(apart=True)
        self._arrivals.apart = {(one.lane, one.envelope.sequence) for one in self._outgoing.waiting() if one.apart}
        for offset in sorted(entries):
            lane, entry = entries[offset]
            self._arrivals.take(lane, *entry)
        if missed:
            self._arrivals.miss(missed)
        self._pulse.excuse(asyncio.get_running_loop().time())
        self._open = True
        if self._outgoing:
            self._appender = asyncio.ensure_future(self._append())
        _log.info("the backplane is there", extra=fields(name=self.name, epoch=hub.epoch, missed=len(missed)))

    async def _beat(self) -> None:
        """Announce this node until the log is lost; LogError says that it is."""
        loop = asyncio.get_running_loop()
        while not self._ended.is_set():
            await self._log.announce(msgspec.json.encode(self._heartbeat()))
            slept_at = loop.time()
            self._look_after_interest(slept_at)
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._ended.wait()
            now = loop.time()
            if now - slept_at > SILENCE:  # the process stood still, and may yet hear what has come meanwhile
                self._pulse.excuse(now)
            elif self._pulse.is_silent(now):
                raise LogError("it does not answer")
            self._members.prune(now)

    def _go_apart(self) -> None:
        """The log is away: deliver what was on its way there."""
        was_open, self._open = self._open, False
        self._members.clear()
        self._pulse.fail()
        if not was_open:
            return
        self._losses += 1
        for sealed in self._outgoing.waiting():
            if not sealed.apart and self._sequences.last(self._node, sealed.lane) < sealed.envelope.sequence:
                sealed.apart = True
                self._delivered_apart += sealed.envelope.count
                self._hub.receive(sealed.envelope.packets, 0)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
