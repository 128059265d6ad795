"""Clients that connect, authenticate and subscribe: how many a second, and a CPU second of the server.

    python bench/connect_rate.py

The server runs on CPU 0, the clients (load/connect_load.c, compiled when needed; it says what each of them does) on CPU
1, 64 at a time. `distinct` tokens are HS256 and one for each client, so that every one is verified; a `cached` one is
the same for all. In the same run, "picows" is the handshake of a server that does nothing else (peers/picows_bare.py).
When a client is refused, closed or not answered, the exit code is 1; it is 2 when another program had the CPUs: then
the figures are not to be used.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from outside import compiled, first_line, pinned, verdict
from served import token

HERE = Path(__file__).resolve().parent
SERVERS = {"picows": HERE / "peers" / "picows_bare.py", "ours": HERE / "served.py"}


class Case(NamedTuple):
    server: str
    steps: str  # see connect_load.c
    tokens: str


CASES = (
    Case("picows", "handshake", "none"),
    Case("ours", "handshake", "none"),
    Case("ours", "message", "distinct"),
    Case("ours", "message", "cached"),
    Case("ours", "header", "distinct"),
    Case("ours", "header", "cached"),
)


def run(case: Case, tokens: dict[str, str], args: argparse.Namespace) -> dict[str, float]:
    """Run a server and the clients; return the figures."""
    with pinned(0, [sys.executable, str(SERVERS[case.server])], stdout=subprocess.PIPE) as server:
        load = ["taskset", "-c", "1", compiled("connect_load"), first_line(server), str(server.pid)]
        load += map(str, (tokens[case.tokens], case.steps, args.connections, args.window, args.warmup))
        found: dict[str, float] = json.loads(subprocess.run(load, check=True, stdout=subprocess.PIPE).stdout)
    return {
        "failed": found["failed"],
        "rate": found["connections"] / found["seconds"],
        "a_cpu_second": found["connections"] / found["cpu"],
        "cpu_us": found["cpu"] * 1e6 / found["connections"],
        "cpu_0": found["cpu"] / found["seconds"],
        "client": found["load_cpu"] / found["seconds"],
        "foreign": max(found["waited"], found["foreign"]) / found["seconds"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=6000)
    parser.add_argument("--window", type=int, default=64, help="clients that are at it at a time")
    parser.add_argument("--warmup", type=int, default=500, help="clients before them that are not measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("distinct", "cached", "none"), help="only the cases with such tokens")
    args = parser.parse_args()
    runs: dict[Case, list[dict[str, float]]] = {case: [] for case in CASES if args.only in (None, case.tokens)}
    with tempfile.TemporaryDirectory() as directory:
        tokens = {name: str(Path(directory, name)) for name in ("none", "distinct", "cached")}
        Path(tokens["none"]).write_text("none\n")
        Path(tokens["cached"]).write_text(f"{token()}\n")
        Path(tokens["distinct"]).write_text(
            "".join(f"{token(f'user-{i}')}\n" for i in range(args.connections + args.warmup))
        )
        for _ in range(args.rounds):
            for case, found in runs.items():
                found.append(run(case, tokens, args))
    print(
        f"{'server':7} {'steps':9} {'tokens':8} {'conns/s':>8} {'conns/cpu s':>11} {'cpu us':>7} {'cpu 0':>6} "
        f"{'client':>6} {'failed':>6} {'foreign':>7}"
    )
    failed, foreign = 0, 0.0
    for case, found in runs.items():
        median = {key: statistics.median(one[key] for one in found) for key in found[0]}
        lost, alien = int(sum(one["failed"] for one in found)), max(one["foreign"] for one in found)
        failed, foreign = failed + lost, max(foreign, alien)
        print(
            f"{case.server:7} {case.steps:9} {case.tokens:8} {median['rate']:8.0f} {median['a_cpu_second']:11.0f} "
            f"{median['cpu_us']:7.1f} {median['cpu_0']:6.0%} {median['client']:6.0%} {lost:6} {alien:7.0%}"
        )
    return verdict(
        faults="clients have FAILED: refused or closed" if failed else "",
        right="every client got the answer of every step, and stayed connected",
        foreign=foreign,
    )


if __name__ == "__main__":
    sys.exit(main())
