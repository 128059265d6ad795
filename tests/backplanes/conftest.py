"""The brokers that the backplane is tried on."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest

from nats_server import Nats
from redis_server import Redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Broker: TypeAlias = Redis | Nats
BROKERS: dict[str, Callable[[Path], Broker]] = {"redis": Redis, "nats": Nats}


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """A broker that runs, and loses all when it is killed."""
    with BROKERS[request.param](tmp_path) as running:
        yield running


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that runs."""
    with Redis(tmp_path) as running:
        yield running
