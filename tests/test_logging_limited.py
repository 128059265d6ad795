"""Loggers with a limit: what is suppressed is told."""

from __future__ import annotations

import io
import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from valtronics_fast.logging import (
    MAX_TEXT,
    RateLimitFilter,
    TextFormatter,
    fields,
    limited,
    tell_suppressed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Sink(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        values = getattr(record, "fields", None) or {}
        told = f" {values['suppressed']} {values['like']}" if "suppressed" in values else ""
        self.lines.append(f"{record.levelname} {record.getMessage()}{told}")


class Limited:
    """A logger with a limit, a clock that tests set, and the lines that came through."""

    def __init__(self, name: str, **options: Any) -> None:
        self.clock = Clock()
        self.filter = RateLimitFilter(clock=self.clock, **options)
        self.logger = logging.getLogger(name)
        self.logger.propagate = False
        self.logger.setLevel(logging.DEBUG)
        self.sink = Sink()
        self.logger.addFilter(self.filter)
        self.logger.addHandler(self.sink)

    def take(self) -> list[str]:
        """Return the lines since the last call."""
        lines, self.sink.lines = self.sink.lines, []
        return lines


class MakeLimited(Protocol):
    def __call__(self, name: str = "", **options: Any) -> Limited: ...


@pytest.fixture
def make_limited(request: pytest.FixtureRequest) -> Iterator[MakeLimited]:
    made: list[Limited] = []

    def make(name: str = "", **options: Any) -> Limited:
        made.append(Limited(f"limited.{request.node.name}{name}", **options))
        return made[-1]

    yield make
    for one in made:
        one.logger.removeHandler(one.sink)
        one.logger.removeFilter(one.filter)


def test_lines_beyond_the_limit_are_suppressed_and_told_once(make_limited: MakeLimited) -> None:
    limit = make_limited(lines=3, period=10.0)
    for number in range(7):
        limit.logger.warning("refused %d", number)
    assert limit.take() == ["WARNING refused 0", "WARNING refused 1", "WARNING refused 2"]
    limit.clock.now += 9.9
    limit.logger.warning("refused %d", 7)
    assert limit.take() == []
    limit.clock.now += 0.1
    limit.logger.warning("refused %d", 8)
    assert limit.take() == ["WARNING lines suppressed 5 refused %d", "WARNING refused 8"]
    limit.clock.now += 10.0
    limit.logger.warning("refused %d", 9)
    assert limit.take() == ["WARNING refused 9"]


def test_keys_are_counted_apart(make_limited: MakeLimited) -> None:
    limit = make_limited(lines=1)
    for _ in range(2):
        limit.logger.warning("one")
        limit.logger.error("one")
        limit.logger.warning("two")
        limit.logger.warning("by address", extra=fields(limit_key="10.0.0.1"))
        limit.logger.warning("by address", extra=fields(limit_key="10.0.0.2"))
        limit.logger.warning("another line", extra=fields(limit_key="10.0.0.1"))
    assert limit.take() == [
        "WARNING one",
        "ERROR one",
        "WARNING two",
        "WARNING by address",
        "WARNING by address",
    ]


def test_any_later_line_tells_what_was_suppressed(make_limited: MakeLimited) -> None:
    limit = make_limited(lines=1, period=10.0)
    limit.logger.error("a")
    limit.logger.error("a")
    limit.clock.now += 10.0
    limit.logger.info("b")
    assert limit.take() == ["ERROR a", "ERROR lines suppressed 1 a", "INFO b"]


def test_what_was_suppressed_so_far_can_be_told_at_once(make_limited: MakeLimited) -> None:
    limit = make_limited(lines=1)
    for _ in range(3):
        limit.logger.info("a")
        limit.logger.info("b")
    limit.take()
    limit.filter.tell(at_once=True)
    assert limit.take() == ["INFO lines suppressed 2 a", "INFO lines suppressed 2 b"]
    limit.filter.tell(at_once=True)
    assert limit.take() == []


def test_without_a_later_line_the_periods_that_have_ended_are_told(make_limited: MakeLimited) -> None:
    limit = make_limited(lines=1, period=10.0)
    for _ in range(3):
        limit.logger.info("a")
    limit.clock.now += 5.0
    for _ in range(2):
        limit.logger.info("b")
    limit.take()
    limit.clock.now += 5.0
    limit.filter.tell()
    assert limit.take() == ["INFO lines suppressed 2 a"]
    limit.filter.tell()
    assert limit.take() == []
    limit.clock.now += 5.0
    limit.filter.tell()
    assert limit.take() == ["INFO lines suppressed 1 b"]


def test_every_limited_logger_tells(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for name in ("limited.first", "limited.second"):
        for _ in range(3):
            limited(name, lines=1).info("a")
    caplog.clear()
    tell_suppressed(at_once=True)
    told = [(one.name, one.message) for one in caplog.records if one.name.startswith("limited.")]
    assert told == [("limited.first", "lines suppressed"), ("limited.second", "lines suppressed")]


def test_new_keys_never_buy_more_lines(make_limited: MakeLimited) -> None:
    limit = make_limited(lines=2, period=10.0, keys=5)
    for number in range(1000):
        limit.logger.info("a", extra=fields(limit_key=str(number)))
    assert len(limit.take()) == 5 + 2
    limit.logger.info("a", extra=fields(limit_key="0"))
    assert limit.take() == ["INFO a"]
    limit.clock.now += 10.0
    limit.logger.info("a", extra=fields(limit_key="new"))
    assert limit.take() == ["INFO lines suppressed 993 other lines", "INFO a"]


def test_the_table_is_bounded(make_limited: MakeLimited) -> None:
    limit = make_limited(lines=1, period=10.0, keys=10)
    for number in range(500):
        limit.clock.now += 0.1
        limit.logger.info("x" * 10_000, extra=fields(limit_key=f"{number}" * 5000))
        assert len(limit.filter._windows) <= 11
        assert all(len(window.like) <= MAX_TEXT for window in limit.filter._windows.values())


def test_two_loggers_may_share_a_limit(make_limited: MakeLimited) -> None:
    one, other = make_limited(".one", lines=1), make_limited(".other", lines=1)
    other.logger.addFilter(one.filter)
    for _ in range(3):
        one.logger.info("a")
        other.logger.info("a")
    assert (one.take(), other.take()) == (["INFO a"], ["INFO a"])
    one.filter.tell(at_once=True)
    other.logger.removeFilter(one.filter)
    assert one.take() == ["INFO lines suppressed 2 a"]


def test_threads_may_share_a_limit(make_limited: MakeLimited) -> None:
    limit = make_limited(lines=10)

    def log() -> None:
        for _ in range(500):
            limit.logger.info("a")

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    limit.filter.tell(at_once=True)
    assert limit.take() == ["INFO a"] * 10 + ["INFO lines suppressed 1990 a"]


def test_the_told_line_goes_through_the_formatters(make_limited: MakeLimited) -> None:
    limit = make_limited(lines=1)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter())
    limit.logger.addHandler(handler)
    for _ in range(2):
        limit.logger.info("a\nb")
    limit.filter.tell(at_once=True)
    limit.logger.removeHandler(handler)
    assert stream.getvalue().splitlines()[1].endswith(': lines suppressed suppressed=1 like="a\\nb"')


def test_limited_puts_one_limit_on_a_logger() -> None:
    logger = limited("limited.once", lines=1)
    assert limited("limited.once", lines=5) is logger is logging.getLogger("limited.once")
    assert [type(one) for one in logger.filters] == [RateLimitFilter]
    records = [logger.makeRecord(logger.name, logging.INFO, "", 1, "a", (), None) for _ in range(2)]
    assert [bool(logger.filter(one)) for one in records] == [True, False]
