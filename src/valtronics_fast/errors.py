"""The package's exceptions; what a client sees of them is defined in `_core.wire`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast._core.publication import PublicationError
from valtronics_fast._core.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AuthError", "BusyError", "ConfigError", "PublicationError", "StartError", "ValtronicsError"]


class ValtronicsError(Exception):
    """Base of the errors that this package raises."""


class BusyError(ValtronicsError):
    """Something of this kind is being done already; the text says what."""


class ConfigError(ValtronicsError):
    """The configuration has faults; all of them are told at once.

    Attributes:
        problems: one line a fault: which setting, where its value came from, what is allowed.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class AuthError(ValtronicsError):
    """A token was refused.

    The text is constant for each code, so that it tells an attacker nothing; the reason is for logs and
    metrics alone.

    Attributes:
        code: INVALID_TOKEN or TOKEN_EXPIRED.
        reason: why, a word from a fixed vocabulary (it never holds anything taken from the token).
    """

    def __init__(self, reason: str, code: ErrorCode = ErrorCode.INVALID_TOKEN) -> None:
        self.code = code
        self.reason = reason
        expired = code == ErrorCode.TOKEN_EXPIRED
        super().__init__("the token has expired" if expired else "the token is not valid")


class StartError(ValtronicsError):
    """The server could not start, for a reason that lies outside of its configuration's form.

    Attributes:
        problems: what keeps it from starting, one line each.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))
