"""What was missed is taken in order, together with what comes meanwhile; test_shared_faults has it on real logs."""

from __future__ import annotations

import asyncio

from valtronics_fast.backplanes.log import Entry, Kept
from valtronics_fast.backplanes.rejoining import PIECE, Gathering


class Taken:
    def __init__(self) -> None:
        self.all: list[tuple[int, int]] = []

    def __call__(self, lane: int, offset: int, blob: bytes) -> None:
        self.all.append((lane, offset))


async def test_it_is_taken_in_order_and_once() -> None:
    gathering, taken = Gathering(), Taken()
    gathering.add(1, Entry(30, b""))
    read = {1: Kept(0, [Entry(10, b""), Entry(20, b""), Entry(30, b"")]), 2: Kept(0, [Entry(15, b""), Entry(5, b"")])}
    gathering.merge(read, 9, 25)
    await gathering.drain(taken)
    assert taken.all == [(1, 10), (2, 15), (1, 20), (1, 30)]


async def test_what_was_read_too_early_comes_itself() -> None:
    """Another entry that stands before it may still be on its way."""
    gathering, taken = Gathering(), Taken()
    gathering.merge({1: Kept(0, [Entry(10, b""), Entry(40, b"")])}, 0, 20)
    await gathering.drain(taken)
    gathering.add(2, Entry(35, b""))
    gathering.add(1, Entry(40, b""))
    await gathering.drain(taken)
    assert taken.all == [(1, 10), (2, 35), (1, 40)]


async def test_others_get_their_turns_and_what_comes_then_is_taken_too() -> None:
    gathering, taken = Gathering(), Taken()
    gathering.merge({1: Kept(0, [Entry(offset, b"") for offset in range(1, 3 * PIECE)])}, 0, 10_000)
    draining = asyncio.ensure_future(gathering.drain(taken))
    await asyncio.sleep(0)
    assert 0 < len(taken.all) < 3 * PIECE - 1
    gathering.add(1, Entry(20_000, b""))
    await draining
    assert taken.all == [(1, offset) for offset in (*range(1, 3 * PIECE), 20_000)]
