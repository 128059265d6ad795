"""What a producer is: something that runs beside the server and hands it data messages."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

__all__ = ["Cluster", "Election", "Outlet", "Producer", "Publish", "TaskProducer"]

Publish = Callable[[Mapping[str, object]], int]
"""Hands one data message (protocol.md, section 3) to the hub and returns how many subscriptions matched.

Raises PublicationError when the message is not valid. To be called on the event loop's thread.
"""


class Outlet(Protocol):
    """Where data messages go: the part of a backplane that is of use to those who must not lose or outrun anything."""

    def publish(self, message: Mapping[str, object], /) -> int:
        """See Publish."""

    async def settled(self) -> bool:
        """Wait until what has been published is where it outlives this process; False: that took too long."""

    def congested(self) -> bool:
        """Say whether so much waits to be carried on that what can wait should."""


class Election(Protocol):
    """Says which of several nodes plays a role (backplanes/election.py)."""

    heard: set[str]

    def stand(self, role: str, /) -> None:
        """Stand for a role from now on."""

    def withdraw(self, role: str, /) -> None:
        """Stand for a role no longer."""

    def leads(self, role: str, /) -> bool:
        """Say whether this node is to play a role now."""

    def leader(self, role: str, /) -> int | None:
        """Return the number of the node that plays it; None: none does, as far as is known."""

    def resign(self, role: str, /) -> None:
        """Play a role no longer until that is judged anew."""

    def pause(self) -> None:
        """Play nothing until the others have been heard: this process stood still."""


class Cluster(Outlet, Protocol):
    """The other nodes, for a producer of which only one may run among them."""

    async def follow(self, lanes: list[int], offset: int) -> None:
        """Have what is known of lanes come here."""

    @property
    def election(self) -> Election:
        """Which roles this node plays."""


class Producer(Protocol):
    """A source of data messages with a lifetime.

    Attributes:
        name: the producer's name in logs, readiness and statistics.
    """

    name: str

    async def start(self, publish: Publish) -> None:
        """Begin to publish. Returns once running, which is not once connected; never waits for a peer."""

    async def stop(self) -> None:
        """End. Idempotent; afterwards no task and no socket is left."""

    def ready(self) -> bool:
        """Say whether data can come in at present; False makes the server's readiness "degraded"."""

    def stats(self) -> dict[str, int | bool | str]:
        """Return counters since the start."""


class TaskProducer(ABC):
    """A producer that is one task from start to stop; after a stop it can be started again.

    Attributes:
        name: the producer's name, and its task's.
        title: what it is called in errors.
    """

    name: str
    title: str
    _task: asyncio.Task[None] | None = None

    async def start(self, publish: Publish) -> None:
        """Begin to publish.

        Raises:
            RuntimeError: it was started, and not stopped since.
        """
        if self._task is not None:
            raise RuntimeError(f"{self.title} has been started already")
        self._task = asyncio.create_task(self._run(publish), name=self.name)

    async def stop(self) -> None:
        """End."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @abstractmethod
    async def _run(self, publish: Publish) -> None:
        """Publish until cancelled."""
