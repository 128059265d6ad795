"""The timer wheel against a dict of deadlines."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.oracle import WheelModel
from valtronics_fast._core.checks import check_wheel
from valtronics_fast._core.wheel import TimerWheel

SPOKES = 1024
# Ticks and times are fractions that floating point holds exactly.
TICKS = st.sampled_from([Fraction(1, 8), Fraction(1, 4), Fraction(1), Fraction(2)])
STARTS = st.one_of(st.just(0), st.integers(0, 10**6)).map(Fraction)
SLOTS = st.one_of(st.integers(0, 5), st.integers(0, 70), st.integers(0, 3000))
# In 64ths of a tick, from now: near, around one and several turns of the wheel, in the past.
NEAR = st.integers(0, 64 * 5)
TURNS = st.builds(lambda turns, by: turns * SPOKES * 64 + by, st.integers(1, 4), st.integers(-130, 130))
AHEAD = st.one_of(NEAR, TURNS, st.integers(-(10**6), 10**6))
STEP = st.one_of(
    st.tuples(st.just("arm"), SLOTS, AHEAD),
    st.tuples(st.just("disarm"), SLOTS, st.just(0)),
    st.tuples(st.just("advance"), st.just(0), st.one_of(NEAR, TURNS, st.integers(-640, 10**6))),
)


@given(TICKS, STARTS, st.lists(STEP, max_size=60))
@example(Fraction(1), Fraction(0), [("arm", 1, 64 * 1025), ("advance", 0, 64), ("advance", 0, 64 * 1024)])
@example(Fraction(1), Fraction(0), [("arm", 1, 9), ("arm", 2, 65_600), ("disarm", 1, 0), ("advance", 0, 9)])
def test_it_fires_what_a_dict_of_deadlines_fires(
    tick: Fraction, now: Fraction, steps: list[tuple[str, int, int]]
) -> None:
    wheel, model = TimerWheel(float(tick), float(now)), WheelModel(tick, now)
    for action, slot, amount in steps:
        moment = max(now + amount * tick / 64, Fraction(0))
        if action == "arm":
            wheel.arm(slot, float(moment))
            model.arm(slot, moment)
        elif action == "disarm":
            wheel.disarm(slot)
            model.disarm(slot)
        else:
            now = moment
            fired = wheel.advance(float(now))
            assert sorted(fired) == sorted(model.advance(now))
        assert wheel.armed == len(model.due)
        assert check_wheel(wheel) == set(model.due)
    now += 10**7
    assert sorted(wheel.advance(float(now))) == sorted(model.advance(now))
    assert wheel.armed == 0
    check_wheel(wheel)


def test_a_timer_fires_in_the_tick_after_its_deadline_and_never_before() -> None:
    wheel = TimerWheel(0.25, 10)
    wheel.arm(0, 10.3)
    wheel.arm(1, 10.5)
    assert wheel.advance(10.25) == []
    assert wheel.advance(10.49) == []
    assert sorted(wheel.advance(10.5)) == [0, 1]
    assert wheel.advance(20) == []


def test_a_deadline_in_the_past_fires_in_the_next_tick() -> None:
    wheel = TimerWheel(1, 100)
    wheel.arm(3, 5)
    wheel.arm(4, -5)
    assert wheel.advance(100.9) == []
    assert sorted(wheel.advance(101)) == [3, 4]


def test_a_moved_timer_fires_once_at_its_new_deadline() -> None:
    wheel = TimerWheel(1, 0)
    wheel.arm(7, 5)
    wheel.arm(7, 5 + SPOKES)        # the same spoke
    wheel.arm(7, 9)
    wheel.arm(7, 9)
    assert wheel.armed == 1
    assert wheel.advance(8) == []
    assert wheel.advance(9) == [7]
    assert wheel.advance(9 + 2 * SPOKES) == []


@pytest.mark.parametrize("gone", range(4))
def test_a_timer_can_be_taken_from_anywhere_in_its_spoke(gone: int) -> None:
    wheel = TimerWheel(1, 0)
    for slot in range(4):
        wheel.arm(slot, 2)
    wheel.disarm(gone)
    wheel.disarm(gone)
    wheel.disarm(1000)
    assert wheel.armed == 3
    check_wheel(wheel)
    assert sorted(wheel.advance(2)) == [slot for slot in range(4) if slot != gone]


@pytest.mark.parametrize("turns", [1, 2, 10])
def test_a_far_deadline_outlives_the_turns_of_the_wheel(turns: int) -> None:
    wheel = TimerWheel(1, 0)
    wheel.arm(0, 3 + turns * SPOKES)
    for now in range(3 + turns * SPOKES):
        assert wheel.advance(now) == []
    assert wheel.advance(3 + turns * SPOKES) == [0]


def test_a_long_sleep_loses_nothing_and_fires_nothing_early() -> None:
    wheel = TimerWheel(1, 0)
    for slot in range(5000):
        wheel.arm(slot, slot + 1)
    assert sorted(wheel.advance(4000)) == list(range(4000))
    assert wheel.armed == 1000
    check_wheel(wheel)
    assert sorted(wheel.advance(10**9)) == list(range(4000, 5000))


@pytest.mark.parametrize("deadline", [1e18, 1e300, float("inf")])
def test_no_deadline_is_so_far_away_that_it_fires_early(deadline: float) -> None:
    wheel = TimerWheel(0.1, 0)
    wheel.arm(0, deadline)
    assert wheel.advance(0.1) == []
    assert wheel.advance(10**6) == []
    assert wheel.armed == 1


def test_a_clock_that_goes_backwards_fires_nothing_twice() -> None:
    wheel = TimerWheel(1, 50)
    wheel.arm(0, 52)
    assert wheel.advance(52) == [0]
    wheel.arm(1, 51)
    assert wheel.advance(49) == []
    assert wheel.advance(52) == []
    assert wheel.advance(53) == [1]


@pytest.mark.parametrize("tick", [0, -1, float("nan")])
def test_a_tick_is_longer_than_nothing(tick: float) -> None:
    with pytest.raises(ValueError, match="tick"):
        TimerWheel(tick, 0)
