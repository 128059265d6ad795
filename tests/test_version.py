from __future__ import annotations

import tomllib
from pathlib import Path

from valtronics_fast.version import version


def test_the_version_is_that_of_pyproject() -> None:
    path = Path(__file__).parents[1] / "pyproject.toml"
    assert version() == tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"]
