"""How several servers share what is published; `base` says what a backplane is, `log` what a shared one is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.backplanes.addresses import parse_address
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from valtronics_fast.backplanes.base import Backplane
    from valtronics_fast.backplanes.log import Log
    from valtronics_fast.config import BackplaneConfig
    from valtronics_fast.workers.link import Link

__all__ = ["MEMORY", "import_log", "open_backplane"]

MEMORY = "memory://"
"""The backplane of one machine, of whose processes the first one ingests."""


def open_backplane(config: BackplaneConfig, link: Link | None = None) -> Backplane:
    """Return the backplane of a URL, whose scheme the configuration has checked.

    Args:
        config: the settings.
        link: leads to the supervisor where there are several workers: memory:// is the bus between them then.

    Raises:
        ConfigError: the library that it needs is not installed.
    """
    if config.url != MEMORY:
        from valtronics_fast.backplanes.shared import SharedBackplane  # noqa: PLC0415

        return SharedBackplane(import_log(config.url)(config), config)
    if link is None:
        from valtronics_fast.backplanes.memory import MemoryBackplane  # noqa: PLC0415

        return MemoryBackplane()
    from valtronics_fast.backplanes.bus_log import BusLog  # noqa: PLC0415
    from valtronics_fast.backplanes.shared import SharedBackplane  # noqa: PLC0415

    return SharedBackplane(BusLog(link), config)


def import_log(url: str) -> Callable[[BackplaneConfig], Log]:
    """Return the kind of log that a URL names, of which there is none for memory://.

    Raises:
        ConfigError: the library that it needs is not installed.
    """
    is_nats = parse_address(url).kind == "nats"
    try:
        if is_nats:
            from valtronics_fast.backplanes.nats_log import NatsLog  # noqa: PLC0415

            return NatsLog
        from valtronics_fast.backplanes.redis_log import RedisLog  # noqa: PLC0415
    except ImportError as error:
        extra = "nats" if is_nats else "redis"
        text = f"must go with a library that is missing here: pip install 'valtronics-fast[{extra}]' ({error})"
        raise ConfigError([f"backplane.url {text}"]) from error
    return RedisLog
