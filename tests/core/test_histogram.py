"""Counts by powers of two, beside a slow and obvious count."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast._core.histogram import Histogram


def filled(*values: float, unit: float = 1.0, first: int = 0, buckets: int = 8) -> Histogram:
    histogram = Histogram(unit, first, buckets)
    for value in values:
        histogram.observe(value)
    return histogram


@given(st.lists(st.integers(0, 2**40)), st.sampled_from([1.0, 1024.0]), st.integers(0, 10), st.integers(1, 32))
def test_a_value_counts_in_each_bucket_whose_bound_it_is_not_above(
    values: list[int], unit: float, first: int, buckets: int
) -> None:
    figures = filled(*values, unit=unit, first=first, buckets=buckets).figures()
    bounds = [unit * 2 ** (first + i) for i in range(buckets)]
    assert list(figures["buckets"]) == [repr(bound) for bound in bounds]
    assert list(figures["buckets"].values()) == [sum(value <= bound for value in values) for bound in bounds]
    assert (figures["count"], figures["sum"]) == (len(values), sum(values))


def test_microseconds() -> None:
    figures = filled(15.9e-6, 16e-6, 16.1e-6, 100.0, unit=1e-6, first=4, buckets=3).figures()
    assert figures["buckets"] == {"1.6e-05": 2, "3.2e-05": 3, "6.4e-05": 3}
    assert figures["count"] == 4


@pytest.mark.parametrize("value", [0.0, -1.0, -1e300, float("nan")])
def test_what_is_less_than_nothing_is_nothing(value: float) -> None:
    assert filled(value).figures() == {**filled(0.0).figures(), "sum": 0.0}


@pytest.mark.parametrize("value", [257.0, 2.0**62, 2.0**64, 1e300, float("inf")])
def test_what_is_larger_than_every_bound_is_counted_beside_them(value: float) -> None:
    figures = filled(value).figures()
    assert (figures["count"], set(figures["buckets"].values())) == (1, {0})


def test_a_time_is_measured_when_it_ends() -> None:
    histogram = Histogram(1e-6, 0, 32)
    histogram.since = time.monotonic() - 1.5
    assert histogram.figures()["count"] == 0
    assert histogram.since > 0


@pytest.mark.parametrize(
    ("unit", "first", "buckets"), [(0, 0, 8), (-1, 0, 8), (1, -1, 8), (1, 32, 8), (1, 0, 0), (1, 0, 33)]
)
def test_what_is_no_histogram(unit: float, first: int, buckets: int) -> None:
    with pytest.raises(ValueError, match="a histogram needs"):
        Histogram(unit, first, buckets)
