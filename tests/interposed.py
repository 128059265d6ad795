"""C libraries that stand between a program and the C library, for tests of what the system does."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def build(source: Path, target: Path) -> None:
    """Compile such a library; a sanitizer that runs the tests is not to look at the compiler."""
    compiler = os.environ.get("CC", "cc").split()
    environ = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    subprocess.run([*compiler, "-shared", "-fPIC", "-O1", "-o", target, source], env=environ, check=True)


def preloading(library: Path) -> dict[str, str]:
    """Return the variable with which a process gets it: behind what is there, for a sanitizer has to come first."""
    return {"LD_PRELOAD": " ".join(filter(None, (os.environ.get("LD_PRELOAD"), str(library))))}
