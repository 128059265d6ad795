"""The filtered case beside Bun (uWebSockets), in turn in one run: CPU a publication, publications a second.

    python bench/filtered_compare.py --rate 5000     at 5,000 publications a second
    python bench/filtered_compare.py --rate 0        saturated

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
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from served import token

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "load" / "filtered_load.c"
START_TIMEOUT = 30.0
COUNTS = ("rounds", "bad_rounds", "strangers", "closed")
MAX_WAITED = 0.05  # share of the window


def load_client() -> str:
    """Return the path of the load client, compiled anew if its source is newer."""
    program = Path(tempfile.gettempdir()) / "valtronics-bench" / "filtered_load"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        program.parent.mkdir(exist_ok=True)
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-Wall", "-o", str(program), str(SOURCE)], check=True)
    return str(program)


def find_bun(given: str | None) -> str:
    lab = Path(os.environ.get("LAB_BUILD", Path(tempfile.gettempdir()) / "lab-build"), "node_modules/.bin/bun")
    found = given or (str(lab) if lab.exists() else shutil.which("bun"))
    if found is None:
        sys.exit("there is no bun: npm install bun, and --bun PATH")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server listens."""
    deadline = time.monotonic() + START_TIMEOUT
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"no server: {server.args!r}")


def run(line: list[str], args: argparse.Namespace) -> dict[str, float]:
    """Run one server and the load client; return what the client found."""
    port = free_port()
    server_line = ["taskset", "-c", "0", *line, str(port), str(args.rate), str(args.batch)]
    with subprocess.Popen(server_line) as server:
        try:
            wait_for(port, server)
            sizes = [str(args.connections), str(args.seconds), str(args.warmup)]
            client = ["taskset", "-c", "1", load_client(), str(port), token(), *sizes, str(server.pid)]
            found: dict[str, float] = json.loads(subprocess.run(client, check=True, capture_output=True).stdout)
        finally:
            server.terminate()
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
    if not good:
        print("the deliveries are NOT what they should be: see rounds, bad, alien, closed")
        return 1
    each = int(medians["ours"]["values_a_round"])
    print(f"deliveries agree: every round that was checked has exactly {each} values, with both")
    if most_starved > MAX_WAITED:
        print(f"NOT USABLE: a process has waited for its CPU for {most_starved:.0%} of the window; something else runs")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
