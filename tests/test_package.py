"""What `import valtronics_fast` offers, and what it says when it can't."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import valtronics_fast

SOURCES = Path(__file__).parent.parent / "src"


def test_all_of_it_can_be_imported() -> None:
    for name in valtronics_fast.__all__:
        assert getattr(valtronics_fast, name).__name__ == name
    assert set(valtronics_fast.__all__) == set(valtronics_fast._HOMES)


def test_a_name_that_it_has_not() -> None:
    with pytest.raises(AttributeError, match=r"valtronics_fast.*'nothing'"):
        valtronics_fast.nothing  # noqa: B018


def test_a_tree_that_was_not_built_says_what_to_do() -> None:
    """-S leaves out site-packages, where the built core is."""
    script = f"import sys; sys.path.insert(0, {str(SOURCES)!r}); import valtronics_fast"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: the compiled core of valtronics_fast is missing" in done.stderr
    assert "make build" in done.stderr


def test_importing_the_core_loads_no_server() -> None:
    script = "import sys, valtronics_fast._core.hub; print('aiohttp' in sys.modules, 'asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "False"
