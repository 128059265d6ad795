"""How many sockets and files this process may have open (RLIMIT_NOFILE), and noticing when there are no more."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource

from valtronics_fast.logging import fields

__all__ = ["WATCH_INTERVAL", "DescriptorWatch", "raise_descriptor_limit"]

WATCH_INTERVAL = 1.0
"""Seconds between two looks whether a descriptor is left."""

_PER_CONNECTION = 4
"""A client's socket, and as much again for strangers in the handshake, HTTP, and those that are being closed."""

_RESERVE = 64
"""What is open without any client: what listens, the broker's connection, the event loop's own."""

_log = logging.getLogger(__name__)


def raise_descriptor_limit(connections: int) -> None:
    """Raise the soft limit of open descriptors to the hard one, and log when that is not enough.

    Many systems start programs with a soft limit of 1024, for the sake of those that call select(); nothing
    here does. A server that runs out of descriptors can't accept anybody, and says so to nobody. The limit
    counts for the whole process: it is for a process to call this, not for a `Server` within one.

    Args:
        connections: `limits.connections`; with 0, no limit, there is no number to compare with.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # a system with a further limit of its own
        _log.warning("the limit of open files can't be raised", extra=fields(limit=soft, problem=error))
    else:
        soft = hard
    needed = _PER_CONNECTION * connections + _RESERVE
    if soft != resource.RLIM_INFINITY and soft < needed:
        _log.warning(
            "the limit of open files is low for limits.connections; raise the hard one (ulimit -Hn)",
            extra=fields(limit=soft, needed=needed, connections=connections),
        )


class DescriptorWatch:
    """Looks every second whether a descriptor is left, counts the looks that find none, and logs when that changes.

    Nobody else tells: libuv accepts and closes at once whoever connects then (it keeps one descriptor for that), so
    that the server does not spin and goes on serving those it has, and the program hears of none of it.

    Attributes:
        exhausted: how many looks found none left.
    """

    def __init__(self) -> None:
        self.exhausted = 0
        self._lasts = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look; within the running event loop."""
        self._timer = asyncio.get_running_loop().call_later(WATCH_INTERVAL, self._run)

    def stop(self) -> None:
        """End. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Open a descriptor and close it again."""
        none_left = False
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            none_left = error.errno in {errno.EMFILE, errno.ENFILE}
        self.exhausted += none_left
        if none_left and not self._lasts:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            _log.error("no descriptor is left: who connects now is cut off", extra=fields(limit=limit))
        elif self._lasts and not none_left:
            _log.warning("there are descriptors again", extra=fields(seconds_without=self.exhausted))
        self._lasts = none_left

    def _run(self) -> None:
        self.look()
        self.start()
