"""Who is connected where: what each node tells the others of it, so that a user's connections are counted over all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from valtronics_fast.backplanes.members import Heartbeat

__all__ = ["Presence", "connections_elsewhere", "nobody"]


class Presence(NamedTuple):
    """The connections of a node.

    Attributes:
        connections: how many.
        users: user -> how many of them are that user's; not of all users where there are very many.
        machine: tells nodes that count together already, being workers of one machine; 0: there are no others.
    """

    connections: int
    users: dict[str, int]
    machine: int = 0


def nobody() -> Presence:
    """Return that nobody is connected: what is told where nobody has to know."""
    return Presence(0, {})


def connections_elsewhere(user: str, heartbeats: Iterable[Heartbeat], machine: int) -> int:
    """Return how many connections a user has on other machines, by what their nodes have said last.

    Args:
        user: who.
        heartbeats: of all other nodes.
        machine: this node's; nodes of the same one are left out, unless it is 0.
    """
    return sum(each.users.get(user, 0) for each in heartbeats if not machine or each.machine != machine)
