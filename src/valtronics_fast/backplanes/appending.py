"""The way from what a node has published into the log."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from valtronics_fast.backplanes.log import LogError

if TYPE_CHECKING:
    from collections.abc import Callable

    from valtronics_fast.backplanes.log import Log
    from valtronics_fast.backplanes.outgoing import Outgoing, Sealed

__all__ = ["Appender"]


class Appender:
    """Appends what waits, one piece after the other; what gathers meanwhile goes with the next one.

    Args:
        log: where to.
        outgoing: what waits.
        patience: seconds that somebody waits for it at most.
        taken: is called with each envelope that the log has taken.
        lost: is called when the log turns out to be gone.
    """

    def __init__(
        self,
        log: Log,
        outgoing: Outgoing,
        patience: float,
        taken: Callable[[Sealed], None],
        lost: Callable[[LogError], None],
    ) -> None:
        self._log = log
        self._outgoing = outgoing
        self._patience = patience
        self._taken = taken
        self._lost = lost
        self._lost_at: float | None = None  # since when the log is away
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """The log is there: append what waits for it."""
        self._lost_at = None
        if self._outgoing:
            self.wake()

    def lose(self) -> None:
        """The log is gone, or not there yet."""
        if self._lost_at is None:
            self._lost_at = asyncio.get_running_loop().time()
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        """Wait until nothing is being appended, after a loss."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Something waits."""
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._append())

    async def settled(self) -> bool:
        """Wait until the log has taken everything that waits now; False: it has not.

        Not longer than the patience, and not at all where the log has been away for so long.
        """
        since = asyncio.get_running_loop().time() if self._lost_at is None else self._lost_at
        with suppress(TimeoutError):
            async with asyncio.timeout_at(since + self._patience):
                await self._outgoing.settle()
                return True
        return False

    async def flush(self) -> None:
        """Wait until the log has taken everything that waits now; LogError: not within the patience."""
        try:
            async with asyncio.timeout(self._patience):
                await self._outgoing.settle()
        except TimeoutError:
            raise LogError("it does not take what is published") from None

    async def _append(self) -> None:
        await asyncio.sleep(0)  # the turn's other messages come with it
        try:
            while self._lost_at is None and self._outgoing:
                batches = self._outgoing.take()
                await self._log.append(batches)
                for sealed in self._outgoing.acknowledge(len(batches)):
                    self._taken(sealed)
        except LogError as error:
            self._lost(error)
