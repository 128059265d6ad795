"""Publishing over HTTP: messages a second, and a CPU second of the server, in the three forms of a body.

    python bench/publish_http.py                    all forms, 1 and 8 metrics, with nobody and 1,000 subscribed
    python bench/publish_http.py --batches 1        one message a request: what a request costs

The server runs on CPU 0, the publishers and subscribers (load/publish_load.c, compiled when needed; it says what is
published) on CPU 1. Of 1,000 subscribers ten get each message. The answers must count every message as accepted and
every subscription as matched, and the subscribers get each message once: else the exit code is 1. It is 2 when another
program had the CPUs: then the figures are not to be used.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from itertools import product
from pathlib import Path

from outside import MAX_WAITED, compiled, first_line, pinned
from served import token

SERVED = Path(__file__).resolve().parent / "served.py"
FORMS = ("ndjson", "json", "stream")


def run(form: str, metrics: int, batch: int, subscribers: int, args: argparse.Namespace) -> dict[str, float]:
    """Start a server and the load; return the figures."""
    with pinned(0, [sys.executable, str(SERVED)], stdout=subprocess.PIPE) as server:
        load = ["taskset", "-c", "1", compiled("publish_load"), first_line(server), first_line(server), str(server.pid)]
        load += [token(publish=True), form]
        load += map(str, (metrics, batch, args.publishers, subscribers, args.seconds, args.warmup))
        found = json.loads(subprocess.run(load, check=True, stdout=subprocess.PIPE).stdout)
    messages, seconds = max(found["accepted"], 1), found["seconds"]
    wrong = [
        abs(found["sent"] - found["accepted"]),
        found["rejected"],
        abs(found["matched"] - found["expected"]),
        abs(found["delivered"] - found["expected"]),
        found["strange"],
    ]
    return {
        "wrong": sum(wrong),
        "rate": messages / seconds,
        "cpu_us": found["cpu"] * 1e6 / messages,
        "a_cpu_second": messages / max(found["cpu"], 1e-9),
        "cpu_0": found["cpu"] / seconds,
        "client": found["load_cpu"] / seconds,
        "waited": found["waited"] / seconds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--metrics", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--batches", nargs="+", type=int, default=[1000], help="messages of a request, or of a chunk")
    parser.add_argument("--subscribers", nargs="+", type=int, default=[0, 1000])
    parser.add_argument("--publishers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warmup", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(
        f"{'form':6} {'metrics':>7} {'batch':>6} {'subs':>5} {'msgs/s':>8} {'cpu us/msg':>10} {'msgs/cpu s':>10} "
        f"{'cpu 0':>6} {'client':>6} {'wrong':>5} {'waited':>6}"
    )
    wrong, waited = 0.0, 0.0
    for subscribers, metrics, batch, form in product(args.subscribers, args.metrics, args.batches, args.forms):
        found = [run(form, metrics, batch, subscribers, args) for _ in range(args.rounds)]
        median = {key: statistics.median(one[key] for one in found) for key in found[0]}
        wrong += sum(one["wrong"] for one in found)
        waited = max(waited, *(one["waited"] for one in found), 0)
        print(
            f"{form:6} {metrics:7} {batch:6} {subscribers:5} {median['rate']:8.0f} {median['cpu_us']:10.2f} "
            f"{median['a_cpu_second']:10.0f} {median['cpu_0']:6.0%} {median['client']:6.0%} "
            f"{sum(one['wrong'] for one in found):5.0f} {max(one['waited'] for one in found):6.0%}",
            flush=True,
        )
    if wrong:
        print("the counts are NOT what they should be: see wrong")
        return 1
    print("the counts agree: every message was accepted, and came once to each of those who match")
    if waited > MAX_WAITED:
        print(f"NOT USABLE: another program had a CPU for {waited:.0%} of the window")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
