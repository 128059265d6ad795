"""How late the event loop is: what every connection waits for, whatever it is that keeps the loop busy."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

__all__ = ["LoopLag"]

INTERVAL: Final = 0.1
"""Seconds between two looks."""

KEPT: Final = 100
"""Looks that are remembered: ten seconds."""


class LoopLag:
    """Measures how much later than asked for the loop calls. Bounded: the last KEPT looks."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=KEPT)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; within the running event loop."""
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._look, time.monotonic() + INTERVAL)

    def stop(self) -> None:
        """End. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stats(self) -> dict[str, float]:
        """Return the mean `lag` and the `longest` of the last ten seconds, in seconds."""
        late = self._late or (0.0,)
        return {"lag": round(sum(late) / len(late), 6), "longest": round(max(late), 6)}

    def _look(self, due: float) -> None:
        self._late.append(max(time.monotonic() - due, 0.0))
        self.start()
