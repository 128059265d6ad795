"""Runs tests in processes of their own, each without one guard.

Importing pytest, its plugins and the libraries takes longer than most of these tests. So a server imports them once,
and forks for each job: `Forks` here, `serve` there. Nothing of the package is imported before the fork.
"""

from __future__ import annotations

import gc
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Self

import pytest

from guards.source import PACKAGE, ROOT, Row, path_of, without

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

PATIENCE = 6.0
"""Seconds for a test without its guard."""

# No time is spent on telling why a test failed, which is what it is run for.
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "--no-header", "-W", "ignore::pytest.PytestAssertRewriteWarning")
BRIEFLY = ("--assert=plain", "--tb=no")

TESTS_FAILED = 1
BROKEN = 70
"""The exit code of a job that broke before its tests were done."""

LIBRARIES = (
    "pytest", "_pytest.assertion.rewrite", "pytest_asyncio.plugin", "pytest_timeout", "hypothesis",
    "hypothesis.strategies", "_hypothesis_pytestplugin", "aiohttp.web", "cryptography.x509", "gmqtt", "jwt", "msgspec",
    "orjson", "picows", "psutil", "trustme", "uvloop", "websockets.asyncio.client",
)  # fmt: skip


class Job(NamedTuple):
    """Tests to run, without one guard or with all of them.

    Attributes:
        row: a guard of the Python layers.
        guard: the name of one of the core.
        patience: seconds for a test, and for half of it what it waits for: without a guard that may never come.
    """

    tests: tuple[str, ...]
    row: Row | None = None
    guard: str = ""
    patience: float = PATIENCE


class Outcome(NamedTuple):
    """What became of a test: pytest's exit code, and what it said."""

    code: int
    text: str


class Forks:
    """So many servers; `run` may be called from as many threads."""

    def __init__(self, count: int) -> None:
        self._closing = ExitStack()
        self._free: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        for _ in range(count):
            command = [sys.executable, "-c", "from guards.forks import serve; serve()"]
            environ = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
            server = subprocess.Popen(
                command, cwd=ROOT, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._closing.enter_context(server)  # closes its input, which ends it
            self._free.put(server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def run(self, job: Job) -> Outcome:
        """Run a job. A test that hangs or crashes has failed."""
        server = self._free.get()
        try:
            assert server.stdin is not None
            assert server.stdout is not None
            print(json.dumps(job), file=server.stdin, flush=True)
            return Outcome(*json.loads(server.stdout.readline()))
        finally:
            self._free.put(server)


# --- in the server


def serve() -> None:
    """Fork for each line of the standard input: a job."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # pytest collects garbage at the end of a run; that would be looked at each time
    for line in sys.stdin:
        tests, row, guard, patience = json.loads(line)
        job = Job(tests, row and Row(*row), guard, patience)
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if not child:
                _become_job(output.fileno())
                sys.exit(_run(job))
            code = _wait(child, (len(tests) + 2) * patience)
            output.seek(0)
            text = output.read().decode(errors="replace")
        print(json.dumps([code, text]), flush=True)


def _become_job(output: int) -> None:
    """Take a process group, no input, and the output of the job."""
    os.setsid()
    with open(os.devnull) as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _run(job: Job) -> int:
    os.environ["CI"] = "1"  # the same examples each time, and none is kept (tests/conftest.py)
    os.environ["TEST_TIMEOUT"] = str(job.patience / 2)
    if job.guard:
        os.environ["VFAST_GUARD_OFF"] = job.guard
    if job.row is not None:
        sys.meta_path.insert(0, Finder(job.row))
    verdict = Verdict()
    try:
        briefly = BRIEFLY if job.row or job.guard else ()
        pytest.main([*OPTIONS, *briefly, f"--timeout={job.patience}", *job.tests], plugins=[verdict])
    except BaseException:  # noqa: BLE001 - after the verdict: at the end of a process that a test has left in disorder
        traceback.print_exc()
    return verdict.code


class Verdict:
    """A plugin of pytest that keeps the exit code of a run."""

    code = BROKEN

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.code = int(exitstatus)


def _wait(child: int, patience: float) -> int:
    """Return the exit code of a job; a test that hangs or crashes has failed."""
    watch = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([watch], [], [], patience)
    finally:
        os.close(watch)
    with suppress(ProcessLookupError):  # it may have ended before it had a group
        os.killpg(child, signal.SIGKILL)  # whatever it has left behind, too
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    return code if ready and code >= 0 else TESTS_FAILED  # it hangs, or a signal has ended it


class Finder(importlib.abc.MetaPathFinder):
    """Finds the module of a row without its guard."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._name = f"{PACKAGE}.{row.module}"

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find that module, and leave all others to others."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(fullname, self._row))


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, row: Row) -> None:
        super().__init__(fullname, str(path_of(row.module)))
        self._row = row

    def get_code(self, fullname: str) -> CodeType:
        """Compile the module; nothing of it is kept in a file."""
        return compile(without(self._row), self.path, "exec", dont_inherit=True)
