"""Tests in processes of their own: what they need can only be had in an environment of their own."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

P = ParamSpec("P")
Test: TypeAlias = "Callable[P, Awaitable[None]]"
ROOT = Path(__file__).parents[2]
APART = "VFAST_TEST_APART"


def apart(environment: Callable[[], Mapping[str, str]]) -> Callable[[Test[P]], Test[P]]:
    """Run an asynchronous test in a pytest of its own, with these variables in addition."""

    def decorate(test: Test[P]) -> Test[P]:
        @functools.wraps(test)
        async def run(*args: P.args, **kwargs: P.kwargs) -> None:
            if APART in os.environ:
                return await test(*args, **kwargs)
            node = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
            options = ["-q", "-p", "no:cacheprovider", "--capture=sys", "--runxfail"]
            command = [sys.executable, "-m", "pytest", *options, node]
            environ = os.environ | environment() | {APART: "1"}
            done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
            assert "1 passed" in done.stdout, done.stdout + done.stderr
            assert done.returncode == 0, done.stdout + done.stderr
            return None

        return run

    return decorate
