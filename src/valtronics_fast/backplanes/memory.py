"""The backplane of a server that is alone: what is published goes straight to its hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valtronics_fast.producers.base import Publish

__all__ = ["MemoryBackplane"]


class MemoryBackplane:
    """Hands every message to the one hub there is."""

    name = "memory"

    def __init__(self) -> None:
        self._deliver: Publish | None = None

    async def start(self, deliver: Publish) -> None:
        """Begin to carry."""
        self._deliver = deliver

    async def stop(self) -> None:
        """End."""
        self._deliver = None

    def publish(self, message: Mapping[str, object], /) -> int:
        """Publish on the hub; return how many subscriptions matched."""
        if self._deliver is None:
            raise RuntimeError("the server is not running")
        return self._deliver(message)

    def ready(self) -> bool:
        """There is nobody else to reach."""
        return True

    def stats(self) -> dict[str, int | bool | str]:
        """Return nothing: the hub counts."""
        return {}
