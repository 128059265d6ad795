"""Finds out that a worker hangs: its event loop does not turn any more, although it could."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["Watchdog", "interval"]

_LOOKS: Final = 6
"""Looks within the time after which a worker hangs; it beats as often."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_WAITING: Final = frozenset("RD")
"""States (proc(5)) of who runs or waits for a CPU, and of who waits for a disk."""


def interval(patience: float) -> float:
    """Return the seconds between two beats, and between two looks, when a worker hangs after so many seconds."""
    return min(1.0, patience / _LOOKS)


class Watchdog:
    """Watches one process, which counts up in shared memory as long as its event loop turns (`Segment.beat`).

    What it waits for a CPU or a disk is no fault of its own, so on a machine that has too much to do it is given
    longer: while it is runnable its CPU time counts, which it uses up in an endless loop only. While it sleeps or is
    stopped real time does. Time in which the one who looks did not run does not count either.

    Args:
        pid: of the process.
        beats: that it had counted before.

    Attributes:
        silent: seconds without a beat.
    """

    def __init__(self, pid: int, beats: int) -> None:
        self.silent = 0.0
        self._stat = f"/proc/{pid}/task/{pid}/stat"  # of the thread with the event loop
        self._beats = beats
        self._cpu = 0.0

    def look(self, beats: int, elapsed: float) -> float:
        """Return for how many seconds the process has been silent.

        Args:
            beats: that it has counted.
            elapsed: seconds since the last look, as they should be.
        """
        try:
            with open(self._stat) as file:  # noqa: PTH123 - kept short: it is done for each worker each second
                state, *fields = file.read().rpartition(")")[2].split()
        except OSError:  # it has ended
            return 0.0
        before, self._cpu = self._cpu, (int(fields[10]) + int(fields[11])) / _TICKS
        if beats != self._beats:
            self._beats = beats
            self.silent = 0.0
        else:
            self.silent += min(elapsed, self._cpu - before) if state in _WAITING else elapsed
        return self.silent
