from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.units import (
    Rate,
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("500ms", 0.5),
        ("5s", 5.0),
        ("10m", 600.0),
        ("1h", 3600.0),
        ("2.5", 2.5),
        ("1.5h", 5400.0),
        (" 7s ", 7.0),
        ("0", 0.0),
        ("0ms", 0.0),
        ("30ms", 0.03),
        (3, 3.0),
        (0.25, 0.25),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    parsed = parse_duration(value)
    assert parsed == seconds
    assert type(parsed) is float


@pytest.mark.parametrize(
    "value",
    [
        "", "s", "5 s", "5S", "5min", "-1", "-1s", "+5", "1e3", "nan", "inf", "1h30m", ".5", "5.", "5,5",
        "\u0665s", "9" * 16, -1, -0.5, float("nan"), float("inf"), 10**400, True, None, [], b"5s",
    ],
)  # fmt: skip
def test_no_durations(value: object) -> None:
    with pytest.raises(ValueError, match="a duration is 500ms"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("64KiB", 65536),
        ("2MiB", 2097152),
        ("1GiB", 1 << 30),
        (" 1KiB ", 1024),
        (7, 7),
    ],
)
def test_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value", ["", "64KB", "64K", "64kib", "1.5MiB", "-1", "1e3", "64 KiB", "1TiB", -1, 1.0, True, None, []]
)
def test_no_sizes(value: object) -> None:
    with pytest.raises(ValueError, match="a size is 64KiB"):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        ("10/min", Rate(10, 60.0)),
        ("5/s", Rate(5, 1.0)),
        ("100/h", Rate(100, 3600.0)),
        (" 1/s ", Rate(1, 1.0)),
        ("0/min", Rate(0, 60.0)),
        ("0", Rate(0, 1.0)),
        (0, Rate(0, 1.0)),
    ],
)
def test_rates(value: object, rate: Rate) -> None:
    assert parse_rate(value) == rate


@pytest.mark.parametrize(
    "value", ["", "10", "10/m", "10/minute", "10 / min", "-1/s", "1.5/s", "/s", 10, -1, False, None, [], 0.5]
)
def test_no_rates(value: object) -> None:
    with pytest.raises(ValueError, match="a rate is 5/s"):
        parse_rate(value)


def test_a_rate_is_a_value() -> None:
    assert hash(Rate(10, 60.0)) == hash(Rate(10, 60.0))
    with pytest.raises(AttributeError):
        Rate(10, 60.0).count = 11  # type: ignore[misc]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0"), (0.5, "500ms"), (0.0005, "0.5ms"), (5.0, "5s"), (60.0, "1m"), (90.0, "90s"), (7200.0, "2h")],
)
def test_durations_are_written_with_the_largest_whole_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (1000, "1000"), (1024, "1KiB"), (1536, "1536"), (8 << 20, "8MiB"), (1 << 30, "1GiB")],
)
def test_sizes_are_written_with_the_largest_whole_unit(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 10**9).map(lambda micros: micros / 1e6))
def test_a_written_duration_reads_as_itself(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


@given(st.integers(0, 1 << 40))
def test_a_written_size_reads_as_itself(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(1, 10**9 - 1), st.sampled_from([1.0, 60.0, 3600.0]))
def test_a_written_rate_reads_as_itself(count: int, seconds: float) -> None:
    assert parse_rate(format_rate(Rate(count, seconds))) == Rate(count, seconds)


def test_a_rate_of_nothing_is_written_as_0() -> None:
    assert format_rate(Rate(0, 60.0)) == "0"


@given(st.text() | st.integers() | st.floats() | st.none())
def test_anything_else_is_a_value_error(value: object) -> None:
    for parse in (parse_duration, parse_size, parse_rate):
        told = ""
        try:
            parse(value)
        except ValueError as error:
            told = str(error)
        assert not told or told.startswith("a ")
