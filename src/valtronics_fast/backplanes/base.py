"""What a backplane is: every data message goes through it, on its way from a producer to the hubs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from valtronics_fast.backplanes.presence import nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from valtronics_fast._core.hub import Hub
    from valtronics_fast.backplanes.presence import Presence

__all__ = ["Backplane"]


class Backplane(Protocol):
    """Carries data messages to the hub of this server and to those of others.

    Attributes:
        name: its name in logs, readiness and statistics.
        shared: whether the hub is to be one of several (`Hub(shared=...)`).
    """

    name: str
    shared: bool

    async def start(self, hub: Hub, presence: Callable[[], Presence] = nobody) -> None:
        """Begin to carry.

        Args:
            hub: that of this server.
            presence: who is connected here; `nobody` where the others don't have to know.
        """

    async def stop(self) -> None:
        """End. Idempotent; afterwards no task and no socket is left."""

    def publish(self, message: Mapping[str, object], /) -> int:
        """Publish everywhere.

        Returns:
            How many subscriptions of this server matched, as far as that is known by now.

        Raises:
            PublicationError: the message is not valid.
        """

    async def settled(self) -> bool:
        """Wait until everything that has been published is where it outlives this process, if there is such a place.

        Does not wait without end for a place that is away: then it returns False.
        """

    def congested(self) -> bool:
        """Say whether so much waits for the others that what can wait should: over half of what may."""

    async def follow(self, lanes: list[int], offset: int) -> None:
        """Have what is published in these lanes come here (lanes.pxd), and everything up to an offset.

        Returns when it does, or can't at present.
        """

    def connections_elsewhere(self, user: str) -> int:
        """Return how many connections a user has on other machines, as far as is known."""

    def ready(self) -> bool:
        """Say whether messages reach the other servers at present."""

    def stats(self) -> dict[str, int | bool | str]:
        """Return counters since the start."""
