"""On which line of a TOML document each of its keys stands: neither tomllib nor tomlkit tells that.

A statement of TOML ends with a line, and no beginning of one is a document of its own. So the lines are put together
until tomllib takes them, and what it reads out of them is what the statement sets.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["find_fault_line", "find_lines"]

_MAY_END = re.compile(r"""[\]}]|\"{3}|'{3}""")
"""What the last line of a statement of several lines has; it spares the attempts to read long lists at each line."""

_FAULT_LINE = re.compile(r"at line ([0-9]+)")


def find_lines(document: str) -> dict[tuple[str, ...], int]:
    """Return the first line of each key and table, from 1 on, by its path: `("server", "port")`.

    Args:
        document: what tomllib takes as a whole.
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, text in _statements(document):
        found = list(_paths(tomllib.loads(text)))
        above = table
        if text.lstrip().startswith("["):
            table, above = max(found, key=len), ()
        for path in found:
            lines.setdefault(above + path, number)
    return lines


def find_fault_line(error: tomllib.TOMLDecodeError) -> int | None:
    """Return the line that tomllib names in what it says; None at the end of the document."""
    match = _FAULT_LINE.search(str(error))
    return int(match[1]) if match else None


def _statements(document: str) -> Iterator[tuple[int, str]]:
    """Yield each statement, blank line and comment with the number of its first line."""
    waiting: list[str] = []
    for number, line in enumerate(document.replace("\r\n", "\n").split("\n"), 1):
        waiting.append(line)
        if len(waiting) > 1 and not _MAY_END.search(line):
            continue
        text = "\n".join(waiting)
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
        yield number - len(waiting) + 1, text
        waiting.clear()


def _paths(table: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each key, that of a table before those in it."""
    for name, value in table.items():
        path = (*above, name)
        yield path
        if isinstance(value, dict):
            yield from _paths(value, path)
