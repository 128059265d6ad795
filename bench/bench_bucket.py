"""Token buckets: what the rate limit costs a message."""

from __future__ import annotations

import pytest

from valtronics_fast._core.bucket import Bucket


@pytest.mark.benchmark(group="bucket")
def test_take_within_the_rate(steady):
    bucket = Bucket(1e9, 1e9, 0.0)
    assert steady(bucket.take, 1.0) is True


@pytest.mark.benchmark(group="bucket")
def test_take_without_a_token(steady):
    bucket = Bucket(1e-9, 1.0, 0.0)
    bucket.take(0.0)
    assert steady(bucket.take, 1.0) is False


@pytest.mark.benchmark(group="bucket")
def test_take_without_a_limit(steady):
    bucket = Bucket(0.0, 1.0, 0.0)
    assert steady(bucket.take, 1.0) is True


@pytest.mark.benchmark(group="bucket")
def test_wait(steady):
    bucket = Bucket(1.0, 1.0, 0.0)
    bucket.take(0.0)
    assert steady(bucket.wait) == 1.0
