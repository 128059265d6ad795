"""Every asynchronous test runs on uvloop, as the server does; no verdict of hypothesis depends on time.

Nor does one depend on the lines that earlier tests have logged: each test begins with all that the limits let pass.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import uvloop
from hypothesis import HealthCheck, settings

from valtronics_fast.logging import tell_suppressed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    import pytest

# CI repeats the same examples, so that a red run is about the change; everywhere else each run looks further.
settings.register_profile(
    "tests",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("tests")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_runtest_setup(item: pytest.Item) -> None:
    tell_suppressed(at_once=True)
