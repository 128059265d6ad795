"""Whether this node is the one among several that takes in data which is there only once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from valtronics_fast.producers.base import Election

__all__ = ["STANDSTILL", "Leadership"]

LOOK: Final = 0.2
"""Seconds between two looks at what the nodes have agreed on."""

STANDSTILL: Final = 3.0
"""Seconds without a look after which this process counts as having stood still: the others may have replaced it since.

Less than the lifetime of a node (backplanes/members.py), so that it is noticed before that.
"""


class Leadership:
    """Follows an election for a role.

    A process that stood still goes on in the middle of what it did, with data that others have taken in its place. So
    it is asked before each message whether it holds the role, and it does not unless it has looked lately.

    Args:
        election: who is elected.
        role: for what.

    Attributes:
        on_lost: called when the role is held no longer.
    """

    def __init__(self, election: Election, role: str) -> None:
        self.on_lost: Callable[[], object] | None = None
        self._election = election
        self._role = role
        self._looked_at = time.monotonic()

    def holds(self) -> bool:
        """Say whether this node holds the role now."""
        return self._election.leads(self._role) and time.monotonic() - self._looked_at < STANDSTILL

    async def gained(self) -> None:
        """Wait until this node holds the role."""
        while not self.holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(LOOK)

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            now = time.monotonic()
            if now - self._looked_at >= STANDSTILL:
                self._election.pause()
            self._looked_at = now
            if self.on_lost is not None and not self._election.leads(self._role):
                self.on_lost()
            await asyncio.sleep(LOOK)
