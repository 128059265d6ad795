"""What the comparisons of live data share: one server and its subscribers, measured for a while."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from outside import MAX_WAITED, compiled, first_line, pinned
from served import token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DRIVER = Path(__file__).with_name("live_driver.py")
SOUND = ("closed", "strangers", "late")
"""Counts of live_load that must be 0."""


def run(
    rate: float,
    payload: int,
    *,
    connections: int,
    each: int,
    frequency: str = "real-time",
    idle: int = 0,
    stopped: int = 0,
    seconds: float,
    warmup: float,
) -> dict[str, float]:
    """Run a server (live_driver.py) and its subscribers (load/live_load.c); return what both have found."""
    line = [sys.executable, str(DRIVER), str(rate), str(payload)]
    with pinned(0, line, stdout=subprocess.PIPE) as server:
        port = first_line(server)
        sizes = [str(one) for one in (connections, each, frequency, idle, stopped, seconds, warmup)]
        client = ["taskset", "-c", "1", compiled("live_load"), port, token(), *sizes, str(server.pid)]
        found: dict[str, float] = json.loads(subprocess.run(client, check=True, capture_output=True).stdout)
        server.terminate()
        assert server.stdout is not None
        seen = [[int(one) for one in told.split()] for told in server.stdout.read().decode().splitlines()]
    found["behind"], found["backlog"] = seen[-2][1:] if len(seen) > 1 else (0, 0)  # the load was there
    found["server_load"] = found["cpu"] / found["seconds"]
    found["client_load"] = found["client_cpu"] / found["seconds"]
    found["starved"] = max(found["waited"], found["client_waited"]) / found["seconds"]
    return found


def alternate(sides: Mapping[str, Mapping[str, object]], rounds: int, **common: object) -> dict[str, dict[str, float]]:
    """Run each side in turn, `rounds` times; return the medians."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, options in sides.items():
            found[name].append(run(**{**common, **options}))  # type: ignore[arg-type]
    return {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]} for name, runs in found.items()
    }


def verdict(medians: Mapping[str, Mapping[str, float]], faults: Sequence[str]) -> int:
    """Say what makes a run worthless; return the exit code."""
    faults = list(faults)
    for name, median in medians.items():
        faults += [f"{name}: {key} is {median[key]:.0f}, not 0" for key in SOUND if median[key]]
    for fault in faults:
        print(f"WRONG: {fault}")
    starved = max(median["starved"] for median in medians.values())
    if starved > MAX_WAITED:
        print(f"NOT USABLE: a process has waited for its CPU for {starved:.0%} of the window; something else runs")
    return 1 if faults else 2 if starved > MAX_WAITED else 0
