"""What was missed is taken in order, together with what comes meanwhile; test_shared_faults has it on real logs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from harness import telemetry
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.lanes import lane_of
from valtronics_fast._core.wire import Channel
from valtronics_fast.backplanes.arrivals import Arrivals
from valtronics_fast.backplanes.envelope import Envelope, seal
from valtronics_fast.backplanes.loading import lanes_of
from valtronics_fast.backplanes.log import Entry, Kept
from valtronics_fast.backplanes.outgoing import Outgoing
from valtronics_fast.backplanes.rejoining import PIECE, Gathering, Rejoining
from valtronics_fast.backplanes.sequences import Sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

NODE, OTHER = 1, 2
LANE = lane_of(Channel.TELEMETRY, 1)
PARTITION = LANE % 64


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


class World:
    """A node, and in place of the log what it gives when it is opened."""

    def __init__(self) -> None:
        self.hub = Hub(lambda _flush: None, 0.0, history=100, shared=True)
        self.hub.begin_log("one", 0)
        self.epoch = "one"
        self.position = 1000
        self.kept = Kept(0, [])
        self.while_read: Callable[[], None] = lambda: None
        self.outgoing = Outgoing(NODE, 1 << 20)
        self.missed: list[int] = []
        self.arrivals = Arrivals(NODE, Sequences(), self)  # type: ignore[arg-type]
        self.arrivals.hub = self.hub
        self.rejoining = Rejoining(self, self.outgoing, self.arrivals, self)  # type: ignore[arg-type]
        lanes_of(self.hub).set_followed([LANE], True)
        self.hub.histories[Channel.TELEMETRY].set_floor(PARTITION, 0)

    async def open(self, node: str, receiver: object, epoch: str, position: int) -> str:
        assert (node, receiver) == ("node", self)
        return self.epoch

    async def follow(self, lanes: Collection[int]) -> None:
        assert list(lanes) == [LANE]

    async def sync(self) -> int:
        return self.position

    async def read(self, lanes: Collection[int], after: int | None) -> dict[int, Kept]:
        self.while_read()
        return {LANE: Kept(self.kept.floor, [entry for entry in self.kept.entries if entry.offset > (after or 0)])}

    def miss(self, lanes: Collection[int], node: int | None = None) -> None:
        self.missed += lanes

    def came(self, lane: int, packets: bytes, offset: int) -> None:
        """Nothing is made good here."""

    async def rejoin(self) -> None:
        await self.rejoining.open("node", self, self.hub)  # type: ignore[arg-type]

    def entry(self, offset: int, sequence: int, node: int = OTHER) -> Entry:
        return Entry(offset, seal(Envelope(node, sequence, 1, self.hub.pack(telemetry(device=1))[1])))

    def since(self, offset: int, partitions: int = 1 << PARTITION) -> list[int] | None:
        found = self.hub.histories[Channel.TELEMETRY].since(offset, partitions=partitions)
        return None if found is None else [one for one, _, _ in found]


async def test_what_was_missed_is_taken_and_nothing_is_told() -> None:
    world = World()
    world.arrivals.take(LANE, *world.entry(10, 1))
    world.kept = Kept(0, [world.entry(10, 1), world.entry(20, 2), world.entry(30, 3)])
    await world.rejoin()
    assert (world.since(0), world.missed, world.arrivals.repeated) == ([10, 20, 30], [], 0)
    assert world.hub.log_position == 1000


async def test_what_is_not_kept_any_more_is_told() -> None:
    world = World()
    world.arrivals.take(LANE, *world.entry(10, 1))
    world.kept = Kept(25, [world.entry(30, 2)])
    await world.rejoin()
    assert world.missed == [LANE]
    assert (world.since(10), world.since(25)) == (None, [30])


async def test_of_another_log_everything_is_taken_and_told() -> None:
    world = World()
    world.arrivals.take(LANE, *world.entry(5000, 1))
    world.epoch = "another"
    world.kept = Kept(0, [world.entry(10, 1), world.entry(20, 2)])
    await world.rejoin()
    assert (world.hub.epoch, world.missed, world.since(0, 0)) == ("another", [LANE], [20])  # the first has come before


async def test_what_was_delivered_without_the_log_is_not_delivered_again() -> None:
    """It was appended, and the answer lost: it is read, and waits to be appended again."""
    world = World()
    _, packet = world.hub.pack(telemetry(device=1))
    world.outgoing.add(LANE, packet, apart=True)
    world.hub.receive(packet, 0)
    world.arrivals.apart = {(LANE, 77)}  # of an earlier time: nothing of it is on its way
    matched: list[bool] = []
    receive = world.arrivals.take

    def take(lane: int, offset: int, blob: bytes) -> None:
        matched.append((LANE, 1) in world.arrivals.apart)
        receive(lane, offset, blob)

    world.arrivals.take = take  # type: ignore[method-assign]
    world.kept = Kept(0, [world.entry(10, 1, NODE)])
    await world.rejoin()
    assert matched == [True]
    assert world.arrivals.apart == {(LANE, 1)}
    assert len(world.outgoing.take()) == 1


async def test_lanes_that_are_left_meanwhile_are_left_out() -> None:
    world = World()
    world.kept = Kept(0, [world.entry(10, 1)])
    world.while_read = lambda: lanes_of(world.hub).set_followed([LANE], False)
    await world.rejoin()
    assert world.since(0, 0) == []
