"""Fan-out with one process, with threads within one, and with workers, in one run.

    python bench/fanout_compare.py [--rounds 3] [--seconds 4] [--connections 1000] [--count 2]

Servers and load client share all CPUs; nothing is pinned. Each case runs in turn, and medians are told: *deliveries/s*
as the client saw them; CPU of all processes of the server for each (*us each*), and of the client (*client us*); how
many CPUs each of them used; latency at a fixed rate. *waited* is the share of time that the client was ready to run and
had no CPU: at saturation the server's own doing, at a fixed rate another program's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from outside import compiled, first_line
from served import token

SERVERS = Path(__file__).with_name("fanout_servers.py")
CASES = ((1, 0), (8, 0), (1, 50))
"""Messages a turn, and turns a second; 0: as many as go."""

KINDS = ("one", "threads", "workers")


def cpu_of(pid: str) -> float:
    """Return the CPU seconds of a process, of all its threads."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def run(kind: str, batch: int, rate: int, args: argparse.Namespace) -> dict[str, float]:
    """Run a server and its client once."""
    line = [sys.executable, str(SERVERS), kind, str(batch), str(args.payload), str(rate), str(args.count)]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as server:
        try:
            port, *pids = first_line(server).split()
            load = [compiled("fanout_load"), port, token(), str(args.connections), str(args.seconds), "3"]
            with subprocess.Popen(load, stdout=subprocess.PIPE) as client:
                assert first_line(client) == "begin"
                before = {pid: cpu_of(pid) for pid in pids}
                found: dict[str, float] = json.loads(first_line(client))
                used = {pid: cpu_of(pid) - before[pid] for pid in pids}
        finally:
            server.terminate()
    cpu = sum(used.values())
    return {
        "rate": found["frames"] / found["seconds"],
        "us": 1e6 * cpu / found["frames"],
        "client_us": 1e6 * found["client_cpu"] / found["frames"],
        "cpus": cpu / found["seconds"],
        "client_cpus": found["client_cpu"] / found["seconds"],
        "first": used[pids[0]] / found["seconds"],
        "p50": found["p50"],
        "p99": found["p99"],
        "waited": found["waited"] / found["seconds"],
        "spread": found["fewest"] / max(1, found["most"]),
        "closed": found["closed"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--payload", type=int, default=300)
    parser.add_argument("--count", type=int, default=2, help="threads, and workers")
    args = parser.parse_args()
    print(
        f"{'a turn':>6} {'turns':>6} {'server':8} {'deliv./s':>10} {'us each':>8} {'client us':>9} {'cpus':>5} "
        f"{'client':>6} {'p50 us':>8} {'p99 us':>8} {'least/most':>10} {'waited':>6}",
        flush=True,
    )
    closed = 0.0
    for batch, rate in CASES:
        runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        for _ in range(args.rounds):
            for kind in KINDS:
                runs[kind].append(run(kind, batch, rate, args))
        for kind, outcomes in runs.items():
            median = {name: statistics.median(each[name] for each in outcomes) for name in outcomes[0]}
            closed += sum(each["closed"] for each in outcomes)
            print(
                f"{batch:6} {rate or 'all':>6} {kind:8} {median['rate']:10,.0f} {median['us']:8.2f} "
                f"{median['client_us']:9.2f} {median['cpus']:5.2f} {median['client_cpus']:6.2f} {median['p50']:8,.0f} "
                f"{median['p99']:8,.0f} {median['spread']:10.2f} {median['waited']:6.0%}",
                flush=True,
            )
    return 1 if closed else 0


if __name__ == "__main__":
    sys.exit(main())
