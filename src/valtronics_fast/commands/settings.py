"""The flags of the settings, which several commands have, and the configuration that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from valtronics_fast.config import SETTINGS
from valtronics_fast.config_source import ConfigSource

if TYPE_CHECKING:
    import argparse

__all__ = ["add_settings", "take_source"]


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add --config, and a flag for each setting that has one; their names in the result are those of the settings."""
    parser.add_argument("--config", metavar="FILE.toml", help="read the settings from a file")
    for setting in SETTINGS.values():
        text = setting.description.rstrip(".").replace("%", "%%")
        if setting.flag and setting.kind == "boolean":
            parser.add_argument(setting.flag, dest=setting.key, action="store_true", default=None, help=text)
        elif setting.flag:  # its value stays text, to be checked with that of all other sources
            metavar = setting.flag.lstrip("-").upper()
            text = f"{text} ({setting.default})"
            parser.add_argument(setting.flag, dest=setting.key, metavar=metavar, help=text)


def take_source(options: dict[str, Any]) -> ConfigSource:
    """Return where the settings come from, by what was parsed with the arguments of `add_settings` and no others."""
    return ConfigSource(options.pop("config"), options)
