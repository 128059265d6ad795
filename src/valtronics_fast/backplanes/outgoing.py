"""What a node has published and the log has not taken yet."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from valtronics_fast.backplanes.envelope import MAX_PACKETS, Envelope, seal
from valtronics_fast.backplanes.log import Batch

__all__ = ["Outgoing", "Sealed"]

MAX_BATCHES = 64
"""Envelopes that are appended at a time."""

MAX_BYTES = 1 << 20
"""Bytes of them."""


@dataclass(slots=True)
class Sealed:
    """An envelope that waits.

    Attributes:
        lane: where it belongs.
        envelope: what it is.
        apart: it was delivered on this node without the log, and is not to be again when it comes back.
    """

    lane: int
    envelope: Envelope
    apart: bool


class Outgoing:
    """A queue of envelopes, in the order of their lanes. What has been handed out stays until it is acknowledged.

    Args:
        node: this node's number.
        limit: bytes that may wait; beyond them the oldest go, which the others notice by their numbers.

    Attributes:
        size: bytes that wait.
        dropped: messages that had to go.
        acknowledged: lane -> number of its last envelope that the log has taken.
    """

    def __init__(self, node: int, limit: int) -> None:
        self.size = 0
        self.dropped = 0
        self.acknowledged: dict[int, int] = {}
        self._node = node
        self._limit = limit
        self._open: dict[int, list[bytes]] = {}
        self._sealed: deque[Sealed] = deque()
        self._handed_out = 0
        self._sequences: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._open or self._sealed)

    def add(self, lane: int, packet: bytes, *, apart: bool) -> None:
        """Add a packet; apart: it has been delivered on this node already."""
        packets = self._open.setdefault(lane, [])
        packets.append(packet)
        self.size += len(packet)
        if len(packets) >= MAX_PACKETS:
            self._seal(lane, apart=apart)
        while self.size > self._limit and len(self._sealed) > self._handed_out:
            self._drop()
        if self.size > self._limit:
            self.seal(apart=apart)

    def seal(self, *, apart: bool) -> None:
        """Close the envelopes that are open; apart: all that is in them has been delivered on this node already."""
        for lane in list(self._open):
            self._seal(lane, apart=apart)

    def _seal(self, lane: int, *, apart: bool) -> None:
        packets = self._open.pop(lane)
        sequence = self._sequences[lane] = self._sequences.get(lane, 0) + 1
        envelope = Envelope(self._node, sequence, len(packets), b"".join(packets))
        self._sealed.append(Sealed(lane, envelope, apart))

    def _drop(self) -> None:
        """Drop the oldest envelope that is not at the log already."""
        sealed = self._sealed[self._handed_out]
        del self._sealed[self._handed_out]
        self.size -= len(sealed.envelope.packets)
        self.dropped += sealed.envelope.count

    def take(self) -> list[Batch]:
        """Return what is to be appended next: what was handed out and not acknowledged, first of all."""
        self.seal(apart=False)
        batches: list[Batch] = []
        size = 0
        for sealed in self._sealed:
            if len(batches) >= max(MAX_BATCHES, self._handed_out) or (batches and size > MAX_BYTES):
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
        self._handed_out = max(0, self._handed_out - count)
        return taken

    def waiting(self) -> list[Sealed]:
        """Return all envelopes that wait, oldest first; none is open afterwards."""
        self.seal(apart=False)
        return list(self._sealed)
