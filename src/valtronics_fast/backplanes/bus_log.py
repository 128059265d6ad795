"""A log between the workers of one machine: the supervisor keeps it, and each worker has a stream to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from valtronics_fast.backplanes.log import Batch, Entry, Kept, LogError
from valtronics_fast.workers import frames
from valtronics_fast.workers.link import LinkError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from valtronics_fast.backplanes.log import Receiver
    from valtronics_fast.workers.link import Link

__all__ = ["BusLog"]

TIMEOUT = 6.0
"""Seconds that the supervisor has to answer."""


class BusLog:
    """A log that the supervisor keeps.

    Args:
        link: leads to it.

    Attributes:
        receiver: gets what comes; after `open`.
    """

    name = "bus"
    receiver: Receiver

    def __init__(self, link: Link) -> None:
        self._link = link
        self._open = False
        self._asked: set[asyncio.Future[bytes]] = set()
        self._reading = asyncio.Lock()

    async def open(self, node: str, receiver: Receiver, epoch: str, position: int) -> str:  # noqa: ARG002
        """Have what is announced and sent come. The offsets rise as long as the supervisor lives."""
        self.receiver = receiver
        self._open = True
        self._link.log = self
        return (await self._ask(frames.OPEN, node.encode())).decode()

    async def close(self) -> None:
        """Have nothing come any more; the stream stays, for it has other uses."""
        if self._link.log is self:
            self._link.log = None
            self._link.tell(frames.LEAVE)
        self._end("closed")

    def lost(self, reason: str, /) -> None:
        """The supervisor has closed the log, or is gone."""
        self._end(reason)
        self.receiver.lost(LogError(f"the bus: {reason}"))

    def _end(self, reason: str) -> None:
        """Nothing is answered any more."""
        self._open = False
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(LinkError(reason))

    async def append(self, batches: Sequence[Batch]) -> None:
        """Append in one frame. Heartbeats that do not come back tell of a supervisor that hangs: no timeout here."""
        parts: list[bytes] = []
        for lane, offsets, blob in batches:
            parts += (frames.BATCH.pack(lane, offsets, len(blob)), blob)
        await self._call(frames.APPEND, *parts)

    async def announce(self, data: bytes) -> None:
        """Announce; that it has been done shows when it comes back."""
        if not self._open:
            raise LogError("the bus: not open")
        self._link.tell(frames.ANNOUNCE, data)

    async def send(self, node: str, data: bytes) -> None:
        """Send, and wait until the receiver has read most of it, or has lost the log because it does not."""
        await self._ask(frames.SEND, node.encode(), data)

    async def follow(self, lanes: Collection[int]) -> None:
        """Follow lanes."""
        await self._ask(frames.FOLLOW, frames.pack_lanes(lanes))

    async def unfollow(self, lanes: Collection[int]) -> None:
        """Follow lanes no longer."""
        await self._ask(frames.UNFOLLOW, frames.pack_lanes(lanes))

    async def sync(self) -> int:
        """Ask for the last offset; what was appended before has been written to this stream before the answer."""
        (head,) = frames.OFFSET.unpack(await self._ask(frames.SYNC))
        return int(head)

    async def read(self, lanes: Collection[int], after: int | None) -> dict[int, Kept]:
        """Read one lane after the other, piece by piece: so that little of it is on its way at a time."""
        return {lane: await self._read(lane, after) for lane in lanes}

    async def _read(self, lane: int, after: int | None) -> Kept:
        entries: list[Entry] = []
        floor, more, last = -1, True, -1 if after is None else after
        async with self._reading:
            while more:
                answer = await self._ask(frames.READ, frames.READING.pack(lane, last))
                found, more = frames.READ_HEAD.unpack_from(answer)
                if floor < 0 or found > last:  # the first piece, or something was dropped between two
                    floor = found
                at = frames.READ_HEAD.size
                while at < len(answer):
                    offset, offsets, size = frames.READ_ENTRY.unpack_from(answer, at)
                    at += frames.READ_ENTRY.size
                    entries.append(Entry(offset, answer[at : at + size]))
                    last = offset + offsets - 1
                    at += size
        return Kept(floor, entries)

    async def _ask(self, kind: int, *parts: bytes) -> bytes:
        """Return the supervisor's answer, within TIMEOUT."""
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._call(kind, *parts)
        except TimeoutError as error:
            raise LogError("the bus: no answer") from error

    async def _call(self, kind: int, *parts: bytes) -> bytes:
        """Return the supervisor's answer; its faults become the log's."""
        if not self._open:
            raise LogError("the bus: not open")
        answer = self._link.ask(kind, *parts)
        self._asked.add(answer)
        try:
            return await answer
        except LinkError as error:
            raise LogError(f"the bus: {error}") from error
        finally:
            self._asked.discard(answer)
