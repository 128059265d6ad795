from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from valtronics_fast import memory_limit
from valtronics_fast.memory_limit import MemoryLimit, resident

if TYPE_CHECKING:
    import pytest


def test_what_is_done_above_the_limit_and_below_it_again() -> None:
    used = iter([90, 101, 101, 99, 96, 95, 94, 100, 101])
    waiting = [True, False, True, True, True]
    told: list[bool] = []
    watch = MemoryLimit(100, refuse=told.append, shed=lambda: waiting.pop(0), measure=lambda: next(used))
    states = []
    for _ in range(9):
        watch.look()
        states.append(watch.exceeded)
    assert states == [False, True, True, True, True, False, False, False, True]
    assert told == [True, False, True]
    assert watch.closed == 4
    assert waiting == []


def test_without_a_limit_nothing_is_measured() -> None:
    def measure() -> int:
        raise AssertionError

    watch = MemoryLimit(0, refuse=lambda _: None, shed=lambda: False, measure=measure)
    watch.look()
    assert not watch.exceeded


def test_a_limit_that_is_taken_away_lets_everybody_in() -> None:
    told: list[bool] = []
    watch = MemoryLimit(100, refuse=told.append, shed=lambda: False, measure=lambda: 200)
    watch.look()
    watch.limit = 0
    watch.look()
    assert told == [True, False]


def test_the_resident_memory_is_that_of_the_process() -> None:
    before = resident()
    piece = bytearray(b"x") * (64 << 20)
    assert before + (60 << 20) < resident()
    del piece


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limit, "_STATM", Path("/nowhere"))
    assert resident() == 0
