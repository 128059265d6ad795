"""The version, which is written down in pyproject.toml alone."""

from __future__ import annotations

from importlib import metadata

__all__ = ["version"]


def version() -> str:
    """Return the version of the installed distribution."""
    return metadata.version("valtronics-fast")
