"""Runs the tests of the tables, as many at once as there are processors."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from guards.forks import Forks, Job
from valtronics_fast._core.checks import TEST_HOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from guards.forks import Outcome

WORKERS = os.cpu_count() or 1


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[dict[Job, Future[Outcome]]]:
    """Begin with the jobs of all tests that are to run and are not skipped; return what will become of each."""
    jobs = [
        item.callspec.params.get("job")
        for item in request.session.items
        if hasattr(item, "callspec") and (TEST_HOOKS or item.get_closest_marker("skipif") is None)
    ]
    with Forks(WORKERS) as forks, ThreadPoolExecutor(WORKERS) as pool:
        yield {job: pool.submit(forks.run, job) for job in jobs if isinstance(job, Job)}
        pool.shutdown(cancel_futures=True)
