"""Which lanes are followed, and for how long."""

from __future__ import annotations

from valtronics_fast.backplanes.interest import LINGER, RECENT, Interest


def test_what_is_subscribed_to_is_needed() -> None:
    interest = Interest()
    assert interest.judge([3, 1], [1], 0.0) == ([3], [])


def test_what_is_not_needed_lingers() -> None:
    interest = Interest()
    interest.judge([1], [1], 0.0)
    assert interest.judge([], [1], 10.0) == ([], [])
    assert interest.judge([], [1], LINGER - 0.1) == ([], [])
    assert interest.judge([], [1], LINGER) == ([], [1])


def test_what_is_needed_again_begins_anew() -> None:
    interest = Interest()
    interest.judge([1], [1], 0.0)
    interest.judge([1], [1], LINGER - 1)
    assert interest.judge([], [1], LINGER + 1) == ([], [])
    assert interest.judge([], [1], 2 * LINGER) == ([], [1])


def test_a_lane_that_was_never_needed_lingers_from_when_it_was_seen() -> None:
    interest = Interest()
    assert interest.judge([], [7], 100.0) == ([], [])
    assert interest.judge([], [7], 100.0 + LINGER) == ([], [7])
    assert interest.judge([], [], 200.0 + LINGER) == ([], [])


def test_who_publishes_follows_for_some_heartbeats() -> None:
    interest = Interest()
    interest.publish(4, 1)
    assert interest.recent(1) == [4]
    assert interest.judge([], [], 0.0) == ([4], [])
    assert interest.recent(1 + RECENT) == [4]
    assert interest.recent(2 + RECENT) == []
    assert interest.judge([], [4], LINGER) == ([], [4])
