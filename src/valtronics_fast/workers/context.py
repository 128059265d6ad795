"""What a server knows of being one of several workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from valtronics_fast.workers.link import Link
    from valtronics_fast.workers.shared_bans import SharedBans
    from valtronics_fast.workers.shared_room import SharedRoom

__all__ = ["NUMBERS", "Worker"]

NUMBERS = 10**12
"""Numbers of connections that a worker has for itself, one start after the other: they tell the worker's start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One of several processes that serve as one.

    Attributes:
        index: from 0 on; a worker that is started again has that of its predecessor.
        start: how many workers had been started before this one.
        machine: a number that the supervisor drew; tells the workers of one machine from those of others.
        link: leads to the supervisor.
        room: how many connections there may be.
        bans: who is banned.
        sockets: those that were passed on to the supervisor, by name (`inherit`): all workers accept from them.
    """

    index: int
    start: int
    machine: int
    link: Link
    room: SharedRoom
    bans: SharedBans
    sockets: Mapping[str, Sequence[socket.socket]]

    @property
    def succeeds(self) -> bool:
        """Whether it takes the place of one that has ended."""
        return self.start > self.index
