"""The yardstick of the benchmarks: a fixed piece of work that has nothing to do with this project.

Half of it is C (checksums, compression, decoding), half the interpreter. Run right before and after each benchmark, it
tells how fast the machine was just then, so that a benchmark's ratio to it can be compared with one of another day.
"""

from __future__ import annotations

import json
import statistics
import time
import zlib

VERSION = 1
"""To be raised when the work below changes: ratios to another version mean nothing."""

_DATA = bytes(i * 7 % 61 + 32 for i in range(8192))
_TEXT = json.dumps([{"device_id": i, "temperature": 20.5 + i, "unit": "C"} for i in range(100)])


def work() -> int:
    """Do the fixed work once: about a millisecond."""
    total = 0
    for _ in range(32):
        total += zlib.crc32(_DATA)
    for _ in range(2):
        total += len(zlib.compress(_DATA, 6))
        total += len(json.loads(_TEXT))
    names: dict[int, list[int]] = {}
    for i in range(8000):
        names.setdefault(i & 255, []).append(total & i)
    return total + sum(len(found) for found in names.values())


def measure(rounds: int = 15) -> float:
    """Return the median CPU time of the fixed work, in seconds."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return statistics.median(times)
