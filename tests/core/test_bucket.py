"""Token buckets against exact arithmetic. Rates and times are fractions that floating point holds exactly."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.oracle import BucketModel
from valtronics_fast._core.bucket import Bucket

RATES = st.integers(0, 8000).map(lambda eighths: Fraction(eighths, 8))
BURSTS = st.one_of(st.integers(0, 20), st.integers(1, 1000)).map(lambda halves: Fraction(halves, 2))
STARTS = st.integers(0, 2**20).map(Fraction)
STEPS = st.lists(st.integers(-64, 640).map(lambda parts: Fraction(parts, 64)), max_size=80)


def bucket_of(rate: Fraction, burst: Fraction, now: Fraction) -> Bucket:
    return Bucket(float(rate), float(burst), float(now))


@given(RATES, BURSTS, STARTS, STEPS)
def test_it_gives_what_exact_arithmetic_gives(
    rate: Fraction, burst: Fraction, now: Fraction, steps: list[Fraction]
) -> None:
    bucket, model = bucket_of(rate, burst, now), BucketModel(rate, burst, now)
    for step in steps:
        now += step                             # backwards now and then
        assert bucket.take(float(now)) is model.take(now)
        assert bucket.wait() == float(model.wait())


@given(RATES.filter(bool), BURSTS, STARTS, STEPS, st.integers(0, 4000), st.integers(0, 8))
def test_many_are_taken_at_once_or_none_and_what_was_not_needed_comes_back(
    rate: Fraction, burst: Fraction, now: Fraction, steps: list[Fraction], eighths: int, needed: int
) -> None:
    bucket, model = bucket_of(rate, burst, now), BucketModel(rate, burst, now)
    count = min(Fraction(eighths, 8), burst)
    for step in steps:
        now += step
        taken = model.take(now, count)
        assert bucket.take(float(now), float(count)) is taken
        if taken:
            rest = count * (8 - needed) / 8
            bucket.give_back(float(rest))
            model.tokens += rest
        assert bucket.wait() == float(model.wait())


@given(RATES.filter(bool), BURSTS, STARTS, STEPS)
def test_never_more_than_the_burst_and_the_rate(
    rate: Fraction, burst: Fraction, start: Fraction, steps: list[Fraction]
) -> None:
    bucket, now, taken = bucket_of(rate, burst, start), start, 0
    for step in steps:
        now += abs(step)
        taken += bucket.take(float(now))
        assert taken <= burst + rate * (now - start)


def test_the_limits_of_the_protocol() -> None:
    bucket = Bucket(100, 100, 5)
    assert [bucket.take(5) for _ in range(101)] == [True] * 100 + [False]
    assert bucket.wait() == 0.01
    assert [bucket.take(5.5) for _ in range(51)] == [True] * 50 + [False]
    assert [bucket.take(1000) for _ in range(101)] == [True] * 100 + [False]


def test_the_wait_is_long_enough_and_not_longer() -> None:
    bucket = Bucket(4, 1, 0)
    assert bucket.take(0)
    assert bucket.wait() == 0.25
    assert not bucket.take(0.125)
    assert bucket.wait() == 0.125
    assert bucket.take(0.25)


@pytest.mark.parametrize("burst", [0, 1, 100])
def test_a_rate_of_zero_limits_nothing(burst: float) -> None:
    bucket = Bucket(0, burst, 0)
    assert all(bucket.take(0) for _ in range(1000))
    assert bucket.wait() == 0


def test_a_clock_that_goes_backwards_gives_nothing() -> None:
    bucket = Bucket(1, 2, 100)
    assert bucket.take(100)
    assert bucket.take(50)
    assert not bucket.take(99)
    assert not bucket.take(100.5)
    assert bucket.take(101)
