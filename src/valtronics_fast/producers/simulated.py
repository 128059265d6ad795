"""A fleet of simulated devices, for `--demo` and for load tests."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING

from valtronics_fast.errors import PublicationError
from valtronics_fast.logging import fields
from valtronics_fast.producers.simulated_device import OPENING, SimulatedDevice

if TYPE_CHECKING:
    from valtronics_fast.producers.base import Publish

__all__ = ["SimulatedFleet"]

logger = logging.getLogger(__name__)

# The least time between two groups of devices that send in one interval, in seconds.
TICK = 0.05


class SimulatedFleet:
    """Publishes what the devices say, spread over the interval rather than all at once.

    Args:
        devices: how many; their ids are 1, 2, ...
        seed: the same seed and times give the same messages; None: another fleet at each run.
        interval: seconds between two messages of a device, more than 0.
    """

    name = "simulated"

    def __init__(self, devices: int = 50, seed: int | None = None, interval: float = 1.0) -> None:
        if devices < 1 or interval <= 0:
            raise ValueError("a fleet has at least one device and an interval of more than 0 seconds")
        key = random.SystemRandom().random() if seed is None else seed
        openings: list[list[tuple[float, str]]] = [[] for _ in range(devices)]
        for number, event in enumerate(OPENING):
            openings[(7 * number + 2) % devices].append(event)
        self._devices = [
            # Each has a generator of its own, so that the grouping changes nothing.
            SimulatedDevice(number, random.Random(f"{key}/{number}"), opening, self._next_alert_id)  # noqa: S311
            for number, opening in enumerate(openings, 1)
        ]
        self._interval = interval
        self._last_alert_id = 0
        self._task: asyncio.Task[None] | None = None
        self._published = 0
        self._rejected = 0

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

    async def start(self, publish: Publish) -> None:
        """Begin to publish."""
        if self._task is not None:
            raise RuntimeError("the simulated fleet has been started already")
        self._task = asyncio.create_task(self._run(publish), name="simulated")

    async def stop(self) -> None:
        """End."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def ready(self) -> bool:
        """Say whether it is running."""
        return self._task is not None and not self._task.done()

    def stats(self) -> dict[str, int | bool | str]:
        """Return how many devices there are, and how many messages were published and refused."""
        return {"devices": len(self._devices), "published": self._published, "rejected": self._rejected}

    async def _run(self, publish: Publish) -> None:
        groups = max(1, min(len(self._devices), int(self._interval / TICK)))
        group = 0
        due = time.monotonic()
        while True:
            for message in self.step(time.time(), group, groups):
                try:
                    publish(message)
                    self._published += 1
                except PublicationError as error:
                    self._rejected += 1
                    if self._rejected == 1:  # the next ones have the same reason
                        logger.warning("simulated message refused", extra=fields(detail=error))
            group = (group + 1) % groups
            # By the clock rather than by pauses, so that the rhythm does not drift; what was missed is not
            # made up for.
            due = max(due + self._interval / groups, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
