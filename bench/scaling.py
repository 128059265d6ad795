"""A cluster on paper: the processes, backplane, memory and network that a load takes, and what gives out first.

    python bench/scaling.py                       # the table of docs/scaling.md
    python bench/scaling.py --connections 50000 --devices 20000 --rate 2 --watched 5 --flush-interval 0.05

Unit costs are measured (scaling_costs.py writes baselines/costs.json). One process of the cluster is simulated: its
connections draw the devices that they watch, these have their partitions, and every publication of the simulated time
is put into the turn in which it is written; the rest of the cluster is like it. The number of processes is the least
with which each is busy for at most 60 % of a core. Where one backplane can't carry it, the fleet is divided into cells:
clusters with a backplane of their own, each with its part of the devices and of the connections that watch them.
"""

from __future__ import annotations

import argparse
import json
import random
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

COSTS: dict[str, float] = json.loads((Path(__file__).parent / "baselines" / "costs.json").read_text())

PARTITIONS = 64
BUSY = 0.6
"""The share of a core that a process may be busy: what is above it is for peaks, reconnects and the kernel."""

SAMPLE = 2000
"""Connections of the process that are simulated one by one; the others are like them."""

SECONDS = 2.0
APPEND = 0.002
"""Seconds between two appends of a process: a round trip to the log, in which more gathers."""

FRAME = 700
"""Bytes of a message of eight metrics to a client, with its TCP and IP headers."""

CONNECTION = 5.9 * 1024 + 2560
"""Bytes of a connection: ours, and what the kernel keeps for a socket that is idle."""

SUBSCRIBED = 256
"""Bytes of a device that a connection has subscribed to."""

LATEST = 3300
"""Bytes of the newest values of a device with eight metrics."""

LINK = 1.25e9
"""Bytes a second of a network of 10 Gbit/s."""


@dataclass(frozen=True)
class Load:
    """What a cluster is to carry.

    Attributes:
        connections: in all.
        devices: that publish.
        rate: publications of a device a second.
        watched: devices that a connection is subscribed to.
        flush_interval: `server.flush_interval`, in seconds.
    """

    connections: int
    devices: int
    rate: float
    watched: int
    flush_interval: float

    @property
    def publications(self) -> float:
        return self.devices * self.rate


@dataclass(frozen=True)
class Outcome:
    """What it takes.

    Attributes:
        processes: how many.
        lanes: that a process follows, of 64.
        receiving, delivering, publishing: shares of a core, for what comes, what goes out, and what it publishes.
        log: cores of the backplane's server.
        log_in, log_out: bytes a second at the backplane.
        node_out: bytes a second from a process to its clients.
        memory: bytes of a process.
    """

    processes: int
    lanes: int
    receiving: float
    delivering: float
    publishing: float
    log: float
    log_in: float
    log_out: float
    node_out: float
    memory: float

    @property
    def busy(self) -> float:
        return self.receiving + self.delivering + self.publishing


def simulate(load: Load, processes: int) -> Outcome:
    """Return what each of so many processes has to do."""
    chance = random.Random(processes)
    connections = load.connections / processes
    sampled = max(1, min(SAMPLE, round(connections)))
    partitions: set[int] = set()
    writes = matches = 0
    for _ in range(sampled):
        turns = set()
        for _ in range(load.watched):
            device = chance.randrange(load.devices)
            partitions.add(zlib.crc32(str(device).encode()) % PARTITIONS)
            at = chance.expovariate(load.rate)
            while at < SECONDS:
                matches += 1
                turns.add(at if not load.flush_interval else int(at / load.flush_interval))
                at += chance.expovariate(load.rate)
        writes += len(turns)
    scale = connections / sampled / SECONDS
    matches_per_second, writes_per_second = matches * scale, writes * scale
    unseen = max(0.0, connections - sampled) * load.watched
    lanes = round(PARTITIONS - (PARTITIONS - len(partitions)) * (1 - 1 / PARTITIONS) ** unseen)
    received = load.publications * lanes / PARTITIONS
    entries = min(load.publications, processes * PARTITIONS / APPEND)  # of the whole cluster
    kilobytes = load.publications * COSTS["packet_bytes"] / 1024
    copies = processes * lanes / PARTITIONS
    return Outcome(
        processes=processes,
        lanes=lanes,
        receiving=received * COSTS["receive"] + entries * lanes / PARTITIONS * COSTS["envelope"],
        delivering=matches_per_second * (COSTS["match"] + COSTS["appended"]) + writes_per_second * COSTS["write"],
        publishing=load.publications / processes * (COSTS["pack"] + COSTS["collect"]),
        log=entries * (COSTS["log_entry"] + copies * COSTS["log_copy"])
        + kilobytes * (COSTS["log_kilobyte"] + copies * COSTS["log_copy_kilobyte"]),
        log_in=kilobytes * 1024,
        log_out=kilobytes * 1024 * copies,
        node_out=matches_per_second * FRAME,
        memory=connections * (CONNECTION + load.watched * SUBSCRIBED) + load.devices * lanes / PARTITIONS * LATEST,
    )


