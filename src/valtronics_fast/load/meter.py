"""How busy the load test itself is: what a client that is the bottleneck measures is itself."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from valtronics_fast.load.histogram import Histogram

__all__ = ["MAX_CPU", "MAX_LAG", "Busy", "Meter"]

MAX_CPU = 0.85
"""Part of one CPU that this process may use; beyond it messages wait for it rather than for the server."""

MAX_LAG = 0.02
"""Seconds that one turn in a hundred of its event loop may be late."""

_TICK = 0.01


class Busy(NamedTuple):
    """How busy this process was for a time.

    Attributes:
        seconds: the time.
        cpu: used of one CPU, 0 to 1.
        lag: seconds that 99 of 100 turns of the event loop were not later than.
        greatest_lag: the most.
    """

    seconds: float
    cpu: float
    lag: float
    greatest_lag: float

    def faults(self) -> list[str]:
        """Say why what was measured meanwhile is not usable; nothing when it is."""
        found = []
        if self.cpu > MAX_CPU:
            found.append(f"this client used {self.cpu:.0%} of a CPU (more than {MAX_CPU:.0%})")
        if self.lag > MAX_LAG:
            found.append(f"its event loop was {self.lag * 1000:.0f} ms late (more than {MAX_LAG * 1000:.0f} ms)")
        return found


class Meter:
    """Measures this process from the start to `stop`; within the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lags = Histogram()
        self._began, self._cpu = time.monotonic(), time.process_time()
        self._due = self._loop.time() + _TICK
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        self._lags.record(now - self._due)
        self._due = now + _TICK
        self._timer = self._loop.call_at(self._due, self._tick)

    def stop(self) -> Busy:
        """Stop, and return what was measured."""
        self._timer.cancel()
        self._lags.record(max(self._loop.time() - self._due, 0.0))  # the turn that is late now
        seconds = max(time.monotonic() - self._began, 1e-9)
        cpu = (time.process_time() - self._cpu) / seconds
        return Busy(seconds, cpu, self._lags.percentile(99), self._lags.greatest)
