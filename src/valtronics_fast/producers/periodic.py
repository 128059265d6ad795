"""Producers that have something to say every so often."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod
from typing import TYPE_CHECKING

from valtronics_fast.errors import PublicationError
from valtronics_fast.logging import fields
from valtronics_fast.producers.base import TaskProducer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from valtronics_fast.producers.base import Publish

__all__ = ["PeriodicProducer"]


class PeriodicProducer(TaskProducer):
    """Publishes its messages of the moment at once and then every `interval`.

    Args:
        interval: seconds from one turn to the next, more than 0.

    Attributes:
        refusal: what the log says, under the name of the producer's module, when a message is refused.
    """

    refusal: str

    def __init__(self, interval: float) -> None:
        if interval <= 0:
            raise ValueError("the interval is more than 0 seconds")
        self._interval = interval
        self._published = 0
        self._rejected = 0

    @abstractmethod
    def messages(self) -> Iterable[Mapping[str, object]]:
        """Return what there is to say this turn."""

    def ready(self) -> bool:
        """Say whether it is running."""
        return self._task is not None and not self._task.done()

    def stats(self) -> dict[str, int | bool | str]:
        """Return how many messages were published and how many refused."""
        return {"published": self._published, "rejected": self._rejected}

    async def _run(self, publish: Publish) -> None:
        due = time.monotonic()
        while True:
            for message in self.messages():
                try:
                    publish(message)
                    self._published += 1
                except PublicationError as error:
                    self._rejected += 1
                    if self._rejected == 1:  # the next ones have the same reason
                        logging.getLogger(type(self).__module__).warning(self.refusal, extra=fields(detail=error))
            # By the clock rather than by pauses, so that the rhythm does not drift; what was missed (a machine that
            # slept) is not made up for.
            due = max(due + self._interval, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
