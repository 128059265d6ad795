"""The filtered case beside Bun (uWebSockets), in turn in one run: CPU a publication, publications a second.

    python bench/filtered_compare.py --rate 5000     at 5,000 publications a second
    python bench/filtered_compare.py --rate 0        saturated
    python bench/filtered_compare.py --flush-interval 0.05      ours writes what comes in 50 ms at once

1,000 connections, each subscribed to 10 of 1,000 devices and 2 of 8 metrics. The server runs on CPU 0, the load client
(load/filtered_load.c, compiled when needed) on CPU 1. The client counts the values (metrics) that arrive, and checks
that each is one that the connection asked for and that every round over the devices is complete; when anything is
missing, too much, or the servers differ in what they delivered, the exit code is 1. It is 2 when a server or the
client had to wait for its CPU, because something else ran there: then the figures are not to be used.

Bun: --bun, else $LAB_BUILD/node_modules/.bin/bun, else the one on the PATH.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from outside import compiled, free_port, pinned, verdict, wait_for
from served import token

HERE = Path(__file__).resolve().parent
COUNTS = ("rounds", "bad_rounds", "strangers", "closed")


def find_bun(given: str | None) -> str:
    lab = Path(os.environ.get("LAB_BUILD", Path(tempfile.gettempdir()) / "lab-build"), "node_modules/.bin/bun")
    found = given or (str(lab) if lab.exists() else shutil.which("bun"))
    if found is None:
        sys.exit("there is no bun: npm install bun, and --bun PATH")
    return found


def run(line: list[str], args: argparse.Namespace) -> dict[str, float]:
    """Run one server and the load client; return what the client found."""
    port = free_port()
    with pinned(0, [*line, str(port), str(args.rate), str(args.batch), str(args.flush_interval)]) as server:
        wait_for(port, server)
        sizes = [str(args.connections), str(args.seconds), str(args.warmup)]
        client = ["taskset", "-c", "1", compiled("filtered_load"), str(port), token(), *sizes, str(server.pid)]
        found: dict[str, float] = json.loads(subprocess.run(client, check=True, capture_output=True).stdout)
    found["cpu_us"] = found["cpu"] * 1e6 / max(found["publications"], 1)
    found["rate"] = found["publications"] / found["seconds"]
    found["values_each"] = found["values"] / max(found["publications"], 1)
    found["frames_each"] = found["frames"] / max(found["publications"], 1)
    found["load"] = found["cpu"] / found["seconds"]
    found["starved"] = max(found["waited"], found["client_waited"]) / found["seconds"]
    found["client_load"] = found["client_cpu"] / found["seconds"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5000, help="publications a second; 0: saturated")
    parser.add_argument("--batch", type=int, default=100, help="publications a turn at saturation")
    parser.add_argument("--flush-interval", type=float, default=0, help="ours only: seconds that data is gathered for")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warmup", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bun", help="path of the bun program")
    args = parser.parse_args()
    contenders = {
        "bun": [find_bun(args.bun), str(HERE / "peers" / "bun_filtered.js")],
        "ours": [sys.executable, str(HERE / "filtered_driver.py")],
    }
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, line in contenders.items():
            runs[name].append(run(line, args))
    medians = {
        name: {key: statistics.median(one[key] for one in found) for key in found[0]} for name, found in runs.items()
    }
    print(
        f"{'':6} {'cpu us/publ':>11} {'vs bun':>7} {'publ/s':>9} {'vs bun':>7} {'values/publ':>11} {'frames/publ':>11} "
        f"{'cpu':>5} {'client':>6} {'waited':>6} {'rounds':>6} {'bad':>4} {'alien':>5} {'closed':>6}"
    )
    good, most_starved = True, 0.0
    for name, found in runs.items():
        median, bun = medians[name], medians["bun"]
        rounds, bad, alien, closed = (int(sum(one[key] for one in found)) for key in COUNTS)
        starved = max(one["starved"] for one in found)
        most_starved = max(most_starved, starved)
        good = good and rounds > 0 and not (bad or alien or closed)
        print(
            f"{name:6} {median['cpu_us']:11.2f} {median['cpu_us'] / bun['cpu_us']:7.3f} {median['rate']:9.0f} "
            f"{median['rate'] / bun['rate']:7.2f} {median['values_each']:11.3f} {median['frames_each']:11.3f} "
            f"{median['load']:5.0%} {median['client_load']:6.0%} {starved:6.0%} {rounds:6} {bad:4} {alien:5} {closed:6}"
        )
    each = int(medians["ours"]["values_a_round"])
    return verdict(
        faults="" if good else "the deliveries are NOT what they should be: see rounds, bad, alien, closed",
        right=f"deliveries agree: every round that was checked has exactly {each} values, with both",
        foreign=most_starved,
    )


if __name__ == "__main__":
    sys.exit(main())
