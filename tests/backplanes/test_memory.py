"""The backplane of a server that is alone."""

from __future__ import annotations

import pytest

from harness import telemetry
from valtronics_fast import PublicationError
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.wire import Channel
from valtronics_fast.backplanes import open_backplane
from valtronics_fast.backplanes.memory import MemoryBackplane
from valtronics_fast.config import BackplaneConfig


def alone() -> Hub:
    return Hub(lambda _flush: None, 0.0, history=10)


async def test_a_message_goes_to_the_hub() -> None:
    hub, backplane = alone(), MemoryBackplane()
    await backplane.start(hub)
    assert backplane.publish(telemetry()) == 0
    assert len(hub.histories[Channel.TELEMETRY]) == 1


async def test_what_the_hub_refuses_is_refused() -> None:
    backplane = MemoryBackplane()
    await backplane.start(alone())
    with pytest.raises(PublicationError):
        backplane.publish({"type": "noise"})


async def test_it_carries_only_while_it_runs() -> None:
    backplane = MemoryBackplane()
    with pytest.raises(RuntimeError, match="not running"):
        backplane.publish(telemetry())
    await backplane.start(alone())
    assert backplane.publish(telemetry()) == 0
    await backplane.stop()
    await backplane.stop()
    with pytest.raises(RuntimeError, match="not running"):
        backplane.publish(telemetry())


async def test_there_is_nothing_to_wait_for() -> None:
    backplane = MemoryBackplane()
    await backplane.settled()
    await backplane.follow([1], 5)
    assert not backplane.shared


def test_it_is_ready_and_has_nothing_to_tell() -> None:
    backplane = MemoryBackplane()
    assert (backplane.name, backplane.ready(), backplane.stats()) == ("memory", True, {})


def test_its_url_opens_it() -> None:
    assert isinstance(open_backplane(BackplaneConfig(url="memory://")), MemoryBackplane)
