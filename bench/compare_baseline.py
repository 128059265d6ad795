"""Compares a benchmark run with the stored baseline, both as multiples of the calibration loop of their own run.

    python bench/compare_baseline.py RUN.json            prints the table
    python bench/compare_baseline.py RUN.json --update   stores the run as the baseline instead

RUN.json is what `pytest bench --benchmark-json=RUN.json` writes. A benchmark that is more than 20 % slower is marked;
with BENCH_STRICT=1 in the environment that, a benchmark that is missing, or no baseline make the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from calibration import VERSION

BASELINE = Path(__file__).parent / "baselines" / "core.json"
SLOWER = 1.2
FASTER = 1 / SLOWER


def ratios(run: dict[str, Any]) -> dict[str, float]:
    """Return each benchmark's median as a multiple of the calibration around it."""
    found = {}
    for one in run["benchmarks"]:
        name = one["fullname"].removeprefix("bench/").replace(".py::", ": ")
        found[name] = one["stats"]["median"] / one["extra_info"]["calibration"]
    return found


def verdict(change: float) -> str:
    return "SLOWER" if change > SLOWER else "faster" if change < FASTER else ""


def shown(ratio: float) -> str:
    """Return a ratio in millionths of the calibration loop (about nanoseconds where the loop takes a millisecond)."""
    return f"{ratio * 1e6:,.0f}"


def compare(now: dict[str, float], then: dict[str, float]) -> bool:
    """Print the table; say whether everything is there and nothing is marked."""
    width = max(len(name) for name in now | then)
    good = True
    print(f"{'benchmark':{width}} {'now':>12} {'then':>12} {'change':>8}   (millionths of the calibration loop)")
    for name in sorted(now | then):
        before, after = then.get(name), now.get(name)
        if before is None and after is not None:
            print(f"{name:{width}} {shown(after):>12} {'-':>12} {'':>8} new")
        elif after is None and before is not None:
            good = False
            print(f"{name:{width}} {'-':>12} {shown(before):>12} {'':>8} MISSING")
        elif before is not None and after is not None:
            change = after / before
            good = good and change <= SLOWER
            line = f"{name:{width}} {shown(after):>12} {shown(before):>12} {change - 1:>+8.0%} {verdict(change)}"
            print(line.rstrip())
    return good


def store(path: Path, run: dict[str, Any]) -> None:
    found = ratios(run)
    document = {
        "calibration": VERSION,
        "python": run["machine_info"]["python_version"],
        "ratios": {name: float(f"{found[name]:.4g}") for name in sorted(found)},
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--update", action="store_true", help="store the run as the baseline")
    args = parser.parse_args()
    run = json.loads(args.run.read_text())
    if args.update:
        store(args.baseline, run)
        print(f"stored {len(run['benchmarks'])} benchmarks in {args.baseline}")
        return 0
    good = False
    if not args.baseline.exists():
        print(f"there is no baseline: {args.baseline} (--update stores one)")
    else:
        baseline = json.loads(args.baseline.read_text())
        if baseline["calibration"] != VERSION:
            print(f"the baseline is of calibration {baseline['calibration']}, this run of {VERSION}: store another one")
        else:
            good = compare(ratios(run), baseline["ratios"])
    return 0 if good or os.environ.get("BENCH_STRICT") != "1" else 1


if __name__ == "__main__":
    sys.exit(main())
