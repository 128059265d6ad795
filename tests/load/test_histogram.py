from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.load.histogram import MAX_SECONDS, Histogram


def of(*durations: float) -> Histogram:
    histogram = Histogram()
    for duration in durations:
        histogram.record(duration)
    return histogram


def test_without_any() -> None:
    assert set(of().figures().values()) == {0}
    assert list(of().bars()) == []


@given(st.lists(st.floats(0, 4000), min_size=1), st.floats(0, 100))
def test_percentiles_are_those_of_the_sorted_list_to_within_a_bucket(durations: list[float], percent: float) -> None:
    histogram = of(*durations)
    exact = sorted(durations)[max(math.ceil(len(durations) * percent / 100), 1) - 1]
    found = histogram.percentile(percent)
    assert exact - 1e-6 <= found + 1e-6
    assert found <= exact * (1 + 1 / 128) + 1e-6
    assert (histogram.least, histogram.greatest, histogram.count) == (min(durations), max(durations), len(durations))
    assert histogram.mean == pytest.approx(sum(durations) / len(durations))
    assert histogram.percentile(100) == pytest.approx(max(durations), abs=1e-6)


@given(st.lists(st.floats(0, 4000), min_size=1))
def test_the_bars_lie_side_by_side_and_hold_everything(durations: list[float]) -> None:
    bars = list(of(*durations).bars())
    assert sum(count for _, _, count in bars) == len(durations)
    assert all(left[1] == right[0] for left, right in pairwise(bars))
    for begin, end, count in bars:
        assert count == sum(begin <= int(duration * 1e6) / 1e6 < end for duration in durations)


def test_what_lies_outside() -> None:
    histogram = of(-1.0, MAX_SECONDS * 3)
    assert histogram.percentile(1) == 0
    assert histogram.percentile(100) == pytest.approx(MAX_SECONDS)
