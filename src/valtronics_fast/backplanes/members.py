"""The other nodes: what each one says of itself every second, and who is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["GREETING", "INTERVAL", "LIFETIME", "Heartbeat", "Members", "mask_of"]

INTERVAL = 1.0
"""Seconds between two heartbeats of a node."""

LIFETIME = 5.0
"""Seconds without a heartbeat after which a node counts as gone."""

GREETING = 0.5
"""Seconds in which the others answer a node that greets them."""

MAX_MEMBERS = 4096
"""Nodes that are remembered."""

_Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_Lane = Annotated[int, msgspec.Meta(ge=0, le=255)]


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node says of itself.

    Attributes:
        node: its number.
        number: of the heartbeat, from 1 on; 1: it has just started.
        follows: the lanes that it follows, a bit each, as hexadecimal digits.
        sequences: lane -> the last number of its envelopes there, of those that the log has taken lately.
        connections: how many it has.
        users: user -> how many of them are that user's (Presence).
        machine: its machine (Presence).
        stands: roles that it would play -> since when (election.py).
        plays: those that it plays.
        greets: it does not know the others, who are to say something of themselves at once.
        leaving: it ends.
    """

    node: _Number
    number: _Number
    follows: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{1,64}$")] = "0"
    sequences: dict[_Lane, _Number] = {}
    connections: int = 0
    users: dict[str, int] = {}
    machine: int = 0
    stands: dict[str, int] = {}
    plays: tuple[str, ...] = ()
    greets: bool = False
    leaving: bool = False

    def lanes(self) -> list[int]:
        """Return the lanes that it follows."""
        mask = int(self.follows, 16)
        return [lane for lane in range(256) if mask >> lane & 1]


def mask_of(lanes: Collection[int]) -> str:
    """Return lanes as a heartbeat tells of them."""
    return f"{sum(1 << lane for lane in lanes):x}"


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
        self._known_at = 0.0

    def __len__(self) -> int:
        return len(self._members)

    def clear(self) -> None:
        """Forget everybody: the log is away."""
        self._members.clear()

    def greet(self, now: float) -> None:
        """Note that the others are greeted."""
        self._known_at = now + GREETING

    def unknown(self, now: float) -> float:
        """Return in how many seconds those who answer are known."""
        return max(0.0, self._known_at - now)

    def note(self, heartbeat: Heartbeat, now: float) -> bool:
        """Note a heartbeat; return whether the node was not known."""
        is_new = heartbeat.node not in self._members
        if heartbeat.leaving:
            self._members.pop(heartbeat.node, None)
        elif not is_new or len(self._members) < MAX_MEMBERS:
            self._members[heartbeat.node] = _Member(heartbeat, now)
        return is_new

    def prune(self, now: float) -> None:
        """Forget those who are gone."""
        for node in [node for node, member in self._members.items() if member.heard_at + LIFETIME <= now]:
            del self._members[node]

    def heartbeats(self) -> Iterator[Heartbeat]:
        """Return what each of them has said last."""
        return (member.heartbeat for member in self._members.values())

    def followers(
        self, lanes: Collection[int], *, first: Mapping[int, int] | None = None, but: Collection[int] = ()
    ) -> dict[int, list[int]]:
        """Return which node to ask about which lanes: for each lane one that follows it, if there is one.

        Args:
            lanes: which ones.
            first: lane -> the node to ask, if it follows it.
            but: nodes that are not asked.
        """
        asked: dict[int, list[int]] = {}
        nodes = [(node, member.follows) for node, member in self._members.items() if node not in but]
        for position, lane in enumerate(lanes):
            following = [node for node, follows in nodes if follows >> lane & 1]
            if following:
                best = first.get(lane) if first else None
                node = best if best in following else following[position % len(following)]
                asked.setdefault(node, []).append(lane)
        return asked
