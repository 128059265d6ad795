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
from valtronics_fast.backplanes.appending import Appender
from valtronics_fast.backplanes.arrivals import Arrivals
from valtronics_fast.backplanes.dumps import Dumps
from valtronics_fast.backplanes.election import Election
from valtronics_fast.backplanes.gaps import Gaps
from valtronics_fast.backplanes.interest import Interest
from valtronics_fast.backplanes.loading import Loading, lanes_of
from valtronics_fast.backplanes.log import Entry, LogError
from valtronics_fast.backplanes.members import LIFETIME, Heartbeat, Members, mask_of
from valtronics_fast.backplanes.outgoing import Outgoing, Sealed
from valtronics_fast.backplanes.presence import Presence, connections_elsewhere, nobody
from valtronics_fast.backplanes.pulse import Pulse
from valtronics_fast.backplanes.rejoining import Rejoining
from valtronics_fast.backplanes.sequences import Sequences
from valtronics_fast.logging import fields, limited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from valtronics_fast._core.hub import Hub
    from valtronics_fast._core.lanes import Lanes
    from valtronics_fast._core.packet import LatestDump
    from valtronics_fast.backplanes.log import Log
    from valtronics_fast.config import BackplaneConfig

__all__ = ["SharedBackplane"]

RETRY = (0.25, 1.0)
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

    Attributes:
        election: which roles this node plays among them.
    """

    shared = True

    def __init__(self, log: Log, config: BackplaneConfig) -> None:
        self.name = log.name
        self._log = log
        self._patience = config.patience
        self._node = 1 + secrets.randbelow(2**63 - 1)
        self._outgoing = Outgoing(self._node, config.buffer)
        self._sequences = Sequences()
        self._members = Members()
        self.election = Election(self._node, self._members)
        self._dumps = Dumps(self._node, self._members, self._send, self._dump)
        self._loading = Loading(log, self._dumps, self._sequences, self._sync)
        self._gaps = Gaps(self._dumps, self._sync_own)
        self._arrivals = Arrivals(self._node, self._sequences, self._gaps)
        self._presence: Callable[[], Presence]
        self._hub: Hub
        self._lanes: Lanes
        self._open = False
        self._rejoining = Rejoining(log, self._outgoing, self._arrivals, self._gaps)
        self._pulse = Pulse()
        self._interest = Interest()
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._appender = Appender(log, self._outgoing, config.patience, self._taken, self.lost)
        self._delivered_apart = self._losses = 0

    # --- what the server calls

    async def start(self, hub: Hub, presence: Callable[[], Presence] = nobody) -> None:
        """Begin to carry; returns when the log is there, and after `backplane.patience` if it is not."""
        self._hub = self._arrivals.hub = self._gaps.hub = self._loading.hub = hub
        self._lanes = lanes_of(hub)
        self._presence, self._machine = presence, presence().machine
        self._appender.lose()
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
                    await self._outgoing.settle()
                    await self._log.announce(msgspec.json.encode(self._heartbeat(leaving=True)))
        runner, self._runner = self._runner, None
        self._pulse.lose()  # a cancellation may get lost in a library: then the runner ends of itself
        self._appender.lose()
        for task in (tasks := [runner, *self._tasks]):
            task.cancel()
        ends = (self._appender.ended(), self._gaps.stop(), self._loading.stop())
        await asyncio.gather(*tasks, *ends, return_exceptions=True)
        self._open = False
        await self._log.close()

    def publish(self, message: Mapping[str, object], /) -> int:
        """Publish on every node that follows the message's lane.

        Returns:
            0 as long as the log is there: what matches is known when the message comes back from it.
        """
        lane, packet = self._hub.pack(message)
        self._outgoing.add(lane, packet, apart=not self._open)
        self._interest.publish(lane, self._pulse.number)
        if not self._open:
            self._delivered_apart += 1
            return self._hub.receive(packet, 0)
        if not self._pulse.is_lost:
            self._appender.wake()
        return 0

    async def settled(self) -> bool:
        """Wait until the log has taken what has been published; while it is away, `backplane.patience` in all."""
        return await self._appender.settled()

    def congested(self) -> bool:
        """Say whether more than half of `backplane.buffer` waits for the log."""
        return self._outgoing.is_congested()

    async def follow(self, lanes: list[int], offset: int) -> None:
        """Follow lanes, and wait for an offset, for `backplane.patience` at most."""
        try:
            async with asyncio.timeout(self._patience):
                if self._open:
                    await self._loading.load(lanes)
                    if offset > self._hub.log_position:
                        await self._sync()
        except (TimeoutError, LogError) as error:
            _complaints.warning("lanes could not be followed", extra=fields(lanes=len(lanes), problem=error))
            self._spawn(self._follow_late(lanes))

    def connections_elsewhere(self, user: str) -> int:
        """Return how many connections a user has on other machines, as of their last heartbeats."""
        return connections_elsewhere(user, self._members.heartbeats(), self._machine)

    def ready(self) -> bool:
        """Say whether the log is there and nothing is missing."""
        return self._open

    def stats(self) -> dict[str, int | bool | str]:
        """Return counters since the start, and what is at hand."""
        return {
            "node": f"{self._node:016x}",
            "connected": self._open,
            "epoch": self._hub.epoch,
            "position": self._hub.log_position,
            "nodes": len(self._members),
            "lanes": len(self._lanes.following()),
            "loaded": self._loading.loaded,
            **self._outgoing.stats(),
            **self._dumps.stats(),
            **self._arrivals.stats(),
            "resyncs": self._gaps.resyncs,
            "delivered_apart": self._delivered_apart,
            "losses": self._losses,
        }

    # --- what the log calls

    def received(self, lane: int, offset: int, blob: bytes, /) -> None:
        """Deliver what has come, or keep it until its lane is known."""
        if self._rejoining.gathering is not None:
            self._rejoining.gathering.add(lane, Entry(offset, blob))
        elif not self._open:  # it is read when the log is open again
            pass
        elif lane in self._loading.lanes:
            self._loading.arrive(lane, Entry(offset, blob))
        elif self._lanes.is_followed(lane):
            expected = len(self._arrivals.apart)
            self._arrivals.take(lane, offset, blob)
            if expected and not self._arrivals.apart:
                self._hub.rejoin_log()

    def heard(self, data: bytes, offset: int, /) -> None:
        """Take a heartbeat."""
        try:
            heartbeat = msgspec.json.decode(data, type=Heartbeat)
        except msgspec.MsgspecError:
            self._arrivals.refuse("heartbeat")
            return
        if self._open:
            self._hub.advance_log(offset)
        if heartbeat.node == self._node:
            self._pulse.come_back(asyncio.get_running_loop().time())
        else:
            self._note(heartbeat)

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
        if not self._pulse.is_lost:
            self._pulse.lose()
            _complaints.warning("the backplane is gone", extra=fields(limit_key="lost", problem=error))

    # --- the others

    def _note(self, heartbeat: Heartbeat) -> None:
        """Note another node's heartbeat: who it is, and what should have come from it."""
        node = heartbeat.node
        self._sequences.touch(node)
        if heartbeat.number == 1 and not heartbeat.leaving:
            self._sequences.begin(node, self._lanes.following())
        now = asyncio.get_running_loop().time()
        is_new = self._members.note(heartbeat, now)
        if heartbeat.greets:
            self._pulse.answer()
        if not self._open:
            return
        missed = [
            lane
            for lane, sequence in heartbeat.sequences.items()
            if self._lanes.is_followed(lane) and not self._sequences.reach(node, lane, sequence)
        ]
        if missed:
            self._gaps.miss(missed, node)
        if is_new and (doubtful := self._loading.doubt(heartbeat.lanes(), now - LIFETIME)):
            self._gaps.miss(doubtful, node)

    async def _send(self, node: int, data: bytes) -> None:
        await self._log.send(f"{node:016x}", data)

    async def _give(self, answer: Awaitable[None]) -> None:
        try:
            await answer
        except LogError as error:
            self.lost(error)

    async def _dump(self, lanes: list[int], position: int) -> tuple[list[int], LatestDump, int]:
        if self._hub.log_position < position:
            await self._sync()
        followed = [lane for lane in lanes if self._lanes.is_followed(lane)]
        return followed, self._hub.dump(followed), self._hub.log_position

    def _heartbeat(self, *, greets: bool = False, leaving: bool = False) -> Heartbeat:
        """Return the next heartbeat."""
        number = self._pulse.number
        taken = self._outgoing.acknowledged
        return Heartbeat(
            node=self._node,
            number=number,
            follows=mask_of(self._lanes.following()),
            sequences={lane: taken[lane] for lane in self._interest.recent(number) if lane in taken},
            stands=self.election.stands,
            plays=tuple(self.election.plays),
            greets=greets,
            leaving=leaving,
            **self._presence()._asdict(),
        )

    # --- the way out

    def _taken(self, sealed: Sealed) -> None:
        if not self._lanes.is_followed(sealed.lane):  # then it does not come back
            self._arrivals.apart.discard((sealed.lane, sealed.envelope.sequence))

    async def _sync(self) -> int:
        """Wait until everything has come that was appended; return its offset."""
        position = await self._log.sync()
        if not self._open:
            raise LogError("it was lost meanwhile")
        self._hub.advance_log(position)
        return position

    async def _sync_own(self) -> int:
        """Wait until what was published here has come back, too."""
        await self._appender.flush()
        return await self._sync()

    async def _follow_late(self, lanes: list[int]) -> None:
        """Follow lanes where this node publishes, and those of subscriptions that did not wait; these are told."""
        late = set(lanes).intersection(self._lanes.wanted())
        with suppress(LogError):
            await self._loading.load(lanes)
            self._hub.resync(late)

    async def _leave(self, lanes: list[int]) -> None:
        """Follow lanes no longer."""
        with suppress(LogError):
            await self._loading.leave(lanes)

    # --- the life of the connection

    async def _run(self, opened: asyncio.Event) -> None:
        """Keep the log open, from one loss to the next one."""
        loop = asyncio.get_running_loop()
        delay = RETRY[0]
        while self._runner is not None:
            self._pulse.begin()
            opened_at = loop.time()
            try:
                await self._connect(again=delay > RETRY[0])
                opened.set()
                opened_at = loop.time()
                await self._pulse.beat(self._announce, self._look_after, self.election.pause)
            except LogError as error:
                _complaints.warning("no backplane", extra=fields(limit_key="away", problem=error))
            except Exception:  # noqa: BLE001 - whatever it is, the log is opened again
                _log.exception("the backplane failed")
            if loop.time() - opened_at > RETRY[1]:
                delay = RETRY[0]
            await self._go_apart()
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - no secret
            delay = min(2 * delay, RETRY[1])

    async def _connect(self, *, again: bool) -> None:
        """Open the log, and take what was missed since it was open the last time; again: it was away."""
        await self._rejoining.open(f"{self._node:016x}", self, self._hub)
        now = asyncio.get_running_loop().time()
        self._pulse.come_back(now)
        self._members.greet(now)
        self._open = True
        self._gaps.resume()
        self.election.listen(again=again)
        self._appender.open()
        _log.info("the backplane is there", extra=fields(name=self.name, epoch=self._hub.epoch))

    async def _announce(self, greets: bool) -> None:
        await self._log.announce(msgspec.json.encode(self._heartbeat(greets=greets)))

    def _look_after(self, now: float) -> None:
        """See once a second to what has changed with time."""
        self._members.prune(now)
        self.election.judge()
        self._gaps.resume()
        if not self._arrivals.apart:
            self._hub.rejoin_log()
        missing, idle = self._interest.judge(self._lanes.wanted(), self._lanes.following(), now)
        if missing:
            self._spawn(self._follow_late(missing))
        if idle:
            self._spawn(self._leave(idle))

    async def _go_apart(self) -> None:
        """The log is away: deliver what was on its way there."""
        was_open, self._open = self._open, False
        self._loading.lose()
        self._members.clear()
        self._appender.lose()
        if was_open:
            self._losses += 1
            for sealed in self._outgoing.waiting():
                if not sealed.apart and self._sequences.last(self._node, sealed.lane) < sealed.envelope.sequence:
                    sealed.apart = True
                    self._delivered_apart += sealed.envelope.count
                    self._hub.receive(sealed.envelope.packets, 0)
        await self._log.close()
        await self._appender.ended()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the backplane failed", exc_info=error)
