"""Begins to follow lanes: what a node has to know of them before the first client is subscribed there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from valtronics_fast._core.packet import PacketError
from valtronics_fast.backplanes.dumps import SLICE
from valtronics_fast.backplanes.envelope import unseal
from valtronics_fast.backplanes.log import LogError
from valtronics_fast.backplanes.sequences import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator

    from valtronics_fast._core.hub import Hub
    from valtronics_fast._core.lanes import Lanes
    from valtronics_fast.backplanes.dumps import Dump, Dumps
    from valtronics_fast.backplanes.log import Entry, Kept, Log
    from valtronics_fast.backplanes.sequences import Sequences

__all__ = ["Loading", "lanes_of"]

PARTITIONS = 64


def lanes_of(hub: Hub) -> Lanes:
    """Return the lanes of a hub, which must be one of several."""
    if hub.lanes is None:
        raise ValueError("the hub is alone")
    return hub.lanes


class Loading:
    """Lanes that are about to be followed; what is asked for while others are loaded comes next, all in one go.

    The newest values come from a node that follows the lane; what was published behind them, and the history, from the
    log. Entries that arrive meanwhile wait: nobody here is subscribed yet, so they are taken in like what was read.

    Args:
        log: where from.
        dumps: newest values.
        sequences: gets to know the numbers of what was read.
        sync: waits until everything has come that was appended; returns the offset. LogError: the log is away.

    Attributes:
        hub: what follows.
        lanes: that are being loaded.
        loaded: how many lanes were loaded since the start.
        unsure: lanes that no node told of, and when they were loaded: one may not have been known yet.
    """

    hub: Hub

    def __init__(self, log: Log, dumps: Dumps, sequences: Sequences, sync: Callable[[], Awaitable[int]]) -> None:
        self.lanes: frozenset[int] = frozenset()
        self.loaded = 0
        self.unsure: dict[int, float] = {}
        self._log = log
        self._dumps = dumps
        self._sequences = sequences
        self._sync = sync
        self._arrived: list[tuple[int, Entry]] = []
        self._wanted: set[int] = set()
        self._round: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._losses = 0

    def arrive(self, lane: int, entry: Entry) -> None:
        """Take what has come of a lane that is being loaded."""
        self._arrived.append((lane, entry))

    def lose(self) -> None:
        """The log is away: what is on its way must not be taken for loaded."""
        self._losses += 1
        self.unsure.clear()  # all the others are about to turn up again

    def doubt(self, lanes: Collection[int], since: float) -> list[int]:
        """Return which lanes were loaded without a node that has turned up now, and has followed them already.

        Args:
            lanes: that it follows.
            since: it could have been heard before, of those that were loaded earlier (seconds, monotonic).
        """
        self.unsure = {lane: at for lane, at in self.unsure.items() if at > since}
        doubtful = [lane for lane in lanes if lane in self.unsure]
        for lane in doubtful:
            del self.unsure[lane]
        return doubtful

    async def stop(self) -> None:
        """Let it be."""
        work, self._round = self._round, None
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def load(self, lanes: Collection[int]) -> None:
        """Follow lanes. It goes on when who waits for it is cancelled.

        Raises:
            LogError: the log is away.
        """
        while missing := self._missing(lanes):
            self._wanted.update(missing)
            if self._round is None or self._round.done():
                self._round = asyncio.create_task(self._load_wanted(), name="loading")
                self._round.add_done_callback(_look_at)
            await asyncio.shield(self._round)

    def _missing(self, lanes: Iterable[int]) -> frozenset[int]:
        followed = lanes_of(self.hub)
        return frozenset(lane for lane in lanes if not followed.is_followed(lane))

    async def leave(self, lanes: Collection[int]) -> None:
        """Follow lanes no longer that nobody here needs.

        Raises:
            LogError: the log is away; they are not followed any more all the same.
        """
        followed = lanes_of(self.hub)
        async with self._lock:
            needed = {*followed.wanted(), *self._wanted}
            leaving = [lane for lane in lanes if lane not in needed]
            followed.set_followed(leaving, False)
            for lane in leaving:
                self.hub.histories[lane // PARTITIONS].set_floor(lane % PARTITIONS, None)
                self.unsure.pop(lane, None)
            self._sequences.forget_lanes(leaving)
            await self._log.unfollow(leaving)

    async def _load_wanted(self) -> None:
        await asyncio.sleep(0)  # what else is asked for in this turn comes with it
        async with self._lock:
            self.lanes = self._missing(self._wanted)
            self._wanted.clear()
            try:
                await self._load(sorted(self.lanes), self._losses)
            finally:
                self.lanes = frozenset()
                self._arrived = []

    async def _load(self, lanes: list[int], losses: int) -> None:
        await self._log.follow(lanes)
        # Without this an entry could be older than what comes and newer than what this node knows to have come.
        position = await self._sync()
        dumps = await self._dumps.fetch(lanes, position)
        read = await self._log.read(lanes, None)
        for lane in lanes:
            await self._take(lane, read[lane], dumps.get(lane), losses)

    async def _take(self, lane: int, kept: Kept, dump: Dump | None, losses: int) -> None:
        """Take in what is known of a lane, with pauses, and follow it; what can't be read is left out."""
        hub = self.hub
        since = 0
        await self._pause(losses)
        if dump is not None and await self._take_values(dump, losses):
            since = dump.position
        else:
            self.unsure[lane] = asyncio.get_running_loop().time()
        position = hub.log_position
        older = [entry for entry in kept.entries if entry.offset <= position]
        floor = kept.floor
        for entries in _sliced(older):
            floor = self._take_entries(lane, entries, floor, since)
            await self._pause(losses)
        # From here on nothing waits: what has come by now is taken, what comes later is live.
        known = {entry.offset for entry in older}
        arrived = [entry for other, entry in self._arrived if other == lane and entry.offset not in known]
        hub.advance_log(max((entry.offset for entry in arrived), default=0))
        found = {entry.offset: entry for entry in kept.entries if position < entry.offset <= hub.log_position}
        found.update({entry.offset: entry for entry in arrived})
        floor = self._take_entries(lane, [found[offset] for offset in sorted(found)], floor, since)
        hub.histories[lane // PARTITIONS].set_floor(lane % PARTITIONS, floor)
        self.lanes -= {lane}
        self._arrived = [(other, entry) for other, entry in self._arrived if other != lane]
        lanes_of(hub).set_followed([lane], True)
        self.loaded += 1

    async def _pause(self, losses: int) -> None:
        """Let others come first; LogError: the log was lost meanwhile."""
        await asyncio.sleep(0)
        if losses != self._losses:
            raise LogError("it was lost meanwhile")

    async def _take_values(self, dump: Dump, losses: int) -> bool:
        """Take in another node's newest values; return whether they could be read."""
        try:
            for packets in dump.slices():
                self.hub.absorb([(packets, 0)], newest=True)
                await self._pause(losses)
        except PacketError:
            return False
        return True

    def _take_entries(self, lane: int, entries: list[Entry], floor: int, since: int) -> int:
        """Take in entries of the log; return the offset behind which nothing of the lane is missing.

        Args:
            lane: theirs.
            entries: in order.
            floor: the same for what is before them.
            since: newest values are known up to this offset.
        """
        opened = []
        for offset, blob in entries:
            try:
                envelope = unseal(blob)
            except PacketError:
                continue
            outcome = self._sequences.take(envelope.node, lane, envelope.sequence)
            if outcome is Outcome.GAP or not envelope.packets:
                floor = offset
            if outcome is not Outcome.REPEATED:
                opened.append((envelope.packets, offset))
        self._absorb([entry for entry in opened if entry[1] > since], newest=True)
        return floor if self._absorb(opened, newest=False) else self.hub.log_position

    def _absorb(self, entries: list[tuple[bytes, int]], *, newest: bool) -> bool:
        try:
            self.hub.absorb(entries, newest=newest)
        except PacketError:
            return False
        return True


def _sliced(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Return entries in pieces that are each taken in without a pause."""
    piece: list[Entry] = []
    size = 0
    for entry in entries:
        piece.append(entry)
        size += len(entry.blob)
        if size >= SLICE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _look_at(task: asyncio.Task[None]) -> None:
    """Look at how a round ended: nobody may be left who waits for it."""
    if not task.cancelled():
        task.exception()
