"""The figures of several workers made those of one server."""

from __future__ import annotations

from heapq import nlargest
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ByWorker", "sum_up"]

_LEAST = {"first", "position", "nodes", "certificate_expires_at"}
_GREATEST = {
    "uptime", "last", "publications", "devices", "banned_for", "suspicion.banned", "lag", "longest",
    "connections_limit", "limit",
}  # fmt: skip
"""What each worker sees for itself of the same thing: a sum would count it several times."""

_WORST = 10


class ByWorker(NamedTuple):
    """The figures of each worker by itself.

    Attributes:
        workers: those of each that answered in time (`Server.stats`), by index; "0" where there is one process only.
        silent: indexes of the others.
        supervisor: what the supervisor tells of itself; None: there is none.
    """

    workers: Mapping[str, Mapping[str, Any]]
    silent: Sequence[str]
    supervisor: Mapping[str, Any] | None


def sum_up(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of all (docs/http-api.md): sums, and where a sum says nothing, the greatest or least.

    Args:
        figures: those of each worker (`Server.stats`), at least one.
    """
    total: dict[str, Any] = _merge(figures)
    connections = total.get("total_connections", 0)
    durations = sum(one["average_connection_duration"] * one["total_connections"] for one in figures)
    messages = total.get("messages_received", 0) + total.get("messages_sent", 0)
    total["average_connection_duration"] = round(durations / connections, 3) if connections else 0.0
    total["messages_per_connection"] = round(messages / connections, 3) if connections else 0.0
    return total


def _merge(parts: Sequence[dict[str, Any]], section: str = "") -> dict[str, Any]:
    """Merge dictionaries of one section, with the keys of all of them."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _join(section, name, [part[name] for part in parts if name in part]) for name in names}


def _join(section: str, name: str, values: list[Any]) -> Any:
    """Return one value for several of the same name."""
    first = values[0]
    if isinstance(first, dict):
        return _merge(values, name)
    if isinstance(first, bool):
        return all(values)
    if isinstance(first, list):
        return _join_worst([entry for value in values for entry in value])
    numbers = [value for value in values if isinstance(value, int | float)]
    if not numbers:
        return first
    if name in _LEAST:
        return min(numbers)
    is_same = name in _GREATEST or f"{section}.{name}" in _GREATEST
    return max(numbers) if is_same else round(sum(numbers), 6)


def _join_worst(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the addresses with most failures of all lists (Suspects.stats)."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        found.setdefault(entry["address"], []).append(entry)
    merged = [_merge(same) for same in found.values()]
    return nlargest(_WORST, merged, key=_failures)


def _failures(entry: dict[str, Any]) -> int:
    return sum(value for name, value in entry.items() if name not in {"address", "banned_for"})
