"""The table, as text for a terminal and as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from abuse.result import Result

MOST = 6  # kinds of answers that are told; the rest is summed up

HARM = (
    *("row", "inputs", "seconds", "lost", "repeated", "disordered", "let in"),
    *("memory, MiB", "descriptors", "log lines", "unexpected", "result"),
)
LATENCY = ("row", "ping before", "ping during", "delivery before", "delivery during")
ANSWERS = ("row", "what the bad ones do", "what they got")


def tables(results: Sequence[Result]) -> dict[str, tuple[Sequence[str], list[Sequence[str]]]]:
    """Return three tables: what good clients and the server suffered, latencies, what the bad ones got."""
    return {
        "harm": (HARM, [_harm(result) for result in results]),
        "latency": (LATENCY, [_latency(result) for result in results]),
        "answers": (ANSWERS, [(result.row.name, result.row.about, _answers(result)) for result in results]),
    }


def _harm(result: Result) -> Sequence[str]:
    memory = " → ".join(str(size >> 20) for size in (result.before.memory, result.peak, result.after.memory))
    return (
        result.row.name,
        f"{result.outcome.inputs:,}",
        f"{result.seconds:.0f}",
        f"{result.lost:,}",
        f"{result.repeated:,}",
        f"{result.disordered:,}",
        f"{result.let_in:,}" if result.row.open else "-",
        memory,
        f"{result.before.descriptors} → {result.after.descriptors}",
        f"{len(result.lines):,}",
        str(len(result.unexpected())),
        "FAILED" if result.failures() else "ok",
    )


def _latency(result: Result) -> Sequence[str]:
    pairs = (*result.round_trips, *result.deliveries)
    return (result.row.name, *(f"{median:.1f} / {most:.0f}" for median, most in pairs))


def _answers(result: Result) -> str:
    """Return what the bad ones got; where they could not tell, the server's own counts."""
    told = result.outcome.got if result.row.must <= result.outcome.got.keys() else result.server
    found = sorted(told.items(), key=lambda item: -item[1])
    parts = [f"{name}: {count:,}" for name, count in found[:MOST]]
    if len(found) > MOST:
        parts.append(f"{len(found) - MOST} others: {sum(count for _, count in found[MOST:]):,}")
    return ", ".join(parts) or "none to tell"


def as_text(results: Sequence[Result]) -> str:
    """Return the tables with columns, for a terminal."""
    made = []
    for head, rows in tables(results).values():
        widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            made.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        made.append("")
    return "\n".join(made)


def as_markdown(results: Sequence[Result], about: str) -> dict[str, str]:
    """Return what docs/operations.md has of a run: the three tables, and `run`, a sentence about it and the machine."""
    made = {}
    for name, (head, rows) in tables(results).items():
        lines = [head, ["---"] * len(head), *rows]
        made[name] = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    minutes = sum(result.seconds for result in results) / 60
    made["run"] = f"The run below: {minutes:.1f} minutes under attack, {about}."
    return made


def written_into(page: str, parts: Mapping[str, str]) -> str:
    """Return a page with each part between the comments `abuse: NAME` and `end`, in place of what stood there."""
    for name, text in parts.items():
        parted = re.fullmatch(rf"(.*<!-- abuse: {name} -->\n).*?(<!-- end -->.*)", page, re.DOTALL)
        if parted is None:
            raise ValueError(f"the page has no place for: {name}")
        page = f"{parted[1]}{text}\n{parted[2]}"
    return page
