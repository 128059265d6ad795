"""A fleet of simulated devices, for `--demo` and for load tests."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from valtronics_fast.producers.periodic import PeriodicProducer
from valtronics_fast.producers.simulated_device import OPENING, SimulatedDevice

if TYPE_CHECKING:
    from valtronics_fast.producers.base import Publish

__all__ = ["SimulatedFleet"]

# The least time between two groups of devices that send in one interval, in seconds.
TICK = 0.05


class SimulatedFleet(PeriodicProducer):
    """Publishes what the devices say, spread over the interval rather than all at once.

    Args:
        devices: how many; their ids are 1, 2, ...
        seed: the same seed and times give the same messages; None: another fleet at each run.
        interval: seconds between two messages of a device, more than 0.
    """

    name = "simulated"
    title = "the simulated fleet"
    refusal = "simulated message refused"

    def __init__(self, devices: int = 50, seed: int | None = None, interval: float = 1.0) -> None:
        if devices < 1 or interval <= 0:
            raise ValueError("a fleet has at least one device and an interval of more than 0 seconds")
        self._groups = max(1, min(devices, int(interval / TICK)))
        self._group = 0
        super().__init__(interval / self._groups)
        key = random.SystemRandom().random() if seed is None else seed
        openings: list[list[tuple[float, str]]] = [[] for _ in range(devices)]
        for number, event in enumerate(OPENING):
            openings[(7 * number + 2) % devices].append(event)
        self._devices = [
            # Each has a generator of its own, so that the grouping changes nothing.
            SimulatedDevice(number, random.Random(f"{key}/{number}"), opening, self._next_alert_id)  # noqa: S311
            for number, opening in enumerate(openings, 1)
        ]
        self._last_alert_id = 0

    def step(self, now: float, group: int = 0, groups: int = 1) -> list[dict[str, object]]:
        """Return what the devices say at a time.

        Args:
            now: Unix seconds, not less than in the calls before.
            group: which of the groups speaks.
            groups: how many groups the fleet is divided into.
        """
        return [message for device in self._devices[group::groups] for message in device.step(now)]

    def _next_alert_id(self, now: float) -> int:
        """Return microseconds: ids that rise, and differ from those of earlier runs."""
        self._last_alert_id = max(self._last_alert_id + 1, int(now * 1_000_000))
        return self._last_alert_id

    def messages(self) -> list[dict[str, object]]:
        """Return what the next group says now."""
        group, self._group = self._group, (self._group + 1) % self._groups
        return self.step(time.time(), group, self._groups)

    def stats(self) -> dict[str, int | bool | str]:
        """Return how many devices there are, and how many messages were published and refused."""
        return {"devices": len(self._devices), **super().stats()}

    async def _run(self, publish: Publish) -> None:
        self._group = 0
        await super()._run(publish)
