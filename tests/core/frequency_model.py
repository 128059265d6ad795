"""What `frequency` must do, in the slowest and most obvious way (protocol.md, section 3): no cohorts, no offsets.

A Line is what one client gets of one device: what is pending, what it was sent last, and until when nothing is sent.
Time is an argument, in seconds. The one thing taken over from the server is that it looks at its clock in ticks.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from math import ceil, floor, inf
from typing import Any

Device = int | str | None

TICK = 0.01
MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
# What latest.pyx reckons for a device and for a metric, in bytes, beside the JSON of the metrics, which counts twice:
# there may be a frame with them.
DEVICE_COST, METRIC_COST = 600, 160


@dataclass(frozen=True)
class Pace:
    """How often (seconds between two frames) and how finely."""

    interval: float = 0
    deadband: float = 0
    relative: bool = False


REAL_TIME = Pace()


@dataclass(frozen=True)
class Frequency:
    """A frequency that is in force, and how the answer shows it."""

    pace: Pace
    shown: Any


def interval_of(every: Any) -> float | None:
    """Return the seconds of an interval as it is written, None when it is none."""
    if every == "real-time":
        return 0
    match = re.fullmatch("([1-9][0-9]{0,8})(ms|s|m|h)", every, re.ASCII) if isinstance(every, str) else None
    return int(match[1]) * MILLISECONDS[match[2]] / 1000 if match else None


def deadband_of(moved: Any) -> tuple[float, bool] | None:
    """Return a deadband and whether it is a share, None when it is none."""
    if isinstance(moved, str):
        match = re.fullmatch("([0-9]+([.][0-9]+)?)%", moved, re.ASCII)
        band, relative = (float(match[1]) / 100 if match else inf), True
    else:
        band, relative = (moved if is_number(moved) else inf), False
    if type(band) is int and band >= 2**53:  # a double can't hold all of these
        return None
    return (band, relative and band > 0) if 0 <= band < inf else None


def parse(value: Any, at_least: float = 0) -> Frequency | None:
    """Return the frequency that a client writes, lowered to the server's smallest interval; None: it is none."""
    asked = value if isinstance(value, dict) else {"every": "real-time" if value is None else value}
    if not {"every"} <= set(asked) <= {"every", "deadband"}:
        return None
    every, interval, band = asked["every"], interval_of(asked["every"]), deadband_of(asked.get("deadband", 0))
    if interval is None or band is None:
        return None
    if interval < at_least:
        every, interval = interval_text(at_least), at_least
    pace = Pace(interval, *band)
    return Frequency(pace, {"every": every, "deadband": asked["deadband"]} if pace.deadband else every)


def interval_text(seconds: float) -> str:
    """Return an interval in the largest unit that it is a whole number of, to the millisecond."""
    milliseconds = floor(seconds * 1000 + 0.5)
    unit = max((unit for unit, size in MILLISECONDS.items() if milliseconds % size == 0), key=MILLISECONDS.__getitem__)
    return f"{milliseconds // MILLISECONDS[unit]}{unit}"


def pace_of(paces: list[Pace]) -> Pace:
    """Return the pace of overlapping subscriptions: the fastest, and a deadband only where all have the same one."""
    bands = {(pace.deadband, pace.relative) for pace in paces}
    deadband, relative = bands.pop() if len(bands) == 1 else (0, False)
    return Pace(min(pace.interval for pace in paces), deadband, relative)


def has_come(due: float, now: float) -> bool:
    """Say whether the server has noticed that it is `due`: in the first tick that does not begin before that."""
    return floor(now / TICK) >= ceil(due / TICK)


def next_due(due: float | None, now: float, interval: float) -> float:
    """Say until when nothing is sent, after a frame that is sent now and was due at `due` (None: at once).

    A first interval is made longer, up to the grid of a fifth; from then on they are what they should be.
    """
    grid = interval / 5
    if grid < TICK:
        return now + interval
    if due is not None and 0 <= now - due < 2 * TICK:
        return round((due + interval) / grid) * grid
    return ceil((now + interval) / grid - 1e-6) * grid


def is_number(value: object) -> bool:
    return type(value) in {int, float}


def has_moved(value: Any, last: Any, pace: Pace) -> bool:
    """Say whether a value is beyond the deadband around the one sent last; what is no number always is."""
    if not pace.deadband or not is_number(value) or not is_number(last):
        return True
    band = pace.deadband * abs(last) if pace.relative else pace.deadband
    return bool(value != last and abs(value - last) >= band)


def number_in(metric: Any) -> Any:
    return metric.get("value") if isinstance(metric, dict) else metric


@dataclass
class Line:
    """What one client gets of one device, as long as its subscriptions there stay what they are.

    names: the metrics that it asks for, None: all.
    """

    names: set[str] | None
    pace: Pace
    pending: dict[str, Any] = field(default_factory=dict)
    sent: dict[str, Any] = field(default_factory=dict)
    due: float | None = None  # until then nothing is sent

    def offer(self, metrics: dict[str, Any], now: float) -> dict[str, Any]:
        """Take a publication; return what is sent at once."""
        wanted = {name: metric for name, metric in metrics.items() if self.names is None or name in self.names}
        self.pending |= wanted
        return self.flush(now) if wanted and self.due is None else {}

    def owed(self) -> dict[str, Any]:
        return {
            name: metric
            for name, metric in self.pending.items()
            if name not in self.sent or has_moved(number_in(metric), number_in(self.sent[name]), self.pace)
        }

    def flush(self, now: float) -> dict[str, Any]:
        """Return what is sent now; the clock is set by that only."""
        owed = self.owed()
        self.pending = {}
        self.sent |= owed
        self.due = next_due(self.due, now, self.pace.interval) if owed and self.pace.interval else None
        return owed

    def is_remembered(self) -> bool:
        """Say whether the server has to remember anything of it: a clock, or the numbers that a deadband is around."""
        return self.due is not None or (self.pace.deadband > 0 and bool(self.sent))

    def successor_gets(self, names: set[str] | None) -> dict[str, Any]:
        """Return what is sent at once when other subscriptions, which ask for `names`, take this one's place."""
        return {name: metric for name, metric in self.owed().items() if names is None or name in names}


@dataclass
class Newest:
    """The bounded memory for the newest values of a channel: who is silent for longest goes first."""

    limit: int
    sizes: dict[Device, dict[str, int]] = field(default_factory=dict)

    def size(self) -> int:
        return sum(
            DEVICE_COST + len(metrics) * METRIC_COST + 2 * sum(metrics.values()) for metrics in self.sizes.values()
        )

    def store(self, device: Device, metrics: dict[str, Any]) -> list[Device]:
        """Take a publication; return the devices that had to go."""
        gone: list[Device] = []
        self.sizes[device] = self.sizes.pop(device, {}) | {name: piece_size(name, metrics[name]) for name in metrics}
        while self.limit and self.size() > self.limit and len(self.sizes) > 1:
            gone.append(next(iter(self.sizes)))
            del self.sizes[gone[-1]]
        return gone


def piece_size(name: str, metric: Any) -> int:
    """Return the bytes of a metric as JSON."""
    return len(json.dumps({name: metric}, separators=(",", ":"), ensure_ascii=False).encode()) - 2
