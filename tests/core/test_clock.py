"""Timestamps of the wire: ISO 8601, UTC, milliseconds."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valtronics_fast._core.clock import timestamp

SHAPE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = Fraction(1, 1000)


def seconds_of(text: str) -> Fraction:
    assert SHAPE.fullmatch(text), text
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1) * MILLISECOND


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_704_110_400, "2024-01-01T12:00:00.000Z"),
        (1_704_110_400.25, "2024-01-01T12:00:00.250Z"),
        (951_782_399.5, "2000-02-28T23:59:59.500Z"),
        (951_782_400, "2000-02-29T00:00:00.000Z"),
        (1_483_228_799.875, "2016-12-31T23:59:59.875Z"),
        (2_147_483_648, "2038-01-19T03:14:08.000Z"),
        (-1, "1969-12-31T23:59:59.000Z"),
        (-0.25, "1969-12-31T23:59:59.750Z"),
        (1.001, "1970-01-01T00:00:01.001Z"),                # as a double a little less
        (1_704_110_400.123, "2024-01-01T12:00:00.123Z"),
        (-62_135_596_800, "0001-01-01T00:00:00.000Z"),
        (253_402_300_799.75, "9999-12-31T23:59:59.750Z"),
    ],
)
def test_known_times(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text


@given(st.floats(-62_135_596_800, 253_402_300_800, exclude_max=True))
@example(-1e-20)
@example(1_704_110_400.9999999)
@example(253_402_300_799.99997)
def test_a_time_is_written_to_the_millisecond(seconds: float) -> None:
    assert abs(seconds_of(timestamp(seconds)) - Fraction(seconds)) < MILLISECOND


@given(st.integers(0, 2**32 * 1000))
def test_milliseconds_come_back(milliseconds: int) -> None:
    assert seconds_of(timestamp(milliseconds / 1000)) == milliseconds * MILLISECOND


@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 7))
def test_exact_fractions_are_kept(seconds: int, eighths: int) -> None:
    assert seconds_of(timestamp(seconds + eighths / 8)) == seconds + Fraction(eighths, 8)


@pytest.mark.parametrize("seconds", [-62_135_596_801, 253_402_300_800, 1e18, -1e308, 1e400, float("nan")])
def test_no_time_outside_of_the_calendar(seconds: float) -> None:
    with pytest.raises(ValueError, match="calendar"):
        timestamp(seconds)


def test_now_is_the_wall_clock() -> None:
    before = Fraction(time.time())
    text = timestamp()
    after = Fraction(time.time())
    assert before - MILLISECOND <= seconds_of(text) <= after
    assert timestamp(None)[:4] == text[:4]


def test_texts_of_one_millisecond_are_one_object() -> None:
    pairs = [(timestamp(), timestamp()) for _ in range(1000)]
    same = [(one, other) for one, other in pairs if one == other]
    assert same
    assert all(one is other for one, other in same)
