"""The table, as text for a terminal and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abuse.campaign import Result

MOST = 6  # kinds of answers that are told; the rest is summed up

HARM = (
    *("row", "inputs", "seconds", "lost", "repeated", "disordered"),
    *("memory, MiB", "descriptors", "unexpected lines", "result"),
)
LATENCY = ("row", "ping before", "ping during", "delivery before", "delivery during")
ANSWERS = ("row", "what the bad ones do", "what they got")


def tables(results: Sequence[Result]) -> list[tuple[Sequence[str], list[Sequence[str]]]]:
    """Return three tables: what good clients and the server suffered, latencies, what the bad ones got."""
    return [
        (HARM, [_harm(result) for result in results]),
        (LATENCY, [_latency(result) for result in results]),
        (ANSWERS, [(result.row.name, result.row.about, _answers(result)) for result in results]),
    ]


def _harm(result: Result) -> Sequence[str]:
    memory = " → ".join(str(size >> 20) for size in (result.before.memory, result.peak, result.after.memory))
    return (
        result.row.name,
        f"{result.outcome.inputs:,}",
        f"{result.seconds:.0f}",
        f"{result.lost:,}",
        f"{result.repeated:,}",
        f"{result.disordered:,}",
        memory,
        f"{result.before.descriptors} → {result.after.descriptors}",
        str(len(result.unexpected())),
        "FAILED" if result.failures() else "ok",
    )


def _latency(result: Result) -> Sequence[str]:
    pairs = (*result.round_trips, *result.deliveries)
    return (result.row.name, *(f"{median:.1f} / {most:.0f}" for median, most in pairs))


def _answers(result: Result) -> str:
    """Return what the bad ones got; where they could not tell, the server's own counts."""
    found = sorted(result.outcome.got.items(), key=lambda item: -item[1])
    if result.row.name == "stopped-readers":
        found = sorted(result.server.items(), key=lambda item: -item[1])
    parts = [f"{name}: {count:,}" for name, count in found[:MOST]]
    if len(found) > MOST:
        parts.append(f"{len(found) - MOST} others: {sum(count for _, count in found[MOST:]):,}")
    return ", ".join(parts) or "none to tell"


def as_text(results: Sequence[Result]) -> str:
    """Return the tables with columns, for a terminal."""
    made = []
    for head, rows in tables(results):
        widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            made.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        made.append("")
    return "\n".join(made)


def as_markdown(results: Sequence[Result]) -> str:
    """Return the tables as they stand in docs/operations.md."""
    made = []
    for head, rows in tables(results):
        lines = [head, ["---"] * len(head), *rows]
        made += [f"| {' | '.join(line)} |" for line in lines]
        made.append("")
    return "\n".join(made)
