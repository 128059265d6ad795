"""The environment without the settings of whoever runs the tests."""

from __future__ import annotations

import os

from valtronics_fast.config_aliases import VARIABLES
from valtronics_fast.config_load import PREFIX
from valtronics_fast.config_secrets import CREDENTIALS

__all__ = ["is_setting", "without_settings"]


def is_setting(name: str) -> bool:
    """Say whether a command looks at a variable. pytest-xdist sets the two that overrule the size of a terminal."""
    return name.startswith((PREFIX, "VALTRONICS_")) or name in {*VARIABLES, CREDENTIALS, "COLUMNS", "LINES"}


def without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not is_setting(name)}
