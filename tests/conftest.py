"""Every asynchronous test runs on uvloop, as the server does; no verdict of hypothesis depends on time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}
