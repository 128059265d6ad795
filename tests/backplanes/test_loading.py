"""Lanes are loaded: from the log, from another node, and with what comes meanwhile; and left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dumped import dumped
from harness import telemetry
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.lanes import lane_of
from valtronics_fast._core.wire import Channel
from valtronics_fast.backplanes.dumps import Dump
from valtronics_fast.backplanes.envelope import Envelope, seal
from valtronics_fast.backplanes.loading import Loading, lanes_of
from valtronics_fast.backplanes.log import Entry, Kept, LogError
from valtronics_fast.backplanes.sequences import Sequences

if TYPE_CHECKING:
    from collections.abc import Collection

LANE = lane_of(Channel.TELEMETRY, 1)
PARTITION = LANE % 64


class World:
    """In place of the log and of the other nodes."""

    def __init__(self) -> None:
        self.hub = Hub(lambda _flush: None, 0.0, history=100, shared=True)
        self.kept: dict[int, Kept] = {}
        self.dumps: dict[int, Dump] = {}
        self.followed: list[int] = []
        self.left: list[int] = []
        self.position = 1000
        self.gate = asyncio.Event()
        self.gate.set()
        self.sequences = Sequences()
        self.loading = Loading(self, self, self.sequences, self.sync)  # type: ignore[arg-type]
        self.loading.hub = self.hub

    async def follow(self, lanes: Collection[int]) -> None:
        self.followed += lanes

    async def unfollow(self, lanes: Collection[int]) -> None:
        self.left += lanes

    async def sync(self) -> int:
        self.hub.advance_log(self.position)
        return self.position

    async def fetch(self, lanes: list[int], position: int) -> dict[int, Dump]:
        assert position == self.position
        await self.gate.wait()
        return {lane: dump for lane, dump in self.dumps.items() if lane in lanes}

    async def read(self, lanes: Collection[int], after: int | None) -> dict[int, Kept]:
        assert after is None
        return {lane: self.kept.get(lane, Kept(0, [])) for lane in lanes}

    def entry(self, offset: int, sequence: int, value: int | None, node: int = 5) -> Entry:
        packets = b"" if value is None else self.hub.pack(telemetry(device=1, n=value))[1]
        return Entry(offset, seal(Envelope(node, sequence, 1, packets)))

    def newest(self) -> object:
        from valtronics_fast._core.packet import unpack  # noqa: PLC0415

        [(_, _, values)] = unpack(dumped(self.hub, [LANE])[LANE])
        return values

    def since(self, offset: int) -> list[int] | None:
        found = self.hub.histories[0].since(offset, partitions=1 << PARTITION)
        return None if found is None else [one for one, _, _ in found]


async def test_history_and_values_come_from_the_log() -> None:
    world = World()
    world.kept[LANE] = Kept(0, [world.entry(10, 1, 1), world.entry(20, 2, 2), Entry(30, b"nonsense")])
    await world.loading.load([LANE, LANE + 1])
    assert world.followed == lanes_of(world.hub).following() == sorted((LANE, LANE + 1))
    assert world.since(0) == [10, 20]
    assert world.newest() == {"n": 2.0}
    assert world.loading.loaded == 2
    await world.loading.load([LANE])
    assert world.loading.loaded == 2
    assert world.sequences.last(5, LANE) == 2


async def test_newer_values_than_a_dump_has_come_from_the_log() -> None:
    world = World()
    world.dumps[LANE] = Dump(15, world.hub.pack(telemetry(device=1, n=7))[1])
    world.kept[LANE] = Kept(5, [world.entry(10, 1, 1)])
    await world.loading.load([LANE])
    assert world.newest() == {"n": 7.0}
    assert (world.since(4), world.since(5)) == (None, [10])
    assert world.loading.doubt([LANE], 0) == []

    world = World()
    world.dumps[LANE] = Dump(15, world.hub.pack(telemetry(device=1, n=7))[1])
    world.kept[LANE] = Kept(5, [world.entry(10, 1, 1), world.entry(20, 2, 8)])
    await world.loading.load([LANE])
    assert world.newest() == {"n": 8.0}


async def test_what_comes_meanwhile_is_taken_in() -> None:
    world = World()
    world.gate.clear()
    world.kept[LANE] = Kept(0, [world.entry(10, 1, 1), world.entry(1500, 3, 3), world.entry(2500, 4, 4)])
    loading = asyncio.ensure_future(world.loading.load([LANE]))
    while not world.loading.lanes:
        await asyncio.sleep(0)
    world.loading.arrive(LANE, world.entry(1200, 2, 2))
    world.loading.arrive(LANE, world.entry(1500, 3, 3))
    world.gate.set()
    await loading
    assert world.since(0) == [10, 1200, 1500]  # what is behind that comes live
    assert world.sequences.last(5, LANE) == 3
    assert world.hub.log_position == 1500
    assert world.newest() == {"n": 3.0}


async def test_much_is_taken_in_with_pauses_and_what_comes_in_them_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are served meanwhile; entries that come then are neither missing nor there twice."""
    monkeypatch.setattr("valtronics_fast.backplanes.dumps.SLICE", 1)
    monkeypatch.setattr("valtronics_fast.backplanes.loading.SLICE", 1)
    world = World()
    other = LANE + 1
    world.dumps[LANE] = Dump(15, b"".join(world.hub.pack(telemetry(device=1, **{name: 1}))[1] for name in "nm"))
    world.kept[LANE] = Kept(0, [world.entry(10 * i, i, i) for i in range(1, 30)])
    loading = asyncio.ensure_future(world.loading.load([LANE, other]))
    while not world.loading.lanes:
        await asyncio.sleep(0)
    turns, sequence = 0, 29
    while LANE in world.loading.lanes:
        sequence += 1
        world.loading.arrive(LANE, world.entry(1000 + sequence, sequence, sequence))
        world.loading.arrive(other, world.entry(1000 + sequence, sequence, sequence))
        await asyncio.sleep(0)
        turns += 1
    assert turns > 30
    await loading
    assert world.loading.lanes == frozenset()
    assert lanes_of(world.hub).following() == sorted((LANE, other))
    taken = world.since(0)
    assert taken is not None
    assert taken[:29] == [10 * i for i in range(1, 30)]
    assert taken[29:] == list(range(1030, 1030 + len(taken) - 29))
    assert world.sequences.last(5, LANE) == len(taken)
    assert world.newest() == {"n": float(len(taken)), "m": 1.0}