def needed(load: Load) -> Outcome | None:
    """Return the outcome with the fewest processes that are enough; None: no number is."""
    least, most = 1, 1
    while simulate(load, most).busy > BUSY:
        least, most = most, most * 2
        if most > 65_536:
            return None
    while least < most:
        middle = (least + most) // 2
        if simulate(load, middle).busy > BUSY:
            least = middle + 1
        else:
            most = middle
    return simulate(load, most)


def divided(load: Load) -> tuple[int, Outcome]:
    """Return into how many cells a load has to be divided, and what one of them takes."""
    cells = 1
    while True:
        part = replace(load, connections=load.connections // cells, devices=load.devices // cells)
        outcome = needed(part)
        if outcome is not None and outcome.log <= BUSY and max(outcome.log_in, outcome.log_out) <= BUSY * LINK:
            return cells, outcome
        cells += 1 if cells < 16 else cells // 8


def bottleneck(outcome: Outcome) -> str:
    """Return what gives out first when the load grows."""
    shares = {
        "the backplane's core": outcome.log / BUSY,
        "the backplane's network": max(outcome.log_in, outcome.log_out) / LINK,
        "receiving, in each process": outcome.receiving / BUSY,
        "writing, in each process": outcome.delivering / BUSY,
    }
    name = max(shares, key=lambda name: shares[name])
    return f"{name} ({shares[name]:.0%} of what there is)"


def row(load: Load) -> str:
    cells, outcome = divided(load)
    return (
        f"| {load.connections:,} | {load.publications:,.0f} | {load.flush_interval * 1000:.0f} ms | {cells} x "
        f"{outcome.processes} | {outcome.receiving:.2f} + {outcome.delivering:.2f} + {outcome.publishing:.2f} | "
        f"{outcome.log:.2f} | {outcome.log_in / 1e6:,.0f} / {outcome.log_out / 1e6:,.0f} | "
        f"{outcome.node_out * outcome.processes / 1e6:,.0f} | {outcome.memory / 2**20:,.0f} | {bottleneck(outcome)} |"
    )


HEAD = (
    "| connections | publications/s | flush | cells x processes | busy: receive + deliver + publish | "
    "backplane, cores | backplane in / out, MB/s | to clients, MB/s | memory of a process, MiB | "
    "first to give out |\n" + "| --- " * 10 + "|"
)

TABLE = [
    Load(1_000, 1_000, 1, 10, 0),
    Load(10_000, 10_000, 1, 10, 0),
    Load(10_000, 10_000, 1, 10, 0.25),
    Load(100_000, 10_000, 1, 10, 0.25),
    Load(100_000, 100_000, 1, 10, 0.25),
    Load(1_000_000, 100_000, 1, 10, 0.25),
    Load(1_000_000, 1_000_000, 1, 10, 0.25),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, help="in all; without it: the table")
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=1.0, help="publications of a device a second")
    parser.add_argument("--watched", type=int, default=10, help="devices that a connection is subscribed to")
    parser.add_argument("--flush-interval", type=float, default=0.0, help="seconds")
    chosen = parser.parse_args()
    print(HEAD)
    if chosen.connections is None:
        for load in TABLE:
            print(row(load))
        return
    load = replace(
        TABLE[0], connections=chosen.connections, devices=chosen.devices, rate=chosen.rate, watched=chosen.watched,
        flush_interval=chosen.flush_interval,
    )  # fmt: skip
    print(row(load))


if __name__ == "__main__":
    main()
