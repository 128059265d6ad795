"""Collects bench_*.py, which the tests' run leaves alone, and measures the yardstick around each benchmark."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside this file, which are scripts' helpers too

import calibration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

ROUNDS = 40


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    named = parent.session.isinitpath(file_path)  # on the command line: pytest collects it by itself
    if file_path.name.startswith("bench_") and file_path.suffix == ".py" and not named:
        return pytest.Module.from_parent(parent, path=file_path)
    return None


@pytest.fixture(autouse=True)
def yardstick(benchmark: BenchmarkFixture) -> Iterator[None]:
    """Note the calibration's time with the benchmark: the mean of before and after."""
    before = calibration.measure()
    yield
    benchmark.extra_info["calibration"] = (before + calibration.measure()) / 2


@pytest.fixture
def steady(benchmark: BenchmarkFixture) -> Callable[..., Any]:
    """Time `function(*args)` in a fixed number of rounds of `iterations` calls; return what the last one did.

    With `prepare`, which is called before each round and not timed, a round is one call. `items` is how many things
    (timers, connections, commands) a call is about; it is noted for the reader.
    """

    def run(
        function: Callable[..., Any],
        *args: object,
        iterations: int = 1000,
        rounds: int = ROUNDS,
        prepare: Callable[[], None] | None = None,
        items: int = 1,
    ) -> Any:
        benchmark.extra_info["items"] = items
        if prepare is not None:
            return benchmark.pedantic(function, args, setup=prepare, rounds=rounds, warmup_rounds=3)
        return benchmark.pedantic(function, args, rounds=rounds, iterations=iterations, warmup_rounds=3)

    return run
