"""Finds what came twice and what did not come, by the numbers of each node's envelopes in each lane."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_NODES", "Outcome", "Sequences"]

MAX_NODES = 1024
"""Nodes that are remembered, those that are gone included: one that stood still may go on."""


class Outcome(enum.Enum):
    """What the number of an envelope says."""

    NEXT = enum.auto()
    REPEATED = enum.auto()
    GAP = enum.auto()


class Sequences:
    """The last number of each node and lane, of the MAX_NODES that were heard of last.

    A node counts from its start on, whatever becomes of the log.
    """

    def __init__(self) -> None:
        self._last: dict[int, dict[int, int]] = {}

    def _of(self, node: int) -> dict[int, int]:
        lanes = self._last.get(node)
        if lanes is None:
            if len(self._last) >= MAX_NODES:
                del self._last[next(iter(self._last))]
            lanes = self._last[node] = {}
        return lanes

    def take(self, node: int, lane: int, sequence: int) -> Outcome:
        """Note a number that has come. The first one of a node that was not known is taken as it is."""
        lanes = self._of(node)
        last = lanes.get(lane)
        if last is not None and sequence <= last:
            return Outcome.REPEATED
        lanes[lane] = sequence
        return Outcome.NEXT if last is None or sequence == last + 1 else Outcome.GAP

    def reach(self, node: int, lane: int, sequence: int) -> bool:
        """Say whether everything up to a number has come, of which the node says that it must have.

        It counts as if it had, afterwards; as it does for a node that was not known.
        """
        lanes = self._of(node)
        last = lanes.setdefault(lane, sequence)
        lanes[lane] = max(last, sequence)
        return last >= sequence

    def begin(self, node: int, lanes: Iterable[int]) -> None:
        """Expect a node's numbers from 1 on, where none has come yet: it has just started."""
        numbers = self._of(node)
        for lane in lanes:
            numbers.setdefault(lane, 0)

    def touch(self, node: int) -> None:
        """Note that a node has been heard of: others are forgotten first."""
        self._last[node] = self._last.pop(node, {})

    def last(self, node: int, lane: int) -> int:
        """Return the last number; 0: none has come."""
        return self._last.get(node, {}).get(lane, 0)

    def forget_lanes(self, lanes: Iterable[int]) -> None:
        """Forget lanes that are no longer followed."""
        gone = set(lanes)
        for numbers in self._last.values():
            for lane in gone & numbers.keys():
                del numbers[lane]
