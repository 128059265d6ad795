"""How late the event loop is: what every connection waits for, whatever it is that keeps the loop busy."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

from valtronics_fast._core.histogram import Histogram

__all__ = ["LoopLag"]

INTERVAL: Final = 0.1
"""Seconds between two looks."""

KEPT: Final = 100
"""Looks that are remembered one by one: ten seconds."""


class LoopLag:
    """Measures how much later than asked for the loop calls. Bounded: the last KEPT looks, and a histogram of all.

    A timer of uvloop may fire up to a millisecond late (or early, which counts as 0) on a loop with nothing to do.

    Attributes:
        histogram: of the seconds, since the start.
    """

    def __init__(self) -> None:
        self.histogram = Histogram(1e-6, 8, 16)
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
        late = max(time.monotonic() - due, 0.0)
        self._late.append(late)
        self.histogram.observe(late)
        self.start()
