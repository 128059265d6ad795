"""How several servers share what is published; `base` says what a backplane is, `log` what a shared one is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.backplanes.addresses import parse_address
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from valtronics_fast.backplanes.base import Backplane
    from valtronics_fast.backplanes.log import Log
    from valtronics_fast.config import BackplaneConfig
    from valtronics_fast.workers.link import Link

__all__ = ["open_backplane"]


def open_backplane(config: BackplaneConfig, link: Link | None = None) -> Backplane:
    """Return the backplane of a URL, whose scheme the configuration has checked.

    Args:
        config: the settings.
        link: leads to the supervisor where there are several workers: memory:// is the bus between them then.

    Raises:
        ConfigError: the library that it needs is not installed.
    """
    scheme = config.url.partition(":")[0]
    if scheme == "memory" and link is None:
        from valtronics_fast.backplanes.memory import MemoryBackplane  # noqa: PLC0415

        return MemoryBackplane()
    from valtronics_fast.backplanes.shared import SharedBackplane  # noqa: PLC0415

    if scheme == "memory" and link is not None:
        return SharedBackplane(_make_bus(link), config)
    try:
        return SharedBackplane(_make_log(config), config)
    except ImportError as error:
        extra = "nats" if scheme in {"nats", "tls"} else "redis"
        raise ConfigError([f"{scheme}: needs a library: pip install 'valtronics-fast[{extra}]' ({error})"]) from error


def _make_bus(link: Link) -> Log:
    """Return the log of the supervisor."""
    from valtronics_fast.backplanes.bus_log import BusLog  # noqa: PLC0415

    return BusLog(link)


def _make_log(config: BackplaneConfig) -> Log:
    """Return the log of a URL. What it needs is imported by those who use it."""
    if parse_address(config.url).kind == "nats":
        from valtronics_fast.backplanes.nats_log import NatsLog  # noqa: PLC0415

        return NatsLog(config)
    from valtronics_fast.backplanes.redis_log import RedisLog  # noqa: PLC0415

    return RedisLog(config)
