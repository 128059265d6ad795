"""A server's figures (docs/http-api.md, Statistics) as lines for people: what `top` shows.

What a server does not tell is left out. Everything that comes from it is escaped here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from valtronics_fast.commands.parsing import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["SLOWEST", "Sample", "bytes_text", "page", "summary"]

SLOWEST = 10
"""Connections that a page shows, those for which most waits."""


class Sample(NamedTuple):
    """What a server said at a time.

    Attributes:
        at: monotonic seconds.
        took: seconds that the server took to answer.
        stats: the answer of /api/v1/stats.
        connections: the list of /api/v1/connections, most queued bytes first; None: there is none for us.
    """

    at: float
    took: float
    stats: Mapping[str, Any]
    connections: Sequence[Mapping[str, Any]] | None


class _Change:
    """Rates between two samples."""

    def __init__(self, now: Sample, before: Sample | None) -> None:
        uptime = _number(now.stats, "uptime")
        restarted = before is not None and uptime < _number(before.stats, "uptime")
        self.now = now.stats
        self._before = {} if before is None or restarted else before.stats
        self._seconds = now.at - before.at if before is not None and self._before else 0.0

    def rate(self, *path: str) -> float | None:
        """Return how much a figure rises in a second; None without an earlier sample."""
        if not self._seconds:
            return None
        rise: float = _number(self.now, *path) - _number(self._before, *path)
        return max(rise, 0.0) / self._seconds


def summary(now: Sample, before: Sample | None) -> dict[str, float | None]:
    """Return the figures of a line: connections, rates a second, what waits, and the seconds of the answer."""
    change = _Change(now, before)
    return {
        "connections": _number(now.stats, "active_connections"),
        "connected_per_second": change.rate("total_connections"),
        "received_per_second": change.rate("messages_received"),
        "sent_per_second": change.rate("messages_sent"),
        "bytes_received_per_second": change.rate("bytes_received"),
        "bytes_sent_per_second": change.rate("bytes_sent"),
        "queued_bytes": _number(now.stats, "slow_readers", "queued_bytes"),
        "behind": _number(now.stats, "slow_readers", "behind"),
        "answered_in": round(now.took, 6),
    }


def page(title: str, now: Sample, before: Sample | None) -> list[str]:
    """Return everything that a page shows, the most telling first."""
    change = _Change(now, before)
    lines = [
        f"{printable(title)}   up {_age(_number(now.stats, 'uptime'))}   answered in {now.took * 1000:.1f} ms",
        "",
        *_totals(change),
    ]
    for section in (_channels(change), _slowest(now.connections), _workers(change), _parts(change)):
        if section:
            lines += ["", *section]
    return lines


def _totals(change: _Change) -> list[str]:
    stats = change.now
    refused = sum(_numbers(stats.get("refused")).values())
    failed = sum(_numbers(stats.get("auth_failures")).values())
    slow = stats.get("slow_readers")
    lines = [
        _line(
            "connections",
            f"{_number(stats, 'active_connections'):,}",
            f"new {_rate(change.rate('total_connections'))}",
            f"refused {refused:,}",
            f"tokens refused {failed:,}",
        ),
        _line(
            "in",
            _rate(change.rate("messages_received")),
            _volume(change.rate("bytes_received")),
            f"over their rate {_rate(change.rate('messages_dropped'))}",
        ),
        _line("out", _rate(change.rate("messages_sent")), _volume(change.rate("bytes_sent"))),
    ]
    if isinstance(slow, dict):
        queued, behind, closed = (_number(slow, name) for name in ("queued_bytes", "behind", "closed_for_others"))
        lines.append(_line("queued", bytes_text(queued), f"behind {behind:,}", f"closed for others {closed:,}"))
    if isinstance(late := stats.get("event_loop"), dict):
        cpu = change.rate("cpu_seconds")
        lines.append(
            _line(
                "event loop",
                f"late by {_number(late, 'lag') * 1000:.1f} ms",
                f"at most {_number(late, 'longest') * 1000:.1f} ms",
                "CPU -" if cpu is None else f"CPU {cpu:.0%}",
            )
        )
    return lines


def _line(name: str, *figures: str) -> str:
    return f"{name:<12} {'   '.join(figures)}"


def _channels(change: _Change) -> list[str]:
    """Return a table of the channels."""
    names = ("publications", "matched", "deliveries", "conflated", "bytes")
    channels = change.now.get("channels")
    if not isinstance(channels, dict):
        return []
    rows = [["CHANNEL", *(f"{name.upper()}/s" for name in names)]]
    for channel in channels:
        rates = [change.rate("channels", channel, name) for name in names]
        cells = [_figure(rate) for rate in rates[:-1]]
        rows.append([printable(channel), *cells, "-" if rates[-1] is None else bytes_text(rates[-1])])
    return _table(rows)


def _slowest(connections: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Return a table of the connections for which most waits."""
    if connections is None:
        return []
    slow = [one for one in connections if _number(one, "queued_bytes")]
    if not slow:
        return ["SLOWEST READERS  nothing waits for anybody"]
    rows = [["SLOWEST READERS", "USER", "ADDRESS", "AGE", "QUEUED", "SENT/s"]]
    for one in slow[:SLOWEST]:
        texts = (_plain(one.get(name)) for name in ("id", "user", "address"))
        age, queued = _age(_number(one, "age")), bytes_text(_number(one, "queued_bytes"))
        rows.append([*texts, age, queued, _figure(one.get("messages_per_second"))])
    return _table(rows, texts=3)


