"""The other nodes: what each one says of itself every second, and who is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["INTERVAL", "LIFETIME", "Heartbeat", "Members"]

INTERVAL = 1.0
"""Seconds between two heartbeats of a node."""

LIFETIME = 5.0
"""Seconds without a heartbeat after which a node counts as gone."""

MAX_MEMBERS = 4096
"""Nodes that are remembered."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node says of itself.

    Attributes:
        node: its number.
        number: of the heartbeat, from 1 on; 1: it has just started, and published nothing.
        follows: the lanes that it follows, a bit each, as hexadecimal digits.
        sequences: lane -> the last number of its envelopes there, of those that the log has taken lately.
        connections: how many it has.
        users: user -> how many of them are that user's.
        leaving: it ends.
    """

    node: int
    number: int
    follows: str = "0"
    sequences: dict[int, int] = {}
    connections: int = 0
    users: dict[str, int] = {}
    leaving: bool = False


class _Member:
    __slots__ = ("follows", "heard_at", "heartbeat")

    def __init__(self, heartbeat: Heartbeat, heard_at: float) -> None:
        self.heartbeat = heartbeat
        self.heard_at = heard_at
        self.follows = int(heartbeat.follows, 16)


class Members:
    """Who has been heard lately. Times are arguments, in monotonic seconds."""

    def __init__(self) -> None:
        self._members: dict[int, _Member] = {}

    def __len__(self) -> int:
        return len(self._members)

    def note(self, heartbeat: Heartbeat, now: float) -> None:
        """Note a heartbeat."""
        if heartbeat.leaving:
            self._members.pop(heartbeat.node, None)
        elif heartbeat.node in self._members or len(self._members) < MAX_MEMBERS:
            self._members[heartbeat.node] = _Member(heartbeat, now)

    def prune(self, now: float) -> list[int]:
        """Forget and return those who are gone."""
        gone = [node for node, member in self._members.items() if member.heard_at + LIFETIME <= now]
        for node in gone:
            del self._members[node]
        return gone

    def clear(self) -> None:
        """Forget everybody."""
        self._members.clear()

    def heartbeats(self) -> Iterator[Heartbeat]:
        """Return what each of them has said last."""
        return (member.heartbeat for member in self._members.values())

    def followers(self, lanes: Collection[int], *, but: int) -> dict[int, list[int]]:
        """Return which node to ask about which lanes: for each lane one that follows it, if there is one.

        Args:
            lanes: which ones.
            but: the node that asks.
        """
        asked: dict[int, list[int]] = {}
        nodes = [(node, member) for node, member in self._members.items() if node != but]
        for position, lane in enumerate(lanes):
            following = [node for node, member in nodes if member.follows >> lane & 1]
            if following:
                asked.setdefault(following[position % len(following)], []).append(lane)
        return asked
