"""The version, which is written down in pyproject.toml alone, and what else a build consists of."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata

from valtronics_fast._core.checks import INVARIANTS, TEST_HOOKS

__all__ = ["build", "version"]


def version() -> str:
    """Return the version of the installed distribution."""
    return metadata.version("valtronics-fast")


@cache
def build() -> dict[str, str]:
    """Return what runs: versions, and how the core was compiled (`release`, or with what tests need)."""
    extras = [name for name, there in (("invariants", INVARIANTS), ("test-hooks", TEST_HOOKS)) if there]
    return {
        "version": version(),
        "python": platform.python_version(),
        "picows": metadata.version("picows"),
        "uvloop": metadata.version("uvloop"),
        "core": "+".join(extras) or "release",
    }
