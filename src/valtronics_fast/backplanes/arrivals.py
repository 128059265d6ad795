"""What has come from the log: delivered in its order, once, and what did not come noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast._core.packet import PacketError
from valtronics_fast.backplanes.envelope import unseal
from valtronics_fast.backplanes.sequences import Outcome
from valtronics_fast.logging import fields, limited

if TYPE_CHECKING:
    from valtronics_fast._core.hub import Hub
    from valtronics_fast.backplanes.gaps import Gaps
    from valtronics_fast.backplanes.sequences import Sequences

__all__ = ["Arrivals"]

_complaints = limited("valtronics_fast.backplanes.complaints")


class Arrivals:
    """Takes the entries of lanes that are followed.

    Args:
        node: this node's number.
        sequences: finds repeats and gaps.
        gaps: is told of gaps.

    Attributes:
        hub: where it is delivered.
        apart: lane and number of envelopes of this node that were delivered without the log.
        repeated: envelopes that had come before.
        garbage: things that could not be read.
    """

    hub: Hub

    def __init__(self, node: int, sequences: Sequences, gaps: Gaps) -> None:
        self.apart: set[tuple[int, int]] = set()
        self.repeated = 0
        self.garbage = 0
        self._node = node
        self._sequences = sequences
        self._gaps = gaps

    def stats(self) -> dict[str, int]:
        """Return what was counted."""
        return {"repeated": self.repeated, "garbage": self.garbage}

    def take(self, lane: int, offset: int, blob: bytes) -> None:
        """Deliver an entry."""
        try:
            envelope = unseal(blob)
        except PacketError:
            self.refuse("entry")
            return
        outcome = self._sequences.take(envelope.node, lane, envelope.sequence)
        if outcome is Outcome.REPEATED:
            self.repeated += 1
            return
        delivered = envelope.node == self._node and (lane, envelope.sequence) in self.apart
        if delivered:
            self.apart.discard((lane, envelope.sequence))
        elif outcome is Outcome.GAP or not envelope.packets:
            self._gaps.miss([lane], envelope.node)
        try:
            self.hub.receive(envelope.packets, offset, delivered=delivered)
        except PacketError:
            self.refuse("packet")
            self._gaps.miss([lane], envelope.node)
        self.hub.advance_log(offset + envelope.count - 1)
        self._gaps.came(lane, envelope.packets, offset)

    def refuse(self, what: str) -> None:
        """Count something that could not be read."""
        self.garbage += 1
        _complaints.warning("nonsense on the backplane", extra=fields(limit_key="garbage", what=what))
