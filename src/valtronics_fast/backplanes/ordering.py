"""Puts what comes a moment too early behind what comes a moment too late."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HOLD", "Ordering"]

HOLD = 0.02
"""Seconds that something waits for what has a lower number."""

_T = TypeVar("_T")


class Ordering(Generic[_T]):
    """Hands things on in the order of their numbers. What follows the last one that was handed on does not wait.

    Args:
        take: gets number and thing. What comes later than HOLD gets there too, out of order.
    """

    def __init__(self, take: Callable[[int, _T], None]) -> None:
        self._take = take
        self._waiting: list[tuple[int, float, _T]] = []  # a heap: number, when it came
        self._last = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, number: int, thing: _T) -> None:
        """Add what has come."""
        if number <= self._last + 1:
            self._hand_on(number, thing)
            while self._waiting and self._waiting[0][0] == self._last + 1:
                number, _, thing = heapq.heappop(self._waiting)
                self._hand_on(number, thing)
            return
        loop = asyncio.get_running_loop()
        heapq.heappush(self._waiting, (number, loop.time(), thing))
        if self._timer is None:
            self._timer = loop.call_later(HOLD, self._flush)

    def clear(self) -> None:
        """Forget what waits, and the numbers."""
        self._waiting.clear()
        self._last = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hand_on(self, number: int, thing: _T) -> None:
        self._last = max(self._last, number)
        self._take(number, thing)

    def _flush(self) -> None:
        """Hand on what has waited long enough, and all that has a lower number."""
        loop = asyncio.get_running_loop()
        old = loop.time() - HOLD + 0.001
        ripe = max((number for number, came_at, _ in self._waiting if came_at <= old), default=0)
        while self._waiting and self._waiting[0][0] <= max(ripe, self._last + 1):
            number, _, thing = heapq.heappop(self._waiting)
            self._hand_on(number, thing)
        self._timer = None
        if self._waiting:
            oldest = min(came_at for _, came_at, _ in self._waiting)
            self._timer = loop.call_at(oldest + HOLD, self._flush)
