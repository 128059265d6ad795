"""Which node plays a role that only one at a time is to play, such as subscribing at an MQTT broker.

Every node says in its heartbeats which roles it stands for, since when, and which it plays. Who plays one goes on; else
it is the node that has stood for longest. That needs no vote, since everybody hears the same; and it is no lock: for a
moment two may play, so whatever the role is about must bear that.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from valtronics_fast.backplanes.members import INTERVAL

if TYPE_CHECKING:
    from valtronics_fast.backplanes.members import Members

__all__ = ["LISTENING", "LISTENING_AGAIN", "Election"]

LISTENING: Final = 2.5 * INTERVAL
"""Seconds for which a node hears the others before it judges: each of them has spoken by then."""

LISTENING_AGAIN: Final = 6 * INTERVAL
"""The same where the log was away: who plays meanwhile may find it again later, by an attempt that hangs and a pause.

Who took its place in that time would put what comes now before what that one still has for the log.
"""


class Election:
    """The roles that this node stands for, and those that it plays.

    While the log is away nothing is judged: who plays a role goes on, and nobody else begins.

    Args:
        node: this node's number.
        members: the others.

    Attributes:
        stands: role -> since when (Unix milliseconds).
        plays: the roles that it plays.
        heard: the roles that another node has been heard to play.
    """

    def __init__(self, node: int, members: Members) -> None:
        self.stands: dict[str, int] = {}
        self.plays: set[str] = set()
        self.heard: set[str] = set()
        self._node = node
        self._members = members
        self._judges_from = 0.0

    def stand(self, role: str) -> None:
        """Stand for a role from now on."""
        self.stands[role] = time.time_ns() // 1_000_000

    def appoint(self, role: str, *, succeeds: bool) -> None:
        """Play a role at once: no other node will stand for it.

        Args:
            role: which one.
            succeeds: another node has played it, which is gone.
        """
        self.plays.add(role)
        if succeeds:
            self.heard.add(role)

    def withdraw(self, role: str) -> None:
        """Stand for a role no longer."""
        self.stands.pop(role, None)
        self.plays.discard(role)

    def leads(self, role: str) -> bool:
        """Say whether this node is to play a role now."""
        return role in self.plays

    def leader(self, role: str) -> int | None:
        """Return which node plays a role, as far as is known."""
        if self.leads(role):
            return self._node
        return next((heartbeat.node for heartbeat in self._members.heartbeats() if role in heartbeat.plays), None)

    def resign(self, role: str) -> None:
        """Play a role no longer until that is judged anew: another node has begun to."""
        self.plays.discard(role)

    def pause(self) -> None:
        """Play nothing until the others have been heard: this process stood still, and may have been replaced."""
        self.plays.clear()
        self.listen()

    def listen(self, *, again: bool = False) -> None:
        """Hear the others before anything is judged: the log has just been opened; again: it was away."""
        self._judges_from = asyncio.get_running_loop().time() + (LISTENING_AGAIN if again else LISTENING)

    def judge(self) -> None:
        """Find out what to play; for each heartbeat while the log is there."""
        heartbeats = list(self._members.heartbeats())
        for heartbeat in heartbeats:
            self.heard.update(heartbeat.plays)
        if asyncio.get_running_loop().time() < self._judges_from:
            return
        for role, since in self.stands.items():
            others = [
                (role not in heartbeat.plays, heartbeat.stands[role], heartbeat.node)
                for heartbeat in heartbeats
                if role in heartbeat.stands
            ]
            if all((role not in self.plays, since, self._node) < other for other in others):
                self.plays.add(role)
            else:
                self.plays.discard(role)
