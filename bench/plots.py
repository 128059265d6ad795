"""Draws what publishing costs against connections, subscriptions and batch size; matplotlib is the extra `plots`.

    python bench/plots.py                 small sizes, a few seconds
    python bench/plots.py --full          up to 1,000 connections and 1,000,000 subscriptions
    python bench/plots.py --data x.json   also writes the points; --from x.json draws them without measuring

Writes docs/images/cost-*.svg. All is measured in this process, as in bench_index.py and bench_outbox.py: sessions of
the real core, real sockets over loopback where something is written, CPU time, medians.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt

from socketless import METRICS, Population, telemetry
from valtronics_fast._core.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
MESSAGE = telemetry(1, METRICS[:1], pad="x" * 150)  # 300 bytes as JSON
ROUNDS = 30
Points = dict[str, list[tuple[int, float]]]


def medians_of(
    actions: list[Callable[[], object]], prepare: Callable[[], object] = lambda: None, calls: int = 1
) -> list[float]:
    """Return each action's median CPU time a call, in seconds; `prepare` is not timed.

    The actions take turns, so that they share what the machine does meanwhile.
    """
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(ROUNDS):
        for action, taken in zip(actions, times, strict=True):
            prepare()
            started = time.process_time()
            for _ in range(calls):
                action()
            taken.append((time.process_time() - started) / calls)
    return [statistics.median(taken) for taken in times]


def turn_costs(connections: int, batch: int) -> tuple[float, float]:
    """Return microseconds a delivery: our turn, and plain `send` of the same bytes."""
    with Population() as population:
        population.connect_tcp(connections)
        for number in range(connections):
            population.command(number, {"type": "subscribe", "channel": "telemetry", "device_id": 1})
        hub = population.hub
        data = encode(MESSAGE) * batch
        writers = population.writers

        def turn() -> None:
            for _ in range(batch):
                hub.publish(MESSAGE)
            hub.turn.flush()

        def plain() -> None:
            for writer in writers:
                writer.send(data)

        ours, least = medians_of([turn, plain], population.drain)
        return ours * 1e6 / (connections * batch), least * 1e6 / (connections * batch)


def against(sizes: Iterable[int], costs: Callable[[int], tuple[float, float]]) -> Points:
    points: Points = {"valtronics_fast": [], "plain send": []}
    for size in sizes:
        ours, plain = costs(size)
        points["valtronics_fast"].append((size, ours))
        points["plain send"].append((size, plain))
    return points


def publisher(population: Population, devices: list[int], metric: str) -> Callable[[], object]:
    """Return a function that publishes one metric of one of the devices after the other."""
    following = itertools.cycle([telemetry(device, [metric]) for device in devices])
    publish = population.hub.publish
    return lambda: publish(next(following))


def matching(sizes: Iterable[int]) -> Points:
    """Return microseconds a publication that ten connections are subscribed to, by the number of subscriptions."""
    points: Points = {"ten match": [], "their filters ask for another metric": [], "unknown device": []}
    for size in sizes:
        devices = max(size // 10, 1)
        with Population() as population:
            population.subscribe_at_random(max(size // 100, 100), devices, 10, filters=1)
            population.shut()
            source = random.Random(2)
            ids = [source.randrange(devices) for _ in range(1000)]
            kinds = [(0, METRICS[0]), (0, "other"), (devices, METRICS[0])]
            actions = [publisher(population, [offset + i for i in ids], metric) for offset, metric in kinds]
            for name, cost in zip(points, medians_of(actions, calls=1000), strict=True):
                points[name].append((size, cost * 1e6))
    return points


def measure(full: bool) -> dict[str, Points]:
    connections = [10, 30, 100, 300, 1000] if full else [10, 30, 100]
    subscriptions = [10**n for n in range(3, 7 if full else 6)]
    batches = [1, 2, 4, 8, 16, 32, 64]
    crowd = 1000 if full else 100
    return {
        "connections": against(connections, lambda size: turn_costs(size, 1)),
        "batch": against(batches, lambda size: turn_costs(crowd, size)),
        "subscriptions": matching(subscriptions),
    }


TITLES = {
    "connections": ("Fan-out, one 300-byte message a turn", "connections", "CPU µs a delivery"),
    "batch": ("Fan-out, several 300-byte messages a turn", "messages a turn", "CPU µs a delivery"),
    "subscriptions": ("A publication for ten of many subscriptions", "subscriptions", "CPU µs a publication"),
}


def draw(name: str, points: Points, folder: Path) -> Path:
    title, across, up = TITLES[name]
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for label, line in points.items():
        axes.plot(*zip(*line, strict=True), marker="o", markersize=4, label=label)
    axes.set(title=title, xlabel=across, ylabel=up, xscale="log")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    path = folder / f"cost-{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all sizes")
    parser.add_argument("--data", type=Path, help="write the points here")
    parser.add_argument("--from", dest="source", type=Path, help="draw these points, measure nothing")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the images")
    args = parser.parse_args()
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "valtronics_fast"  # the same points give the same file
    found = json.loads(args.source.read_text()) if args.source else measure(args.full)
    if args.data:
        args.data.write_text(json.dumps(found, indent=1) + "\n")
    args.out.mkdir(parents=True, exist_ok=True)
    for name, points in found.items():
        print(draw(name, points, args.out))


if __name__ == "__main__":
    main()
