"""What a target is: it takes any bytes and must find nothing wrong with what becomes of them.

It compares with a slow, obvious model, or with somebody else's library, where there is one; else what is answered must
be what may be answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from types import ModuleType

__all__ = ["Target", "expect"]


@dataclass(frozen=True)
class Target:
    """Something to fuzz.

    Attributes:
        start: returns what takes one input.
        python: modules whose lines count as coverage, beside the core.
    """

    start: Callable[[], Callable[[bytes], None]]
    python: tuple[ModuleType, ...] = ()


def expect(what: object, known: Container[object]) -> None:
    """Fail with what it is, where that is not known."""
    assert what in known, what
