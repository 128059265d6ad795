"""What the commands share: the parser of their arguments, how faults are told, and what exit codes mean."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from valtronics_fast.logging import escape
from valtronics_fast.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EXIT_CONFIG", "EXIT_FAILURE", "EXIT_OK", "PROGRAM", "Parser", "complain", "parse_time", "split"]

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
EXIT_CONFIG: Final = 2

PROGRAM: Final = "valtronics-fast"


class Parser(argparse.ArgumentParser):
    """Takes flags by their full names, and tells faults in the form of configuration faults."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong and exit."""
        complain([f"{message} (see {self.prog} --help)"])
        raise SystemExit(EXIT_CONFIG)


def parse_time(name: str, text: str) -> float:
    """Read a duration, and name the flag when it is none."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}, not {text!r}") from None


def split(text: str) -> list[str]:
    """Split a list at its commas."""
    return [entry for part in text.split(",") if (entry := part.strip())]


def complain(problems: Iterable[str]) -> None:
    """Write problems to the standard error, each on one line."""
    for problem in problems:
        print(f"{PROGRAM}: {escape(problem)}", file=sys.stderr)
