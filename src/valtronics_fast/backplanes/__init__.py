"""How several servers share what is published; `base` says what a backplane is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.backplanes.memory import MemoryBackplane

if TYPE_CHECKING:
    from valtronics_fast.backplanes.base import Backplane
    from valtronics_fast.config import BackplaneConfig

__all__ = ["open_backplane"]


def open_backplane(config: BackplaneConfig) -> Backplane:
    """Return the backplane of a URL; the configuration has checked its scheme."""
    if config.url.startswith("memory:"):
        return MemoryBackplane()
    raise ValueError(f"no backplane for {config.url.partition(':')[0]}:")
