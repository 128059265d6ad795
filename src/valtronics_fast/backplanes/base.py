"""What a backplane is: every data message goes through it, on its way from a producer to the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valtronics_fast.producers.base import Publish

__all__ = ["Backplane"]


class Backplane(Protocol):
    """Carries data messages to the hub of this server and to those of others.

    Attributes:
        name: its name in logs, readiness and statistics.
    """

    name: str

    async def start(self, deliver: Publish) -> None:
        """Begin to carry; `deliver` publishes on the hub of this server."""

    async def stop(self) -> None:
        """End. Idempotent; afterwards no task and no socket is left."""

    def publish(self, message: Mapping[str, object], /) -> int:
        """Publish everywhere; return how many subscriptions of this server matched.

        Raises:
            PublicationError: the message is not valid.
        """

    def ready(self) -> bool:
        """Say whether messages reach the other servers at present."""

    def stats(self) -> dict[str, int | bool | str]:
        """Return counters since the start."""
