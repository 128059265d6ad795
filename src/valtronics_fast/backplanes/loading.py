"""Begins to follow lanes: what a node has to know of them before the first client is subscribed there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from valtronics_fast._core.packet import PacketError
from valtronics_fast.backplanes.envelope import Envelope, unseal

if TYPE_CHECKING:
    from collections.abc import Collection

    from valtronics_fast._core.hub import Hub
    from valtronics_fast._core.lanes import Lanes
    from valtronics_fast.backplanes.dumps import Dumps
    from valtronics_fast.backplanes.log import Entry, Log
    from valtronics_fast.backplanes.members import Members
    from valtronics_fast.backplanes.sequences import Sequences

__all__ = ["Loading", "lanes_of"]

PARTITIONS = 64


def lanes_of(hub: Hub) -> Lanes:
    """Return the lanes of a hub, which must be one of several."""
    if hub.lanes is None:
        raise ValueError("the hub is alone")
    return hub.lanes


class Loading:
    """Lanes that are about to be followed; requests that come while others are at work are done together.

    The newest values come from a node that follows the lane; what was published behind them, and the history, from the
    log. Entries that arrive meanwhile wait in `arrived`: nobody here is subscribed yet, so they are taken in like
    what was read.

    Args:
        node: this node's number.
        log: where from.
        dumps: newest values.
        members: whom to ask.
        sequences: gets to know the numbers of what was read.

    Attributes:
        lanes: that are being loaded.
        arrived: (lane, entry) that have come of them meanwhile.
        loaded: how many lanes were loaded since the start.
    """

    def __init__(self, node: int, log: Log, dumps: Dumps, members: Members, sequences: Sequences) -> None:
        self.lanes: frozenset[int] = frozenset()
        self.arrived: list[tuple[int, Entry]] = []
        self.loaded = 0
        self._node = node
        self._log = log
        self._dumps = dumps
        self._members = members
        self._sequences = sequences
        self._wanted: set[int] = set()
        self._work: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def load(self, hub: Hub, lanes: Collection[int]) -> None:
        """Follow lanes.

        Raises:
            LogError: the log is away.
        """
        followed = lanes_of(hub)
        self._wanted.update(lanes)
        async with self._lock:
            missing = frozenset(lane for lane in self._wanted if not followed.is_followed(lane))
            self._wanted.clear()
            if missing:
                try:
                    await self._load(hub, missing)
                finally:
                    self.lanes = frozenset()
                    self.arrived = []

    async def leave(self, hub: Hub, lanes: Collection[int]) -> None:
        """Follow lanes no longer that nobody here needs.

        Raises:
            LogError: the log is away.
        """
        followed = lanes_of(hub)
        async with self._lock:
            needed = {*followed.wanted(), *self._wanted}
            leaving = [lane for lane in lanes if lane not in needed]
            followed.set_followed(leaving, False)
            for lane in leaving:
                hub.histories[lane // PARTITIONS].set_floor(lane % PARTITIONS, None)
            self._sequences.forget_lanes(leaving)
            await self._log.unfollow(leaving)

    async def _load(self, hub: Hub, lanes: frozenset[int]) -> None:
        self.lanes = lanes
        await self._log.follow(lanes)
        dumps = await self._dumps.fetch(self._members.followers(sorted(lanes), but=self._node))
        read = dict(zip(lanes, await asyncio.gather(*[self._log.read(lane, None) for lane in lanes]), strict=True))
        # From here on nothing waits: what has come by now is taken, what comes later is live.
        position = hub.log_position
        for lane in lanes:
            floor, entries = read[lane]
            found = {entry.offset: entry for entry in entries if entry.offset <= position}
            found.update({entry.offset: entry for other, entry in self.arrived if other == lane})
            opened = self._opened(lane, [found[offset] for offset in sorted(found)])
            dump = dumps.get(lane)
            if dump is not None:
                hub.absorb([(dump.packets, 0)], newest=True)
            since = 0 if dump is None else dump.position
            hub.absorb([(envelope.packets, at) for at, envelope in opened if at > since], newest=True)
            hub.absorb([(envelope.packets, at) for at, envelope in opened], newest=False)
            hub.histories[lane // PARTITIONS].set_floor(lane % PARTITIONS, floor)
        lanes_of(hub).set_followed(lanes, True)
        self.loaded += len(lanes)

    def _opened(self, lane: int, entries: list[Entry]) -> list[tuple[int, Envelope]]:
        """Return the envelopes of a lane with their offsets, once each."""
        opened = []
        for offset, blob in entries:
            try:
                envelope = unseal(blob)
            except PacketError:
                continue
            if self._sequences.last(envelope.node, lane) < envelope.sequence:
                self._sequences.take(envelope.node, lane, envelope.sequence)
                opened.append((offset, envelope))
        return opened
