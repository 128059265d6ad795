"""Gives memory back to the system that the allocator has kept after a crowd has gone."""

from __future__ import annotations

import asyncio
import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONNECTION", "SUBSCRIPTION", "TLS", "Trimmer"]

CONNECTION = 6 << 10
"""Bytes of an idle connection, roughly."""

SUBSCRIPTION = 64
"""Bytes of a device that a connection has subscribed to, roughly: fewer where many have, more where nobody else has."""

TLS = 64 << 10
"""Bytes that TLS takes for a connection, or for a stranger in its handshake, roughly."""

SAMPLE = 1.0
"""Seconds between two estimates: a crowd may come and go between two looks."""

INTERVAL = 30.0
"""Seconds between two looks."""

WORTH = 16 << 20
"""Bytes below which nothing is done: a trim takes some 10 ms for each 100 MB."""


class Trimmer:
    """Looks now and then whether much less is in use than there was, and then has the C library trim its heap.

    glibc keeps freed memory that lies between pieces in use; after 1,000,000 subscriptions have ended that was 74 of
    82 MiB. Where the C library can't trim (musl gives back by itself) nothing is done.

    Args:
        used: estimates the bytes in use.
    """

    def __init__(self, used: Callable[[], int]) -> None:
        self._used = used
        self._most = 0
        self._looked = 0.0
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look; within the running event loop."""
        self._looked = asyncio.get_running_loop().time()
        self._sample_later()

    def stop(self) -> None:
        """End. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> bool:
        """Trim when less than half of the most since the last trim is in use; say whether it was done."""
        used = self._used()
        self._most = max(self._most, used)
        if self._most - used < max(WORTH, used):
            return False
        self._most = used
        if self._trim is None:
            return False
        self._trim(0)
        return True

    def _sample_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SAMPLE, self._sample)

    def _sample(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._looked >= INTERVAL:
            self._looked = now
            self.look()
        else:
            self._most = max(self._most, self._used())
        self._sample_later()
