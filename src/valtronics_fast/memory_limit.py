"""What is done when the process has more memory than it may: nobody comes in, and who has most waiting goes."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from resource import getpagesize
from typing import TYPE_CHECKING

from valtronics_fast.logging import fields

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MemoryLimit", "resident"]

INTERVAL = 1.0
"""Seconds between two looks."""

RELIEVED = 0.95
"""The share of the limit below which clients are let in again."""

_STATM = Path("/proc/self/statm")

_log = logging.getLogger(__name__)


def resident() -> int:
    """Return the process's resident memory in bytes; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * getpagesize()
    except OSError:
        return 0


class MemoryLimit:
    """Looks every second whether the process is over its limit.

    Args:
        limit: bytes; 0: there is none.
        refuse: told whether clients are to be refused, when that changes.
        shed: closes the client that most waits for; says whether there was one.
        measure: returns the bytes that are used.

    Attributes:
        limit: as given; may be changed.
        exceeded: whether it is exceeded now.
        closed: how many clients had to go.
    """

    def __init__(
        self,
        limit: int,
        *,
        refuse: Callable[[bool], None],
        shed: Callable[[], bool],
        measure: Callable[[], int] = resident,
    ) -> None:
        self.limit = limit
        self.exceeded = False
        self.closed = 0
        self._refuse = refuse
        self._shed = shed
        self._measure = measure
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look; within the running event loop."""
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._run)

    def stop(self) -> None:
        """End. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Compare, and do what is to be done."""
        used = self._measure() if self.limit else 0
        exceeded = used > (self.limit * RELIEVED if self.exceeded else self.limit)
        if exceeded and self._shed():
            self.closed += 1
        if exceeded == self.exceeded:
            return
        self.exceeded = exceeded
        self._refuse(exceeded)
        if exceeded:
            _log.error("over limits.memory: nobody is let in", extra=fields(used=used, limit=self.limit))
        else:
            _log.warning("within limits.memory again", extra=fields(used=used, closed=self.closed))

    def _run(self) -> None:
        self.look()
        self.start()
