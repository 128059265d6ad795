"""The backplane of a server that is alone."""

from __future__ import annotations

import pytest

from harness import telemetry
from valtronics_fast import PublicationError
from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.backplanes import open_backplane
from valtronics_fast.backplanes.memory import MemoryBackplane
from valtronics_fast.config import BackplaneConfig

Message = dict[str, object]


async def test_a_message_goes_to_the_hub_as_it_is() -> None:
    delivered: list[object] = []

    def deliver(message: object) -> int:
        delivered.append(message)
        return 3

    backplane = MemoryBackplane()
    await backplane.start(deliver)
    message = telemetry()
    assert backplane.publish(message) == 3
    assert delivered == [message]
    assert delivered[0] is message


async def test_what_the_hub_refuses_is_refused() -> None:
    def deliver(_message: object) -> int:
        raise PublicationError(ErrorCode.INVALID_MESSAGE, "no")

    backplane = MemoryBackplane()
    await backplane.start(deliver)
    with pytest.raises(PublicationError):
        backplane.publish(telemetry())


async def test_it_carries_only_while_it_runs() -> None:
    backplane = MemoryBackplane()
    with pytest.raises(RuntimeError, match="not running"):
        backplane.publish(telemetry())
    await backplane.start(lambda _message: 1)
    assert backplane.publish(telemetry()) == 1
    await backplane.stop()
    await backplane.stop()
    with pytest.raises(RuntimeError, match="not running"):
        backplane.publish(telemetry())


def test_it_is_ready_and_has_nothing_to_tell() -> None:
    backplane = MemoryBackplane()
    assert (backplane.name, backplane.ready(), backplane.stats()) == ("memory", True, {})


def test_its_url_opens_it() -> None:
    assert isinstance(open_backplane(BackplaneConfig(url="memory://")), MemoryBackplane)


def test_another_url_is_not_quoted_in_full_for_it_may_hold_a_password() -> None:
    with pytest.raises(ValueError, match=r"^no backplane for carrier:$"):
        open_backplane(BackplaneConfig(url="carrier://user:hunter2@host"))
