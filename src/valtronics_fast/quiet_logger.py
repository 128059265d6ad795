"""What picows logs through: of its lines, those that an operator can use, with the limit of all others."""

from __future__ import annotations

import logging

from valtronics_fast.logging import fields

__all__ = ["QuietLogger"]


class QuietLogger:
    """Forwards warnings and exceptions.

    It has the methods that picows calls, and is no `logging.Logger` on purpose: of those picows makes a copy
    for every connection. Its debug, info and error lines (several a connection, some of
    which quote the client) are not forwarded.

    Args:
        logger: where the lines go; it should be a `limited` one.
    """

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        """Say whether picows need bother to build a line."""
        return level >= logging.WARNING and self._logger.isEnabledFor(level)

    def debug(self, message: str, *args: object) -> None:
        """Leave it out."""

    def info(self, message: str, *args: object) -> None:
        """Leave it out."""

    def warning(self, message: str, *args: object) -> None:
        """Forward a warning."""
        self._logger.warning(message, *args, extra=fields(limit_key="warning"))

    def error(self, message: str, *args: object) -> None:
        """Leave out what picows finds wrong with a client's bytes: the line at the disconnect has the close code."""

    def exception(self, message: str, *args: object) -> None:
        """Forward an error with the traceback; picows calls it while it handles the exception."""
        self._logger.error(message, *args, exc_info=True, extra=fields(limit_key="exception"))  # noqa: LOG014
