"""The result of a load test, as text for people and as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valtronics_fast.load.campaign import Result
    from valtronics_fast.load.histogram import Histogram
    from valtronics_fast.load.meter import Busy

__all__ = ["as_dict", "as_text", "bar"]

_BAR = 40
_PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")


def bar(done: float, of: float, width: int) -> str:
    """Return a bar of so many characters, filled as far as something is done."""
    filled = round(width * min(done / of, 1.0)) if of else width
    return "#" * filled + "-" * (width - filled)


def as_dict(result: Result) -> dict[str, Any]:
    """Return everything that was measured; durations in seconds, rates a second."""
    tally, plan, publisher = result.tally, result.plan, result.publisher
    return {
        "usable": not result.faults(),
        "faults": result.faults(),
        "interrupted": result.interrupted,
        "connections": {
            "asked": plan.connections,
            "opened": tally.connecting.count,
            "ready": tally.ready,
            "per_second": _rate(tally.connecting.count, result.connecting.seconds if result.connecting else 0.0),
        },
        "messages": {
            "seconds": tally.seconds,
            "received": tally.messages,
            "per_second": _rate(tally.messages, tally.seconds),
            "bytes_per_second": _rate(tally.octets, tally.seconds),
        },
        "published": None
        if publisher is None
        else {
            "sent": publisher.sent,
            "accepted": publisher.accepted,
            "rejected": publisher.rejected,
            "matched": publisher.matched,
            "received": tally.delivering.count,
        },
        "latency": {
            "connect": tally.connecting.figures(),
            "authenticate": tally.authenticating.figures(),
            "deliver": tally.delivering.figures(),
        },
        "errors": dict(tally.errors.most_common()),
        "client": {name: None if busy is None else busy._asdict() for name, busy in _phases(result)},
    }


def as_text(result: Result) -> str:
    """Return the report: figures, percentiles, a histogram of the deliveries, errors, and whether it is usable."""
    found = as_dict(result)
    connections, messages, published = (found[name] for name in ("connections", "messages", "published"))
    lines = [
        _line(
            "connections",
            f"{connections['ready']:,} of {connections['asked']:,} ready",
            f"{connections['per_second']:,.0f} opened a second",
        ),
        _line(
            "received",
            f"{messages['received']:,} messages in {messages['seconds']:.1f} s",
            f"{messages['per_second']:,.0f}/s",
            f"{messages['bytes_per_second'] / (1 << 20):,.2f} MiB/s",
        ),
    ]
    if published is not None:
        matched = f" of {published['matched']:,} that matched" if published["matched"] else ""
        accepted = f"{published['accepted']:,} of {published['sent']:,} accepted"
        lines.append(_line("published", accepted, f"{published['received']:,} deliveries{matched}"))
    lines += ["", *_latencies(result), *_histogram(result.tally.delivering)]
    if found["errors"]:
        lines += ["", "ERRORS", *(f"  {count:>8,}  {what}" for what, count in found["errors"].items())]
    lines += ["", *(_busy(name, busy) for name, busy in _phases(result) if busy is not None)]
    lines += [f"NOT USABLE: {fault}" for fault in result.faults()]
    if result.interrupted:
        lines.append("It was ended before its time.")
    return "\n".join(lines)


def _line(name: str, *figures: str) -> str:
    return f"{name:<12} {'   '.join(figures)}"


def _phases(result: Result) -> tuple[tuple[str, Busy | None], ...]:
    return (("connecting", result.connecting), ("measuring", result.measuring))


def _latencies(result: Result) -> list[str]:
    """Return a table of the percentiles of what was timed."""
    tally = result.tally
    timed = {"connect": tally.connecting, "authenticate": tally.authenticating, "deliver": tally.delivering}
    lines = [f"{'LATENCY':<12} {'count':>9}" + "".join(f" {name:>10}" for name in _PERCENTILES)]
    for name, histogram in timed.items():
        if histogram.count:
            figures = histogram.figures()
            cells = "".join(f" {_duration(figures[percentile]):>10}" for percentile in _PERCENTILES)
            lines.append(f"{name:<12} {histogram.count:>9,}{cells}")
    return lines


def _histogram(histogram: Histogram) -> list[str]:
    """Return a bar for each power of two of microseconds."""
    bars = list(histogram.bars())
    most = max((count for _, _, count in bars), default=0)
    return ["", "DELIVERED WITHIN"] * bool(bars) + [
        f"  {_duration(end):>10}  {bar(count, most, _BAR).replace('-', ' ')}  {count:,}" for _, end, count in bars
    ]


def _busy(name: str, busy: Busy) -> str:
    lag = f"event loop late {_duration(busy.lag)} (p99), {_duration(busy.greatest_lag)} (max)"
    return f"this client, {name}: {busy.cpu:.0%} of a CPU, {lag}"


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds else 0.0


def _duration(seconds: float) -> str:
    """Write seconds as `123 µs`, `4.56 ms` or `7.89 s`."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