def _workers(change: _Change) -> list[str]:
    """Return a table of the workers; with one process there are none."""
    workers = change.now.get("workers")
    if not isinstance(workers, dict):
        return []
    rows = [["WORKER", "PID", "CONNECTIONS", "SENT/s", "CPU", "UP", ""]]
    for index, worker in workers.items():
        cpu = change.rate("workers", index, "cpu_seconds")
        rows.append(
            [
                printable(index),
                f"{_number(worker, 'pid')}",
                f"{_number(worker, 'connections'):,}",
                _figure(change.rate("workers", index, "messages_sent")),
                "-" if cpu is None else f"{cpu:.0%}",
                _age(_number(worker, "uptime")),
                "" if isinstance(worker, dict) and worker.get("answered") else "does not answer",
            ]
        )
    return _table(rows)


def _parts(change: _Change) -> list[str]:
    """Return a line for each producer, and for the backplane: what they publish, and what they say of themselves."""
    lines = []
    producers = change.now.get("producers")
    for name, producer in producers.items() if isinstance(producers, dict) else ():
        counted = f"published {_rate(change.rate('producers', name, 'published'))}"
        states = _states(producer, without={"published"})
        lines.append(f"producer {printable(name)}   {'   '.join([counted, *states])}")
    backplane = change.now.get("backplane")
    if isinstance(backplane, dict):
        lines.append(f"backplane {_plain(backplane.get('name'))}   {'   '.join(_states(backplane, without={'name'}))}")
    return [line.rstrip() for line in lines]


def _states(part: object, *, without: set[str]) -> list[str]:
    """Return what a part says of itself, where it is not nothing."""
    if not isinstance(part, dict):
        return []
    return [
        f"{printable(name)} {_plain(value)}"
        for name, value in part.items()
        if name not in without and value not in (0, None, "") and not isinstance(value, dict | list)
    ]


def _table(rows: Sequence[Sequence[str]], *, texts: int = 1) -> list[str]:
    """Align columns: so many of text to the left, those of numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> Iterable[str]:
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            yield f"{cell:<{width}}" if index < texts else f"{cell:>{width}}"

    return ["  ".join(line(row)).rstrip() for row in rows]


def _number(value: object, *path: str) -> Any:
    """Return the number at a path of members; 0 when there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _numbers(value: object) -> dict[str, Any]:
    """Return the members of an object that are numbers."""
    members = value.items() if isinstance(value, dict) else ()
    return {name: each for name, each in members if isinstance(each, int | float) and not isinstance(each, bool)}


def _plain(value: object) -> str:
    return "-" if value is None else printable(str(value))


def _figure(value: object) -> str:
    """Write a number with three digits that count, or whole; `-` for none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "-"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def _rate(value: float | None) -> str:
    return f"{_figure(value)}/s"


def _volume(value: float | None) -> str:
    return "-" if value is None else f"{bytes_text(value)}/s"


def bytes_text(value: float) -> str:
    """Write bytes with the unit that leaves one to four digits: `512 B`, `1.2 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def _age(seconds: float) -> str:
    """Write seconds as `2 d 3 h`, `4 h 5 min`, `6 min 7 s` or `8 s`."""
    whole = int(seconds)
    parts = ((whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    first = next((index for index, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])
