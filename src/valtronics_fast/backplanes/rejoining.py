"""Opens the log, and takes what was missed since it was open the last time: in order, and before anything newer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from valtronics_fast.backplanes.loading import lanes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from valtronics_fast._core.hub import Hub
    from valtronics_fast.backplanes.arrivals import Arrivals
    from valtronics_fast.backplanes.gaps import Gaps
    from valtronics_fast.backplanes.log import Entry, Kept, Log, Receiver
    from valtronics_fast.backplanes.outgoing import Outgoing

__all__ = ["Gathering", "Rejoining"]

PARTITIONS = 64

PIECE = 64
"""Entries that are handed on before others get their turn."""


class Gathering:
    """What comes while the log is being opened: entries by their offsets, once each."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[int, Entry]] = {}

    def add(self, lane: int, entry: Entry) -> None:
        """Add what has come."""
        self._entries[entry.offset] = lane, entry

    def merge(self, read: Mapping[int, Kept], after: int, position: int) -> None:
        """Add what was read.

        Args:
            read: by lane.
            after: offset up to which it is known already.
            position: offset up to which everything has come that comes. What was read and stands behind it may have
                something before it that is still to come; it comes itself, too.
        """
        position = max(position, max(self._entries, default=0))
        for lane, kept in read.items():
            for entry in kept.entries:
                if after < entry.offset <= position:
                    self.add(lane, entry)

    async def drain(self, take: Callable[[int, int, bytes], None]) -> None:
        """Hand everything on in order, what comes meanwhile included; others get their turns in between."""
        for number, (lane, (offset, blob)) in enumerate(self._drained()):
            take(lane, offset, blob)
            if number % PIECE == PIECE - 1:
                await asyncio.sleep(0)

    def _drained(self) -> Iterator[tuple[int, Entry]]:
        while self._entries:
            entries, self._entries = self._entries, {}
            for offset in sorted(entries):
                yield entries[offset]


class Rejoining:
    """Opens the log.

    Args:
        log: what is opened.
        outgoing: what this node has published and was delivered without the log.
        arrivals: takes what was missed.
        gaps: is told what can't be had any more.

    Attributes:
        gathering: while the log is being opened, its receiver puts here what is of a lane.
    """

    def __init__(self, log: Log, outgoing: Outgoing, arrivals: Arrivals, gaps: Gaps) -> None:
        self.gathering: Gathering | None = None
        self._log = log
        self._outgoing = outgoing
        self._arrivals = arrivals
        self._gaps = gaps

    async def open(self, node: str, receiver: Receiver, hub: Hub) -> None:
        """Open the log, and deliver what was missed. Nothing waits any more when this returns.

        Args:
            node: under which name.
            receiver: gets what comes.
            hub: where it is delivered.

        Raises:
            LogError: it can't be opened.
        """
        gathering = self.gathering = Gathering()
        try:
            await self._open(node, receiver, hub, gathering)
        finally:
            self.gathering = None

    async def _open(self, node: str, receiver: Receiver, hub: Hub, gathering: Gathering) -> None:
        lanes = lanes_of(hub)
        before = hub.log_position
        epoch = await self._log.open(node, receiver, hub.epoch, before)
        followed = lanes.following()
        await self._log.follow(followed)
        position = await self._log.sync()
        if epoch != hub.epoch:
            # What the new log has is newer than what came before: it is taken, as far as its numbers have not come.
            before = 0
            hub.begin_log(epoch, 0)
            self._gaps.miss(followed)
        read = await self._log.read(followed, before) if followed else {}
        missed = {lane: kept.floor for lane, kept in read.items() if kept.floor > before}
        self._gaps.miss(missed)
        for lane, floor in missed.items():
            hub.histories[lane // PARTITIONS].set_floor(lane % PARTITIONS, floor)
        gathering.merge(read, before, position)

        def take(lane: int, offset: int, blob: bytes) -> None:
            if lanes.is_followed(lane):
                self._arrivals.take(lane, offset, blob)

        self._arrivals.apart |= _delivered(self._outgoing)
        await gathering.drain(take)
        # Of what was delivered apart nothing is on its way that does not wait.
        self._arrivals.apart = _delivered(self._outgoing)
        hub.advance_log(position)


def _delivered(outgoing: Outgoing) -> set[tuple[int, int]]:
    """Return lane and number of what waits and was delivered without the log."""
    outgoing.seal(apart=True)
    return {(sealed.lane, sealed.envelope.sequence) for sealed in outgoing.waiting() if sealed.apart}
