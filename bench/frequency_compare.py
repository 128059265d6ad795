"""10,000 subscriptions at one update a second against the same in real time: frames and CPU, in turn in one run.

    python bench/frequency_compare.py [--rate 10000] [--frequency 1s] [--seconds 5] [--rounds 3]

1,000 connections, each subscribed to 10 of 1,000 devices; every device has ten subscribers, and publishes 10 messages a
second at the default rate. The server, which publishes too, runs on CPU 0, the load client (load/live_load.c, compiled
when needed) on CPU 1. The sides:

    nobody         each connection subscribes only to ten devices from which nothing comes: what publishing costs
    real time      ten devices in real time
    beside idle    the same, beside ten devices at the frequency from which nothing comes, which should cost nothing
    1s             ten devices at the frequency

*frames/s* are what the subscribers got, *cpu* is the server's process, user and system, a second; *for frames* is that
without what it takes to publish to nobody. The client checks that every subscription gets ever newer values, in real
time all of them, and at a frequency one an interval at most, and hardly less. When not, or when anything else comes,
the exit code is 1; it is 2 when a process had to wait for its CPU, because something else ran there.
"""

from __future__ import annotations

import argparse
import sys

from live import alternate, verdict

CONNECTIONS = 1000
EACH = 10
NOBODY, REAL_TIME, BESIDE_IDLE = "nobody", "real time", "beside idle"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=10_000, help="publications a second, of all devices together")
    parser.add_argument("--payload", type=int, default=300, help="bytes of a message")
    parser.add_argument("--frequency", type=int, default=1, help="seconds")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warmup", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    paced = f"{args.frequency}s"
    medians = alternate(
        {
            NOBODY: {"each": 0, "idle": EACH},
            REAL_TIME: {"each": EACH},
            BESIDE_IDLE: {"each": EACH, "idle": EACH},
            paced: {"each": EACH, "frequency": paced},
        },
        args.rounds,
        rate=args.rate,
        payload=args.payload,
        connections=CONNECTIONS,
        seconds=args.seconds,
        warmup=args.warmup,
    )
    nobody = medians[NOBODY]["server_load"]
    print(f"{'':12} {'frames/s':>9} {'cpu':>7} {'for frames':>10} {'us a frame':>10} {'client':>7} {'waited':>7}")
    for name, median in medians.items():
        frames = median["frames"] / median["seconds"]
        net = median["server_load"] - nobody
        each = f"{net / frames * 1e6:10.2f}" if frames else " " * 10
        print(
            f"{name:12} {frames:9.0f} {median['server_load']:7.1%} {net:10.1%} {each} {median['client_load']:7.0%} "
            f"{median['starved']:7.1%}"
        )
    real, slow = medians[REAL_TIME], medians[paced]
    saved = real["frames"] / slow["frames"]
    cpu, net = real["cpu"] / slow["cpu"], (real["server_load"] - nobody) / (slow["server_load"] - nobody)
    print(f"frames saved: {real['frames'] - slow['frames']:.0f} of {real['frames']:.0f}, a factor of {saved:.1f}")
    print(f"CPU seconds: {real['cpu']:.2f} -> {slow['cpu']:.2f}, {cpu:.1f} times less; for the frames alone {net:.1f}")
    beside = medians[BESIDE_IDLE]["cpu"] / real["cpu"]
    print(f"real time beside {CONNECTIONS * EACH} idle subscriptions at {paced}: {beside:.3f} of the CPU without")
    faults = [
        f"{name}: {medians[name]['gaps']:.0f} messages are missing"
        for name in (REAL_TIME, BESIDE_IDLE)
        if medians[name]["gaps"]
    ]
    expected = args.seconds / args.frequency
    if not (expected - 1 <= slow["fewest"] and slow["most"] <= expected + 1):
        faults.append(f"{paced}: {slow['fewest']:.0f} to {slow['most']:.0f} frames a subscription, not {expected:.0f}")
    return verdict(medians, faults)


if __name__ == "__main__":
    sys.exit(main())
