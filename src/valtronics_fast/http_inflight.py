"""The publish requests that are being served: so that none is broken off when the server goes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from valtronics_fast.http_listener import HttpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["RETRY_AFTER", "InFlight"]

RETRY_AFTER: Final = 5
"""Seconds after which a publisher that comes too late may try again: at the next process, then."""


class InFlight:
    """Counts the requests that publish, and brings them to an end."""

    def __init__(self) -> None:
        self._open = True
        self._running = 0
        self._streams: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request, from its head to its answer.

        Raises:
            HttpError: 503, no more are taken.
        """
        if not self._open:
            raise _shutting_down()
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[None]:
        """Read a body within this that may have no end: `end` breaks off what waits in it.

        Raises:
            HttpError: 503, the server goes.
        """
        if not self._open:
            raise _shutting_down()
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._streams.add(scope)
                yield
        except TimeoutError:
            if scope.expired():
                raise _shutting_down() from None
            raise
        finally:
            self._streams.discard(scope)

    async def end(self, patience: float) -> None:
        """Take no more requests, end the streams, and wait so many seconds for the others."""
        self._open = False
        for scope in tuple(self._streams):
            scope.reschedule(asyncio.get_running_loop().time())
        with suppress(TimeoutError):  # whoever is that slow is cut off with its connection
            async with asyncio.timeout(patience):
                await self._idle.wait()


def _shutting_down() -> HttpError:
    headers = {"Retry-After": str(RETRY_AFTER)}
    return HttpError(503, "shutting_down", "the server is shutting down", close=True, headers=headers)
