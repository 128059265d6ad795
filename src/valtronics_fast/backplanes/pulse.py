"""A node's own heartbeats: that they come back says that the log works."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from valtronics_fast.backplanes.log import LogError
from valtronics_fast.backplanes.members import INTERVAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["SILENCE", "Pulse"]

SILENCE = 3.0
"""Seconds without its own heartbeat after which a node takes the log for gone, whatever the connection looks like."""

ANSWER = 0.1
"""Seconds within which a greeting is answered, at a moment by chance: many may have greeted, and many answer."""


class Pulse:
    """Beats while the log is open. Times are arguments, in monotonic seconds.

    Attributes:
        number: of the last heartbeat.
        is_lost: the log is gone.
    """

    def __init__(self) -> None:
        self.number = 0
        self.is_lost = False
        self._heard_at = 0.0
        self._is_greeted = False
        self._wake = asyncio.Event()

    def begin(self) -> None:
        """The log is about to be opened."""
        self.is_lost = self._is_greeted = False
        self._wake.clear()

    def lose(self) -> None:
        """The log is gone: end."""
        self.is_lost = True
        self._wake.set()

    def answer(self) -> None:
        """Beat soon: somebody wants to know who is there."""
        self._is_greeted = True
        self._wake.set()

    def come_back(self, now: float) -> None:
        """Note that a heartbeat has come back; or begin to wait anew, when the log was opened or the process stood."""
        self._heard_at = now

    def is_silent(self, now: float) -> bool:
        """Say whether no heartbeat has come back for too long."""
        return now - self._heard_at > SILENCE

    async def beat(
        self,
        announce: Callable[[bool], Awaitable[None]],
        look_after: Callable[[float], None],
        stood_still: Callable[[], None],
    ) -> None:
        """Beat until the log is lost.

        Args:
            announce: sends a heartbeat; the first one greets the others.
            look_after: is called after each one, with the time.
            stood_still: is called when this process did not run for so long that the others may take it for gone.

        Raises:
            LogError: the log can't be reached, or does not answer.
        """
        loop = asyncio.get_running_loop()
        greets = True
        while not self.is_lost:
            self.number += 1
            await announce(greets)
            greets = False
            slept_at = loop.time()
            look_after(slept_at)
            await self._rest()
            now = loop.time()
            if now - slept_at > SILENCE:  # the process stood still, and may yet hear what has come meanwhile
                self.come_back(now)
                stood_still()
            elif self.is_silent(now):
                raise LogError("it does not answer")

    async def _rest(self) -> None:
        """Wait for the next heartbeat's time; for a shorter one when somebody greets, and not at all after a loss."""
        with suppress(TimeoutError):
            async with asyncio.timeout(INTERVAL):
                await self._wake.wait()
        if self._is_greeted and not self.is_lost:
            self._is_greeted = False
            self._wake.clear()
            await asyncio.sleep(random.uniform(0, ANSWER))  # noqa: S311 - no secret
