from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.timestamps import iso_from_seconds, to_iso

SHAPE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T12:00:00Z",
        "2024-01-01T12:00:00.123Z",
        "2024-01-01T12:00:00.123456789+02:00",
        "2024-01-01T12:00:00",
    ],
)
def test_iso_text_stays_as_it_is(text: str) -> None:
    assert to_iso(text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_704_110_400, "2024-01-01T12:00:00.000Z"),
        (1_704_110_400.25, "2024-01-01T12:00:00.250Z"),
        (1_704_110_400_250, "2024-01-01T12:00:00.250Z"),
        (1_704_110_400_250.0, "2024-01-01T12:00:00.250Z"),
        (99_999_999_999, "5138-11-16T09:46:39.000Z"),  # the last second
        (100_000_000_000, "1973-03-03T09:46:40.000Z"),  # the first millisecond
    ],
)
def test_unix_times(value: float, text: str) -> None:
    assert to_iso(value) == text


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "",
        "2024-13-01T00:00:00Z",
        "2024-01-01T12:00:00." + "1" * 40 + "Z",
        "\ud800",
        True,
        None,
        [],
        {},
        -1,
        float("nan"),
        float("inf"),
        10**18,
        10**400,
    ],
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        to_iso(value)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31)))  # noqa: DTZ001
def test_seconds_round_trip(moment: datetime) -> None:
    seconds = moment.replace(tzinfo=UTC).timestamp()
    assert abs(datetime.fromisoformat(iso_from_seconds(seconds)).timestamp() - seconds) <= 0.002


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()))
def test_never_another_error(value: object) -> None:
    try:
        text = to_iso(value)
    except ValueError:
        return
    datetime.fromisoformat(text)