async def test_a_log_that_is_lost_in_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valtronics_fast.backplanes.loading.SLICE", 1)
    world = World()
    world.kept[LANE] = Kept(0, [world.entry(10 * i, i, i) for i in range(1, 30)])
    loading = asyncio.ensure_future(world.loading.load([LANE]))
    while world.sequences.last(5, LANE) < 5:
        await asyncio.sleep(0)
    world.loading.lose()
    with pytest.raises(LogError):
        await loading
    assert lanes_of(world.hub).following() == []


async def test_a_dump_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.dumps[LANE] = Dump(15, world.hub.pack(telemetry(device=1, n=7))[1][:-1])
    world.kept[LANE] = Kept(5, [world.entry(10, 1, 1)])
    await world.loading.load([LANE])
    assert world.newest() == {"n": 1.0}
    assert world.loading.doubt([LANE], 0) == [LANE]


@pytest.mark.parametrize("hole", ["number", "given up", "unreadable"])
async def test_a_hole_in_the_log_is_not_recovered_over(hole: str) -> None:
    world = World()
    middle = {"number": world.entry(20, 3, 2), "given up": world.entry(20, 2, None)}.get(
        hole, Entry(20, seal(Envelope(5, 2, 1, b"\xff" * 20)))
    )
    world.kept[LANE] = Kept(0, [world.entry(10, 1, 1), middle, world.entry(30, 4 if hole == "number" else 3, 3)])
    await world.loading.load([LANE])
    assert world.since(10) is None
    assert world.since(1000) == []


async def test_what_the_log_has_twice_is_taken_once() -> None:
    """The answer to an append was lost, and it was appended again."""
    world = World()
    world.kept[LANE] = Kept(0, [world.entry(10, 1, 1), world.entry(20, 2, 2), world.entry(30, 2, 2)])
    await world.loading.load([LANE])
    assert world.since(0) == [10, 20]


async def test_a_log_that_is_lost_meanwhile_is_not_taken_for_followed() -> None:
    world = World()
    world.gate.clear()
    loading = [asyncio.ensure_future(world.loading.load([lane])) for lane in (LANE, LANE + 1)]
    while not world.loading.lanes:
        await asyncio.sleep(0)
    world.loading.lose()
    world.gate.set()
    for one in loading:
        with pytest.raises(LogError):
            await one
    assert lanes_of(world.hub).following() == []
    assert world.loading.lanes == frozenset()
    await world.loading.load([LANE])
    assert lanes_of(world.hub).following() == [LANE]


async def test_lanes_are_left_unless_they_are_needed() -> None:
    world = World()
    world.kept[LANE] = Kept(0, [world.entry(10, 1, 1)])
    await world.loading.load([LANE])
    await world.loading.leave([LANE])
    assert (world.left, lanes_of(world.hub).following()) == ([LANE], [])
    assert world.since(0) is None
    assert world.sequences.last(5, LANE) == 0
    await world.loading.load([LANE])
    assert world.since(0) == [10]
    world.left.clear()
    world.loading._wanted.add(LANE)  # somebody has asked for it again
    await world.loading.leave([LANE])
    assert (world.left, lanes_of(world.hub).following()) == ([], [LANE])


async def test_who_turns_up_late_is_asked_later() -> None:
    world = World()
    await world.loading.load([1, 2, 3])
    now = asyncio.get_running_loop().time()
    assert world.loading.doubt([2, 9], now - 5) == [2]
    assert world.loading.doubt([2], now - 5) == []
    assert world.loading.doubt([1, 3], now + 5) == []
    assert world.loading.doubt([1, 3], now - 5) == []


async def test_it_ends_while_it_waits() -> None:
    world = World()
    world.gate.clear()
    loading = asyncio.ensure_future(world.loading.load([LANE]))
    while not world.loading.lanes:
        await asyncio.sleep(0)
    await world.loading.stop()
    with pytest.raises(asyncio.CancelledError):
        await loading
    await world.loading.stop()


def test_a_hub_that_is_alone_has_no_lanes() -> None:
    with pytest.raises(ValueError, match="alone"):
        lanes_of(Hub(lambda _flush: None, 0.0))
