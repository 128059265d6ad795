"""What the commands share: the parser of their arguments, how faults are told, and what exit codes mean."""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "API_URL",
    "EXIT_CONFIG",
    "EXIT_FAILURE",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "KEY_VARIABLE",
    "PROGRAM",
    "TOKEN_FORM",
    "TOKEN_VARIABLE",
    "WEBSOCKET_URL",
    "Parser",
    "above_zero",
    "add_url",
    "complain",
    "is_websocket_url",
    "parse_time",
    "printable",
    "split",
]

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
EXIT_CONFIG: Final = 2
EXIT_INTERRUPTED: Final = 130
"""What shells show for a program that Ctrl-C has ended."""

PROGRAM: Final = "valtronics-fast"

API_URL: Final = "http://127.0.0.1:8001"
"""Where the HTTP API of a server with default settings is."""

WEBSOCKET_URL: Final = "ws://127.0.0.1:8000/ws"
"""And its WebSocket."""

TOKEN_VARIABLE: Final = "VALTRONICS_TOKEN"  # noqa: S105 - its name
KEY_VARIABLE: Final = "VALTRONICS_API_KEY"
TOKEN_FORM: Final = re.compile(r"[!-~]+")


class Parser(argparse.ArgumentParser):
    """Takes flags by their full names, and tells faults in the form of configuration faults."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong and exit."""
        complain([f"{message} (see {self.prog} --help)"])
        raise SystemExit(EXIT_CONFIG)


def add_url(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says where the HTTP API is: by default where a server with these variables is, on this host."""
    url = f"http://127.0.0.1:{port}" if (port := os.environ.get("VFAST_HTTP__PORT")) else API_URL
    said = f"the HTTP API of the server (port $VFAST_HTTP__PORT of this host, or {API_URL})"
    parser.add_argument("--url", default=url, metavar="URL", help=said)


def above_zero(name: str, text: str) -> float:
    """Read a duration that may not be 0, and name the flag when it is no such one."""
    seconds = parse_time(name, text)
    if not seconds:
        raise ValueError(f"{name}: must be above 0")
    return seconds


def parse_time(name: str, text: str) -> float:
    """Read a duration, and name the flag when it is none."""
    from valtronics_fast.units import parse_duration  # noqa: PLC0415 - see printable

    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}, not {text!r}") from None


def split(text: str) -> list[str]:
    """Split a list at its commas."""
    return [entry for part in text.split(",") if (entry := part.strip())]


def is_websocket_url(text: str) -> bool:
    """Say whether a text is a URL of a WebSocket."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - as in printable

    try:
        parts = urlsplit(text)
        return parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0 and text.isprintable()
    except ValueError:  # a port that is none, for instance
        return False


def printable(text: str) -> str:
    """Write a text on one line, so that it can do nothing to a terminal.

    What escapes is loaded where there is something to escape: `health` is run every few seconds.
    """
    if text.isprintable():
        return text
    from valtronics_fast.logging import escape  # noqa: PLC0415

    return escape(text)


def complain(problems: Iterable[str]) -> None:
    """Write problems to the standard error, each on one line."""
    for problem in problems:
        print(f"{PROGRAM}: {printable(problem)}", file=sys.stderr)
