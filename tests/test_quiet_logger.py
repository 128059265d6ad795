from __future__ import annotations

import logging

import pytest

from valtronics_fast.quiet_logger import LINES_PER_SECOND, QuietLogger


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quiet(clock: Clock, caplog: pytest.LogCaptureFixture) -> QuietLogger:
    caplog.set_level(logging.INFO, logger="test.quiet")
    return QuietLogger(logging.getLogger("test.quiet"), clock)


def test_so_many_lines_a_second(quiet: QuietLogger, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        quiet.warning("line %d", number)
    assert caplog.messages == [f"line {number}" for number in range(LINES_PER_SECOND)]
    caplog.clear()
    clock.now = 1.0
    quiet.warning("next")
    quiet.warning("and next")
    assert caplog.messages == [f"next ({1000 - LINES_PER_SECOND} lines were left out)", "and next"]


def test_lines_a_connection_are_left_out(quiet: QuietLogger, caplog: pytest.LogCaptureFixture) -> None:
    quiet.debug("New data: %s", b"secret")
    quiet.info("New connection accepted: %s", "x")
    quiet.error("WS parser error: %s", "what the client sent")
    assert caplog.messages == []
    assert not quiet.isEnabledFor(logging.INFO)
    assert not quiet.isEnabledFor(9)  # picows' level for whole messages
    assert quiet.isEnabledFor(logging.ERROR)


def test_level_of_the_logger_holds(quiet: QuietLogger, caplog: pytest.LogCaptureFixture) -> None:
    quiet.log(logging.DEBUG, "too low")
    quiet.log(logging.INFO, "high enough")
    assert caplog.messages == ["high enough"]


def test_exception_shows_the_traceback(quiet: QuietLogger, caplog: pytest.LogCaptureFixture) -> None:
    try:
        dict[str, str]()["x"]
    except KeyError:
        quiet.exception("failed")
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[0] is KeyError


def test_picows_does_not_copy_it(quiet: QuietLogger) -> None:
    assert not isinstance(quiet, logging.Logger)
