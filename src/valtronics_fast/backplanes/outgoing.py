"""What a node has published and the log has not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from valtronics_fast.backplanes.envelope import MAX_BYTES, MAX_PACKETS, Envelope, seal
from valtronics_fast.backplanes.log import Batch

__all__ = ["Outgoing", "Sealed"]

MAX_BATCHES = 64
"""Envelopes that are appended at a time."""

MAX_APPEND = 1 << 20
"""Bytes of them."""


@dataclass(slots=True)
class Sealed:
    """An envelope that waits.

    Attributes:
        lane: where it belongs.
        envelope: what it is.
        apart: it was delivered on this node without the log, and is not to be again when it comes back.
        ticket: tells envelopes by when they were begun; 0: it only tells that others were given up.
    """

    lane: int
    envelope: Envelope
    apart: bool
    ticket: int


class _Open:
    """An envelope that is being filled."""

    __slots__ = ("packets", "size", "ticket")

    def __init__(self, ticket: int) -> None:
        self.packets: list[bytes] = []
        self.size = 0
        self.ticket = ticket


class Outgoing:
    """A queue of envelopes: the messages of a lane in their order. What was handed out stays until it is acknowledged.

    What has to be given up leaves one empty envelope a lane, so that the others notice even if nothing more is
    published there.

    Args:
        node: this node's number.
        limit: bytes that may wait; beyond them the oldest that have not been handed out are given up.

    Attributes:
        size: bytes that wait.
        dropped: messages that were given up.
        acknowledged: lane -> number of its last envelope that the log has taken.
    """

    def __init__(self, node: int, limit: int) -> None:
        self.size = 0
        self.dropped = 0
        self.acknowledged: dict[int, int] = {}
        self._node = node
        self._limit = limit
        self._open: dict[int, _Open] = {}
        self._sealed: deque[Sealed] = deque()
        self._handed_out = 0
        self._sequences: dict[int, int] = {}
        self._given_up: dict[int, Sealed] = {}  # lane -> what tells of it; none of the lane before it waits
        self._ticket = 0
        self._tickets: dict[int, None] = {}  # of what waits, in order
        self._settling: deque[tuple[int, asyncio.Future[None]]] = deque()  # who waits for everything up to a ticket

    def __bool__(self) -> bool:
        return bool(self._open or self._sealed or self._given_up)

    def add(self, lane: int, packet: bytes, *, apart: bool) -> None:
        """Add a packet; apart: it has been delivered on this node already."""
        filling = self._open.get(lane)
        if filling is None:
            self._ticket += 1
            self._tickets[self._ticket] = None
            filling = self._open[lane] = _Open(self._ticket)
        filling.packets.append(packet)
        filling.size += len(packet)
        self.size += len(packet)
        if len(filling.packets) >= MAX_PACKETS or filling.size >= MAX_BYTES:
            self._seal(lane, apart=apart)
        if self.size > self._limit:
            self._give_up(apart=apart)

    def seal(self, *, apart: bool) -> None:
        """Close the envelopes that are open; apart: all that is in them has been delivered on this node already."""
        for lane in list(self._open):
            self._seal(lane, apart=apart)

    def _seal(self, lane: int, *, apart: bool) -> None:
        filling = self._open.pop(lane)
        packets = filling.packets
        sequence = self._sequences[lane] = self._sequences.get(lane, 0) + 1
        envelope = Envelope(self._node, sequence, len(packets), b"".join(packets))
        self._sealed.append(Sealed(lane, envelope, apart, filling.ticket))

    def _give_up(self, *, apart: bool) -> None:
        """Give up the oldest until the rest is within the limit."""
        while self.size > self._limit:  # what was handed out was within it
            if len(self._sealed) == self._handed_out:
                self.seal(apart=apart)
            sealed = self._sealed[self._handed_out]
            del self._sealed[self._handed_out]
            self.size -= len(sealed.envelope.packets)
            self.dropped += sealed.envelope.count if sealed.envelope.packets else 0
            self._tickets.pop(sealed.ticket, None)
            before = self._given_up.get(sealed.lane)
            empty = Envelope(self._node, sealed.envelope.sequence, 1, b"")
            was_apart = sealed.apart and (before is None or before.apart)
            self._given_up[sealed.lane] = Sealed(sealed.lane, empty, was_apart, 0)

    def _close(self) -> None:
        """Seal everything, and put what tells of losses before what comes behind it."""
        self.seal(apart=False)
        for sealed in self._given_up.values():
            self._sealed.insert(self._handed_out, sealed)
        self._given_up.clear()

    def take(self) -> list[Batch]:
        """Return what is to be appended next: what was handed out and not acknowledged, first of all."""
        self._close()
        batches: list[Batch] = []
        size = 0
        for sealed in self._sealed:
            if len(batches) >= max(MAX_BATCHES, self._handed_out) or size > MAX_APPEND:
                break
            batches.append(Batch(sealed.lane, sealed.envelope.count, seal(sealed.envelope)))
            size += len(sealed.envelope.packets)
        self._handed_out = max(self._handed_out, len(batches))
        return batches

    def acknowledge(self, count: int) -> list[Sealed]:
        """The log has taken the first so many; return them."""
        taken = [self._sealed.popleft() for _ in range(count)]
        for sealed in taken:
            self.size -= len(sealed.envelope.packets)
            self.acknowledged[sealed.lane] = sealed.envelope.sequence
            self._tickets.pop(sealed.ticket, None)
        self._handed_out = max(0, self._handed_out - count)
        self._wake_settled()
        return taken

    def stats(self) -> dict[str, int]:
        """Return what waits and what was counted."""
        return {"waiting_bytes": self.size, "dropped": self.dropped}

    def is_congested(self) -> bool:
        """Say whether more than half of what may waits."""
        return self.size * 2 > self._limit

    async def settle(self) -> None:
        """Wait until the log has taken what waits now, or it was given up."""
        if self._tickets:
            settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settling.append((self._ticket, settled))
            await settled

    def _wake_settled(self) -> None:
        oldest = next(iter(self._tickets), self._ticket + 1)
        while self._settling and self._settling[0][0] < oldest:
            _, settled = self._settling.popleft()
            if not settled.done():
                settled.set_result(None)

    def waiting(self) -> list[Sealed]:
        """Return all envelopes that wait, oldest first; none is open afterwards."""
        self._close()
        return list(self._sealed)
