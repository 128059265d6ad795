"""That each guard is needed: with it off, its test fails (make guards).

A guard of the core is a `vfast_guard("name", condition)`, which a build for tests can switch off. One of the Python
layers is an expression or a statement of a module, and the test's own process compiles that module without it
(`source`, `forks`): production code has no part in that. Each stands in a table with the test that tells.
"""

from __future__ import annotations

import ast
import re
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from guards import (
    admin,
    approach,
    cluster,
    core,
    credentials,
    devices,
    door,
    http,
    lines,
    logs,
    nodes,
    operation,
    settings,
    workers,
)
from guards.exempt import EXEMPT, NO_GUARDS
from guards.forks import PATIENCE, Job
from guards.source import ROOT, Exit, Row, exits, find, parsed, path_of
from valtronics_fast._core.checks import TEST_HOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from guards.forks import Outcome

GUARDED = re.compile(r'vfast_guard\(\s*b"([^"]+)"')
TABLES = (door, approach, credentials, http, admin, devices, lines, settings, operation, cluster, nodes, logs, workers)
ROWS = [row for table in TABLES for row in table.ROWS]
MODULES = list(dict.fromkeys(row.module for row in ROWS))
TESTS = sorted({*core.TABLE.values(), *(row.test for row in ROWS)})

needs_hooks = pytest.mark.skipif(not TEST_HOOKS, reason="it takes minutes, or a build for tests: make guards")
# What is judged by functions that are pure, or nearly so, is quick enough for every run; the others wait for sockets.
QUICK = {
    "handshake", "extensions", "proxy_protocol", "addresses", "origins", "claims", "producers.mapping",
    "backplanes.envelope", "backplanes.members", "backplanes.rejoining", "workers.kept",
}  # fmt: skip

CORE_JOBS = [pytest.param(Job((test,), guard=name), id=name) for name, test in core.TABLE.items()]
JOBS = [
    pytest.param(Job((row.test,), row=row), id=str(row), marks=() if row.module in QUICK else needs_hooks)
    for row in ROWS
]
# With all guards on, in the same kind of process, but with as much time as tests have.
WITH_ALL = [
    pytest.param(Job(tuple(tests), patience=20 * PATIENCE), id=file)
    for file, tests in groupby(TESTS, key=lambda test: test.split("::")[0])
]


@needs_hooks
@pytest.mark.parametrize("job", CORE_JOBS)
def test_without_a_guard_of_the_core_its_test_fails(job: Job, outcomes: dict[Job, Future[Outcome]]) -> None:
    outcome = outcomes[job].result()
    assert outcome.code == pytest.ExitCode.TESTS_FAILED, outcome.text


@pytest.mark.parametrize("job", JOBS)
def test_without_the_guard_its_test_fails(job: Job, outcomes: dict[Job, Future[Outcome]]) -> None:
    outcome = outcomes[job].result()
    assert outcome.code == pytest.ExitCode.TESTS_FAILED, outcome.text


@needs_hooks
@pytest.mark.timeout(600)
@pytest.mark.parametrize("job", WITH_ALL)
def test_with_all_guards_the_tests_pass(job: Job, outcomes: dict[Job, Future[Outcome]]) -> None:
    outcome = outcomes[job].result()
    assert outcome.code == pytest.ExitCode.OK, outcome.text


def test_the_table_has_every_guard_of_the_core() -> None:
    sources = (ROOT / "src" / "_core").glob("*.p[yx]*")
    names = [name for path in sources for name in GUARDED.findall(path.read_text())]
    assert sorted(names) == sorted(core.TABLE)


def test_each_text_of_the_table_stands_once_in_its_module() -> None:
    assert [str(row) for row in ROWS if len(find(row)) != 1] == []


def test_each_row_stands_once_in_the_table() -> None:
    assert len({row[:4] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("module", MODULES)
def test_the_table_has_every_guard_of_a_module(module: str) -> None:
    rows = [row for row in ROWS if row.module == module]
    assert [text for each in exits(module) for text in uncovered(each, rows) if text not in EXEMPT] == []


def test_what_is_exempt_is_there_and_in_no_row() -> None:
    found = {text for module in MODULES for each in exits(module) for text in uncovered(each, ROWS)}
    assert set(EXEMPT) - found == set()


def test_every_module_is_in_the_table_or_has_no_guards() -> None:
    package = path_of("errors").parent
    names = {".".join(path.relative_to(package).with_suffix("").parts) for path in package.rglob("[!_]*.py")}
    assert names - set(MODULES) == set(NO_GUARDS)


def uncovered(found: Exit, rows: list[Row]) -> Iterator[str]:
    """Yield the parts of the conditions of an exit, or the bound, that no row switches off."""
    places = [(place, row) for row in rows if row.module == found.module for place in find(row)]
    if any(found.node in ast.walk(place) for place, _ in places):
        return
    if isinstance(found.node, ast.Name):
        yield str(found)
        return
    for condition in found.conditions:
        if not any(_switches_off(row, place, condition.node) for place, row in places):
            yield f"{found.module}.{found.function}: {ast.unparse(condition.node)}"


def _switches_off(row: Row, place: ast.AST, part: ast.expr) -> bool:
    """Say whether a row takes a part out of a condition: it, something in it, or it alone out of a whole."""
    if place in ast.walk(part):
        return True
    if part not in ast.walk(place) or (isinstance(place, ast.BoolOp) and row.off in {"True", "False"}):
        return False
    wanted = ast.dump(part)
    there, left = ([ast.dump(node) for node in ast.walk(tree)].count(wanted) for tree in (place, parsed(row.off)))
    return there - left == 1
