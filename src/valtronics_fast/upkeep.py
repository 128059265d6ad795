"""What a server looks after: memory, descriptors, how late its event loop is, and that its log tells what it omits."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from valtronics_fast.descriptors import DescriptorWatch
from valtronics_fast.logging import PERIOD, tell_suppressed
from valtronics_fast.loop_lag import LoopLag
from valtronics_fast.memory import CONNECTION, SUBSCRIPTION, TLS, Trimmer
from valtronics_fast.memory_limit import MemoryLimit, resident
from valtronics_fast.version import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from valtronics_fast._core.hub import Hub

__all__ = ["Upkeep"]


class Upkeep:
    """Starts, stops and asks all that looks after the process.

    Args:
        hub: whose memory it is, and who closes clients for the sake of it.
        memory: `limits.memory`.
        refuse: told whether clients are to be refused, when that changes.
        strangers: returns how many connections are in the handshake, with TLS; None: there is no TLS.
    """

    def __init__(
        self, hub: Hub, memory: int, refuse: Callable[[bool], None], strangers: Callable[[], int] | None = None
    ) -> None:
        self._hub = hub
        self._strangers = strangers
        self._limit = MemoryLimit(memory, refuse=refuse, shed=hub.shed)
        self._descriptors = DescriptorWatch()
        self._trimmer = Trimmer(self.used)
        self._lag = LoopLag()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; within the running event loop."""
        for each in (self._trimmer, self._limit, self._descriptors, self._lag):
            each.start()
        self._tell_suppressed()

    def stop(self) -> None:
        """End. Idempotent."""
        for each in (self._trimmer, self._limit, self._descriptors, self._lag):
            each.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def reload(self, memory: int) -> None:
        """Take a new `limits.memory`."""
        self._limit.limit = memory

    def stats(self) -> dict[str, object]:
        """Return how it stands."""
        return {
            "seconds_without_descriptors": self._descriptors.exhausted,
            "short_of_memory": self._limit.exceeded,
            "closed_for_memory": self._limit.closed,
            "event_loop": self._lag.stats(),
            "loop_lag": self._lag.histogram.figures(),
            "memory": {"resident": resident(), "limit": self._limit.limit},
            "cpu_seconds": round(time.process_time(), 6),
            "build": build(),
        }

    def _tell_suppressed(self) -> None:
        """Log how many lines were left out, and come again."""
        tell_suppressed()
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self._tell_suppressed)

    def used(self) -> int:
        """Return the bytes that clients and strangers take, roughly."""
        connections = len(self._hub.connections())
        secured = 0 if self._strangers is None else connections + self._strangers()
        return connections * CONNECTION + secured * TLS + self._hub.index.entries * SUBSCRIPTION
