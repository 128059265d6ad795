"""What comes in a slightly wrong order is put right."""

from __future__ import annotations

import asyncio
import random

from core.harness import until
from valtronics_fast.backplanes.ordering import HOLD, Ordering


class Taken(list[tuple[int, str]]):
    def take(self, number: int, thing: str) -> None:
        self.append((number, thing))


async def test_what_comes_a_moment_late_stands_where_it_belongs() -> None:
    taken = Taken()
    ordering = Ordering(taken.take)
    numbers = list(range(10, 400, 3))
    for begin in range(0, len(numbers), 7):
        some = numbers[begin : begin + 7]
        random.Random(begin).shuffle(some)
        for number in some:
            ordering.add(number, "x")
        if begin % 35 == 0:
            await asyncio.sleep(HOLD * 1.5)
    await until(lambda: len(taken) == len(numbers))
    assert [number for number, _ in taken] == numbers


async def test_what_is_next_does_not_wait() -> None:
    taken = Taken()
    ordering = Ordering(taken.take)
    for number in (1, 2, 4, 5, 3, 6):
        ordering.add(number, "x")
    assert [number for number, _ in taken] == [1, 2, 3, 4, 5, 6]


async def test_what_comes_far_too_late_is_handed_on_all_the_same() -> None:
    taken = Taken()
    ordering = Ordering(taken.take)
    ordering.add(9, "nine")
    await until(lambda: taken)
    ordering.add(4, "four")
    assert taken == [(9, "nine"), (4, "four")]


async def test_what_waits_can_be_forgotten() -> None:
    taken = Taken()
    ordering = Ordering(taken.take)
    ordering.add(9, "nine")
    ordering.clear()
    ordering.add(1, "one")
    await asyncio.sleep(HOLD * 2)
    assert taken == [(1, "one")]
