"""Makes the hub of a server, as its settings say."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from valtronics_fast._core.hub import Hub
from valtronics_fast.workers.context import NUMBERS

if TYPE_CHECKING:
    from valtronics_fast.config import Config
    from valtronics_fast.workers.context import Worker

__all__ = ["INPUT_A_TURN", "make_hub", "reload_hub"]

INPUT_A_TURN = 0.01
"""Seconds that clients' messages are handled in one turn of the event loop; then others come first.

It bounds what many clients together can make us work off in one turn, as RECEIVE_BUFFER (listening.py) does for one.
"""

_UNBOUNDED: Final = 2**63


def make_hub(config: Config, *, shared: bool, worker: Worker | None = None) -> Hub:
    """Return the hub, which runs on the event loop that is running.

    Args:
        config: the settings.
        shared: it is one of several (`Backplane.shared`).
        worker: whose it is; the numbers of its connections begin where no other worker's do.
    """
    loop = asyncio.get_running_loop()
    hub = Hub(
        loop.call_soon,
        time.monotonic(),
        delay=partial(loop.call_later, config.server.flush_interval) if config.server.flush_interval else None,
        max_payload=config.limits.publication_size,
        max_backlog=config.limits.all_queues,
        max_latest=config.history.latest_size,
        history=config.history.messages,
        history_size=config.history.size,
        history_age=config.history.age,
        shared=shared,
        budget=INPUT_A_TURN,
    )
    if worker is not None:
        hub.attached = worker.start * NUMBERS
    return hub


def reload_hub(hub: Hub, config: Config) -> None:
    """Have a hub that runs take the bounds that can change."""
    hub.max_payload = config.limits.publication_size
    hub.max_backlog = config.limits.all_queues or _UNBOUNDED
