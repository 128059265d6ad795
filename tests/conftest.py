"""Every asynchronous test runs on uvloop, as the server does; no verdict of hypothesis depends on time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import uvloop
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

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
