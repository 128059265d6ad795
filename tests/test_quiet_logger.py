from __future__ import annotations

import logging

import pytest

from valtronics_fast.logging import LINES, limited
from valtronics_fast.quiet_logger import QuietLogger

NAME = "test.quiet"


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> QuietLogger:
    caplog.set_level(logging.INFO, logger=NAME)
    logger = limited(NAME)
    return QuietLogger(logger)


def test_so_many_lines_whatever_they_say(quiet: QuietLogger, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        quiet.warning(f"line {number}")
        quiet.exception(f"failed {number}")
    assert sorted(caplog.messages) == sorted(f"{what} {n}" for what in ("line", "failed") for n in range(LINES))


def test_lines_a_connection_are_left_out(quiet: QuietLogger, caplog: pytest.LogCaptureFixture) -> None:
    quiet.debug("New data: %s", b"secret")
    quiet.info("New connection accepted: %s", "x")
    quiet.error("WS parser error: %s", "what the client sent")
    assert caplog.messages == []
    assert not quiet.isEnabledFor(logging.INFO)
    assert not quiet.isEnabledFor(9)  # picows' level for whole messages
    assert quiet.isEnabledFor(logging.ERROR)


def test_exception_shows_the_traceback(quiet: QuietLogger, caplog: pytest.LogCaptureFixture) -> None:
    try:
        dict[str, str]()["x"]
    except KeyError:
        quiet.exception("failed")
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[0] is KeyError


def test_picows_does_not_copy_it(quiet: QuietLogger) -> None:
    assert not isinstance(quiet, logging.Logger)
