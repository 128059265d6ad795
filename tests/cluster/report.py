"""The table, as text for a terminal and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cluster.campaign import Result

HEAD = (
    *("row", "what happens", "expected", "once", "lost", "announced", "out of order", "older", "doubled"),
    *("again", "by replay", "returns", "repeated requests", "healed after", "result"),
)


def markers(log: str) -> tuple[str, str]:
    """Return what stands before and behind a log's table in a page."""
    return f"<!-- faults, {log}: begin -->\n", f"<!-- faults, {log}: end -->\n"


def _cells(result: Result) -> Sequence[str]:
    tally = result.tally
    missing = (tally.lost, tally.announced, tally.disordered, tally.older)
    more = (tally.doubled, tally.again, tally.replayed)
    return (
        result.row.name,
        result.row.about,
        f"{tally.expected:,}",
        f"{tally.once:,}",
        *(f"{count:,}" for count in (*missing, *more)),
        f"{result.returns.total():,}",
        f"{result.retries:,}",
        "never" if result.heal is None else f"{result.heal:.1f} s",
        "FAILED" if result.failures() else "ok",
    )


def as_text(results: Sequence[Result]) -> str:
    """Return the table with columns, for a terminal."""
    rows = [[cell for place, cell in enumerate(cells) if place != 1] for cells in (HEAD, *map(_cells, results))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def as_markdown(results: Sequence[Result]) -> str:
    """Return the table as it stands in docs/scaling.md."""
    lines = [HEAD, ["---"] * len(HEAD), *map(_cells, results)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write(page: Path, log: str, results: Sequence[Result]) -> None:
    """Renew a log's table, which stands between its markers in the page."""
    begin, end = markers(log)
    before, found, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{page} has no markers")
    page.write_text(f"{before}{begin}{as_markdown(results)}{end}{after}")
