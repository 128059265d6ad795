"""The backplane of a server that is alone: what is published goes straight to its hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.backplanes.presence import nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from valtronics_fast._core.hub import Hub
    from valtronics_fast.backplanes.presence import Presence

__all__ = ["MemoryBackplane"]


class MemoryBackplane:
    """Hands every message to the one hub there is."""

    name = "memory"
    shared = False

    def __init__(self) -> None:
        self._hub: Hub | None = None

    async def start(self, hub: Hub, presence: Callable[[], Presence] = nobody) -> None:  # noqa: ARG002
        """Begin to carry."""
        self._hub = hub

    async def stop(self) -> None:
        """End."""
        self._hub = None

    def publish(self, message: Mapping[str, object], /) -> int:
        """Publish on the hub; return how many subscriptions matched."""
        if self._hub is None:
            raise RuntimeError("the server is not running")
        return self._hub.publish(message)

    async def settled(self) -> bool:
        """There is no place that outlives this process."""
        return True

    def congested(self) -> bool:
        """Nothing waits here."""
        return False

    async def follow(self, lanes: list[int], offset: int) -> None:
        """What is published comes here."""

    def connections_elsewhere(self, user: str) -> int:  # noqa: ARG002 - there is no elsewhere
        """Nobody has any."""
        return 0

    def ready(self) -> bool:
        """There is nobody else to reach."""
        return True

    def stats(self) -> dict[str, int | bool | str]:
        """Return nothing: the hub counts."""
        return {}
