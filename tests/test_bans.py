"""Bans of one process, and those that several share: the same cases for both."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pytest

from valtronics_fast.bans import OwnBans
from valtronics_fast.workers.segment import WAYS, Layout, Segment
from valtronics_fast.workers.shared_bans import SharedBans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from valtronics_fast.bans import Bans

FOREVER = 1e9
SECONDS = 60.0


@pytest.fixture
def segment() -> Iterator[Segment]:
    found = Segment.create(Layout.of(2, 10, 10, 100))
    yield found
    found.close()


@pytest.fixture(params=["own", "shared"])
def bans(request: pytest.FixtureRequest, segment: Segment) -> Bans:
    found = OwnBans() if request.param == "own" else SharedBans(segment)
    found.reload(100, FOREVER)
    return found


def fail(bans: Bans, key: str, now: float, times: int = 3) -> list[int]:
    return [bans.strike(key, now, after=3, seconds=SECONDS) for _ in range(times)]


def test_so_many_failures_ban_for_so_long(bans: Bans) -> None:
    assert fail(bans, "a", 10.0, 2) == [0, 0]
    assert (bans.end("a"), bans.count(10.0)) == (0.0, 0)
    assert fail(bans, "a", 20.0, 1) == [3]
    assert (bans.end("a"), bans.count(20.0)) == (80.0, 1)
    assert bans.end("b") == 0.0


def test_bans_end(bans: Bans) -> None:
    fail(bans, "a", 10.0)
    fail(bans, "b", 15.0)
    assert [bans.count(now) for now in (69.9, 70.0, 74.9, 75.0)] == [2, 1, 1, 0]
    assert fail(bans, "a", 75.0) == [0, 0, 3]


def test_failures_far_apart_are_forgotten(bans: Bans) -> None:
    assert fail(bans, "a", 10.0, 2) == [0, 0]
    assert fail(bans, "a", 70.0, 2) == [0, 0]
    assert fail(bans, "a", 129.9, 1) == [3]


def test_a_ban_is_not_made_longer(bans: Bans) -> None:
    fail(bans, "a", 10.0)
    assert fail(bans, "a", 20.0, 10) == [0] * 10
    assert bans.end("a") == 70.0


def test_what_led_to_a_ban_does_not_count_for_the_next_one(bans: Bans) -> None:
    fail(bans, "a", 10.0)
    assert fail(bans, "a", 69.0, 1) == [0]
    assert fail(bans, "a", 70.0, 2) == [0, 3]


def test_bans_can_be_made_shorter(bans: Bans) -> None:
    fail(bans, "a", 10.0)
    fail(bans, "b", 50.0)
    bans.reload(100, 90.0)
    assert [bans.end(key) for key in "ab"] == [70.0, 90.0]
    bans.reload(100, 60.0)
    assert bans.count(60.0) == 0


def test_the_tables_of_one_process_are_bounded() -> None:
    bans = OwnBans()
    bans.reload(2, FOREVER)
    for key in "abc":
        fail(bans, key, 10.0)
    assert [bans.end(key) for key in "abc"] == [0.0, 70.0, 70.0]  # the oldest gave way
    for key in ("d", "e", "f", "d"):
        assert fail(bans, key, 11.0, 1) == [0]
    assert fail(bans, "d", 11.0, 1) == [0]  # its first failure was forgotten
    assert bans.end("c") == 70.0  # failures alone lift no ban
    fail(bans, "g", 12.0, 2)
    bans.reload(1, FOREVER)
    assert [bans.end(key) for key in "bcd"] == [0.0, 70.0, 0.0]
    assert fail(bans, "g", 12.0, 1) == [3]
    fail(bans, "h", 12.0, 2)
    bans.reload(0, FOREVER)
    assert bans.count(12.0) == 0
    bans.reload(1, FOREVER)
    assert fail(bans, "h", 12.0, 1) == [0]


def test_in_a_full_set_bans_stay_longest(segment: Segment) -> None:
    bans = SharedBans(segment)
    sets = segment.layout.suspects // WAYS
    names = (name for name in map(str, range(10**8)) if segment.digest(name) // 2 % sets == 5)
    banned, *quiet, more, last = islice(names, WAYS + 2)
    fail(bans, banned, 1.0)
    for number, name in enumerate(quiet):
        fail(bans, name, 2.0 + number, 2)
    fail(bans, more, 50.0, 2)  # it takes the place of the first quiet one
    assert bans.end(banned) == 61.0
    assert fail(bans, more, 50.0, 1) == [3]
    assert fail(bans, quiet[1], 50.0, 1) == [3]
    assert fail(bans, quiet[0], 50.0, 1) == [0]
    for name in (more, *quiet):  # all of them are banned: the ban that ends first gives way
        fail(bans, name, 55.0)
    fail(bans, last, 60.0, 1)
    assert bans.end(banned) == 0.0
