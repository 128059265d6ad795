"""Timers: one for each of many connections."""

from __future__ import annotations

import pytest

from valtronics_fast._core.wheel import TimerWheel

TICK = 0.05
TIMERS = 100_000


def wheel_of(timers: int, spread: float) -> TimerWheel:
    """Return a wheel with a timer for each slot, at deadlines over `spread` seconds from the 1000th on."""
    wheel = TimerWheel(TICK, 0.0)
    for slot in range(timers):
        wheel.arm(slot, 1000 + spread * slot / timers)
    return wheel


@pytest.mark.benchmark(group="wheel")
@pytest.mark.parametrize("timers", [1000, TIMERS])
def test_move_a_timer(steady, timers):
    wheel = wheel_of(timers, 25.0)

    def move() -> None:
        wheel.arm(timers // 2, 1030.0)
        wheel.arm(timers // 2, 1060.0)

    steady(move, items=2)
    assert wheel.armed == timers


@pytest.mark.benchmark(group="wheel")
def test_arm_and_disarm(steady):
    wheel = wheel_of(1000, 25.0)

    def both() -> None:
        wheel.arm(5000, 1030.0)
        wheel.disarm(5000)

    steady(both)
    assert wheel.armed == 1000


@pytest.mark.benchmark(group="wheel")
def test_a_tick_without_anything_due(steady):
    """Of 100,000 timers that are due in some later turn of the wheel, each tick looks at a thousandth."""
    wheel = wheel_of(TIMERS, TICK * 1024 * 4)
    now = 0.0

    def tick() -> list[int]:
        nonlocal now
        now += TICK
        return wheel.advance(now)

    assert steady(tick, iterations=10) == []


@pytest.mark.benchmark(group="wheel")
def test_1000_timers_fire(steady):
    wheel = TimerWheel(TICK, 0.0)
    now = 0.0

    def arm() -> None:
        for slot in range(1000):
            wheel.arm(slot, now + TICK * (slot % 10))

    def fire() -> list[int]:
        nonlocal now
        now += TICK * 20
        return wheel.advance(now)

    assert len(steady(fire, prepare=arm, items=1000)) == 1000
