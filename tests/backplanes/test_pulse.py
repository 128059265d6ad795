"""Heartbeats: when they are sent, and what their absence means."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from valtronics_fast.backplanes import pulse as module
from valtronics_fast.backplanes.log import LogError
from valtronics_fast.backplanes.pulse import SILENCE, Pulse

if TYPE_CHECKING:
    from collections.abc import Callable


def test_silence() -> None:
    pulse = Pulse()
    pulse.come_back(100.0)
    assert not pulse.is_silent(100.0 + SILENCE)
    assert pulse.is_silent(100.1 + SILENCE)


def never() -> None:
    pytest.fail("it did not stand still")


async def beat(
    pulse: Pulse, *, comes_back: bool = True, until: int = 3, stood_still: Callable[[], None] = never
) -> list[bool]:
    """Beat a few times; return whether each one greeted."""
    greeted: list[bool] = []
    loop = asyncio.get_running_loop()

    async def announce(greets: bool) -> None:
        greeted.append(greets)
        if comes_back:
            pulse.come_back(loop.time())
        if len(greeted) == until:
            pulse.lose()

    seen: list[float] = []
    pulse.begin()
    pulse.come_back(loop.time())
    await pulse.beat(announce, seen.append, stood_still)
    assert len(seen) == len(greeted)
    return greeted


async def test_the_first_one_greets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    pulse = Pulse()
    assert await beat(pulse) == [True, False, False]
    assert pulse.number == 3
    assert pulse.is_lost
    assert await beat(pulse, until=1) == [True]
    assert pulse.number == 4


async def test_a_greeting_is_answered_before_its_time() -> None:
    pulse = Pulse()
    beating = asyncio.ensure_future(beat(pulse, until=2))
    await asyncio.sleep(0)
    pulse.answer()
    async with asyncio.timeout(module.INTERVAL * 20):
        assert await beating == [True, False]


async def test_a_log_that_does_not_answer_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.05)
    monkeypatch.setattr(module, "SILENCE", 0.2)
    with pytest.raises(LogError, match="does not answer"):
        await beat(Pulse(), comes_back=False, until=1000)


async def test_a_process_that_stood_still_waits_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.2)
    monkeypatch.setattr(module, "SILENCE", 0.05)  # each rest is longer than this
    stood: list[int] = []
    greeted = await beat(Pulse(), comes_back=False, stood_still=lambda: stood.append(1))
    assert greeted == [True, False, False]
    assert len(stood) == 2  # the last rest was cut short by the loss
