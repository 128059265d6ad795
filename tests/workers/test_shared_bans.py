"""Bans that several processes share. How they ban at all: tests/test_bans.py; through servers: test_limits.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from valtronics_fast.workers.segment import Layout, LockBusyError, Segment
from valtronics_fast.workers.shared_bans import SharedBans

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def both() -> Iterator[list[SharedBans]]:
    segment = Segment.create(Layout.of(2, 10, 10, 100))
    yield [SharedBans(segment), SharedBans(segment)]
    segment.close()


def test_failures_on_all_of_them_count_together(both: list[SharedBans]) -> None:
    one, two = both
    assert [each.strike("a", 1.0, after=4, seconds=9.0) for each in (one, two, two, one)] == [0, 0, 0, 4]
    assert [each.end("a") for each in both] == [10.0, 10.0]
    assert [each.count(9.0) for each in both] == [1, 1]
    two.reload(0, 5.0)
    assert one.end("a") == 5.0


def test_while_the_lock_is_held_for_long_nothing_is_counted_and_bans_stay(
    both: list[SharedBans], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = both
    assert one.strike("a", 1.0, after=1, seconds=9.0) == 1

    def busy(*_: object) -> None:
        raise LockBusyError

    monkeypatch.setattr(type(one._segment.banning), "__enter__", busy)
    assert one.strike("b", 1.0, after=1, seconds=9.0) == 0
    one.reload(0, 5.0)
    assert (one.end("a"), one.end("b")) == (10.0, 0.0)
