"""What readers that have stopped cost those that read on: latency of 999 readers beside none, one and 100, in one run.

    python bench/slow_reader.py [--rate 1000] [--seconds 5] [--rounds 3]

999 connections read ten of 1,000 devices each; a message has ten of them for readers. The others are subscribed to all
devices and read nothing, so that in the warmup they get behind: *behind* is how many the server has kept values back
for, *waiting* what it has queued for them all. Latency is from publishing to the reader's look at the message, *cpu*
the server's process, user and system, a second. The server, which publishes too, runs on CPU 0, the readers
(load/live_load.c, compiled when needed) on CPU 1; the sides take turns.

The exit code is 1 when a reader has missed anything or was closed, or not all that stopped are behind; it is 2 when a
process had to wait for its CPU, because something else ran there.
"""

from __future__ import annotations

import argparse
import sys

from live import alternate, verdict

READERS = 999
EACH = 10
STOPPED = (0, 1, 100)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000, help="publications a second")
    parser.add_argument("--payload", type=int, default=1000, help="bytes of a message")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warmup", type=float, default=8, help="time for the stopped ones to get behind")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    medians = alternate(
        {f"{count} stopped": {"stopped": count} for count in STOPPED},
        args.rounds,
        rate=args.rate,
        payload=args.payload,
        connections=READERS,
        each=EACH,
        seconds=args.seconds,
        warmup=args.warmup,
    )
    print(
        f"{'':12} {'p50 us':>7} {'p99 us':>7} {'max us':>8} {'frames/s':>9} {'cpu':>6} {'waited':>7} {'behind':>7} "
        f"{'waiting':>10}"
    )
    for name, median in medians.items():
        print(
            f"{name:12} {median['p50']:7.0f} {median['p99']:7.0f} {median['max']:8.0f} "
            f"{median['frames'] / median['seconds']:9.0f} {median['server_load']:6.1%} {median['starved']:7.1%} "
            f"{median['behind']:7.0f} {median['backlog'] / 1024:7.0f} KiB"
        )
    faults = [f"{name}: {median['gaps']:.0f} are missing" for name, median in medians.items() if median["gaps"]]
    for count, (name, median) in zip(STOPPED, medians.items(), strict=True):
        if median["behind"] != count:
            faults.append(f"{name}: {median['behind']:.0f} are behind; a longer --warmup may do")
    return verdict(medians, faults)


if __name__ == "__main__":
    sys.exit(main())
