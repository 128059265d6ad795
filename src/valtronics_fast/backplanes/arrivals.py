"""What has come from the log: delivered in its order, once, and what did not come noticed and told."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from valtronics_fast._core.packet import PacketError
from valtronics_fast.backplanes.envelope import unseal
from valtronics_fast.backplanes.log import LogError
from valtronics_fast.backplanes.members import INTERVAL
from valtronics_fast.backplanes.sequences import Outcome
from valtronics_fast.logging import fields, limited

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from valtronics_fast._core.hub import Hub
    from valtronics_fast.backplanes.dumps import Dumps
    from valtronics_fast.backplanes.members import Members
    from valtronics_fast.backplanes.sequences import Sequences

__all__ = ["Arrivals"]

PARTITIONS = 64

_log = logging.getLogger(__name__)
_complaints = limited("valtronics_fast.backplanes.complaints")


class Arrivals:
    """Takes the entries of lanes that are followed.

    Args:
        node: this node's number.
        sequences: finds repeats and gaps.
        members: whom to ask for newest values.
        dumps: asks them.
        spawn: runs what takes its time.

    Attributes:
        hub: where it is delivered.
        apart: lane and number of envelopes of this node that were delivered without the log.
        repeated: envelopes that had come before.
        garbage: things that could not be read.
        resyncs: lanes of which something was missed, each time.
    """

    hub: Hub

    def __init__(
        self,
        node: int,
        sequences: Sequences,
        members: Members,
        dumps: Dumps,
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self.apart: set[tuple[int, int]] = set()
        self.repeated = 0
        self.garbage = 0
        self.resyncs = 0
        self._node = node
        self._sequences = sequences
        self._members = members
        self._dumps = dumps
        self._spawn = spawn
        self._gaps: set[int] = set()

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
        if outcome is Outcome.GAP:
            self.miss([lane])
        if envelope.node == self._node and (lane, envelope.sequence) in self.apart:
            self.apart.discard((lane, envelope.sequence))
        else:
            try:
                self.hub.receive(envelope.packets, offset)
            except PacketError:
                self.refuse("packet")
                self.miss([lane])
        self.hub.advance_log(offset + envelope.count - 1)

    def refuse(self, what: str) -> None:
        """Count something that could not be read."""
        self.garbage += 1
        _complaints.warning("nonsense on the backplane", extra=fields(limit_key="garbage", what=what))

    def miss(self, lanes: Iterable[int]) -> None:
        """Note that something of these lanes will not come any more; the clients are told soon."""
        if not self._gaps:
            self._spawn(self._resync())
        for lane in lanes:
            self._gaps.add(lane)
            self.hub.histories[lane // PARTITIONS].set_floor(lane % PARTITIONS, self.hub.log_position)

    async def _resync(self) -> None:
        """Have the newest values of lanes with gaps from other nodes, and tell the clients."""
        await asyncio.sleep(0 if len(self._members) else 1.2 * INTERVAL)  # the others are heard by then
        lanes, self._gaps = self._gaps, set()
        try:
            dumps = await self._dumps.fetch(self._members.followers(sorted(lanes), but=self._node))
        except LogError:
            dumps = {}
        for dump in dumps.values():
            self.hub.absorb([(dump.packets, 0)], newest=True)
        self.hub.resync(lanes)
        self.resyncs += len(lanes)
        _log.warning("messages were missed", extra=fields(lanes=len(lanes)))
