"""A logger for what strangers can cause: whatever they do, only so many lines a second."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LINES_PER_SECOND", "QuietLogger"]

LINES_PER_SECOND: Final = 10


class QuietLogger:
    """Forwards to a logger at most LINES_PER_SECOND; the next line then says how many were left out.

    It has the methods that picows calls, and is no `logging.Logger` on purpose: of those picows makes a copy
    for every connection. Its debug, info and error lines (several a connection, some of
    which quote the client) are not forwarded.

    Args:
        logger: where the lines go.
        clock: seconds of a monotonic clock.
    """

    __slots__ = ("_clock", "_left", "_left_out", "_logger", "_second_began")

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._second_began = clock()
        self._left = LINES_PER_SECOND
        self._left_out = 0

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        """Say whether picows need bother to build a line."""
        return level >= logging.WARNING and self._logger.isEnabledFor(level)

    def debug(self, message: str, *args: object) -> None:
        """Leave it out."""

    def info(self, message: str, *args: object) -> None:
        """Leave it out."""

    def warning(self, message: str, *args: object) -> None:
        """Forward a warning."""
        self.log(logging.WARNING, message, *args)

    def error(self, message: str, *args: object) -> None:
        """Leave out what picows finds wrong with a client's bytes: the line at the disconnect has the close code."""

    def exception(self, message: str, *args: object) -> None:
        """Forward an error with the traceback of the exception that is being handled."""
        self.log(logging.ERROR, message, *args, exc_info=True)

    def log(self, level: int, message: str, *args: object, exc_info: BaseException | bool = False) -> None:
        """Forward a line of any level, unless there were too many."""
        if not self._logger.isEnabledFor(level):
            return
        now = self._clock()
        if now - self._second_began >= 1.0:
            self._second_began, self._left = now, LINES_PER_SECOND
        if not self._left:
            self._left_out += 1
            return
        self._left -= 1
        if self._left_out:
            message, args, self._left_out = f"{message} (%d lines were left out)", (*args, self._left_out), 0
        self._logger.log(level, message, *args, exc_info=exc_info)
