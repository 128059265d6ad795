"""Where a process has its configuration from: one place, asked at its start and at each SIGHUP."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from valtronics_fast.config import SETTINGS, Config
from valtronics_fast.config_load import Found, gather
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["ConfigSource"]


class ConfigSource:
    """A configuration file, flags, and the environment of this process.

    Args:
        path: the file, if any.
        flags: as `Config.load` takes them.

    Attributes:
        found: what the sources held when they were read last.
    """

    def __init__(self, path: str | None, flags: Mapping[str, object]) -> None:
        self.found = Found()
        self._path = path
        self._flags = flags

    def load(self) -> Config:
        """Read the sources anew.

        Raises:
            ConfigError: with every fault.
        """
        self.found = gather(SETTINGS, self._path, self._flags, os.environ)
        return Config.of(self.found)

    def load_for_start(self) -> Config:
        """Read the sources, and look at what they lead to as well: a server can start with these settings.

        Raises:
            ConfigError: with every fault of the settings, or where they have none, of files and libraries.
        """
        config = self.load()
        if problems := self.place(_probe(config)):
            raise ConfigError(problems)
        return config

    def place(self, problems: Iterable[str]) -> list[str]:
        """Put in front of a fault, where it begins with a setting, the place where its value came from."""
        return self.found.place(SETTINGS, problems)


def _probe(config: Config) -> list[str]:
    """Return what is wrong with keys, certificates and libraries."""
    from valtronics_fast.backplanes import MEMORY, import_log  # noqa: PLC0415 - after the faults of the settings
    from valtronics_fast.keys import load_keys  # noqa: PLC0415
    from valtronics_fast.tls import load_context  # noqa: PLC0415
    from valtronics_fast.tokens import with_secret  # noqa: PLC0415

    steps: list[Callable[[], object]] = [lambda: load_keys(with_secret(config).auth)]
    if config.tls.certfile:
        steps.append(lambda: load_context(config.tls))
    if config.backplane.url != MEMORY:
        steps.append(lambda: import_log(config.backplane.url))
    problems: list[str] = []
    for step in steps:
        try:
            step()
        except ConfigError as error:
            problems += error.problems
    return problems
