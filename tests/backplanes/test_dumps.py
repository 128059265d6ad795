"""Newest values from other nodes: whom to ask, in pieces, and what if nobody answers."""

from __future__ import annotations

import asyncio
import struct

import pytest

from valtronics_fast._core.packet import PacketError
from valtronics_fast.backplanes import dumps as module
from valtronics_fast.backplanes.dumps import PIECE, WINDOW, Dump, Dumps
from valtronics_fast.backplanes.members import Heartbeat, Members, mask_of


class Held:
    """In place of a LatestDump: packets in pieces of somewhat more than is asked for."""

    def __init__(self, lanes: dict[int, bytes]) -> None:
        self._left = dict(lanes)
        self._looks = 3

    def look(self, _count: int) -> bool:
        self._looks -= 1
        return not self._looks

    def take(self, lane: int, size: int) -> bytes:
        assert not self._looks
        taken, self._left[lane] = self._left[lane][: size + 7], self._left[lane][size + 7 :]
        return taken


class Net:
    """Nodes that can send to each other."""

    def __init__(self, has: dict[int, dict[int, bytes]]) -> None:
        self.has = has
        self.deaf: set[int] = set()
        self.sent = 0
        self.answers: list[asyncio.Future[None]] = []
        self.asked: list[tuple[int, list[int], int]] = []
        self.nodes = {node: self._node(node) for node in (*has, 99)}

    def _node(self, node: int) -> Dumps:
        members = Members()
        for other, lanes in self.has.items():
            if other != node:
                members.note(Heartbeat(node=other, number=1, follows=mask_of(lanes)), 0)

        async def dump(lanes: list[int], position: int) -> tuple[list[int], Held, int]:
            self.asked.append((node, lanes, position))
            return [lane for lane in lanes if lane in self.has[node]], Held(self.has[node]), position + 5

        return Dumps(node, members, self._send, dump)  # type: ignore[arg-type]

    async def _send(self, node: int, data: bytes) -> None:
        self.sent += 1
        if node not in self.deaf:
            answer = self.nodes[node].told(data)
            if answer is not None:
                self.answers.append(asyncio.ensure_future(answer))


async def test_what_is_asked_is_answered() -> None:
    net = Net({1: {3: b"three", 4: b""}})
    assert await net.nodes[99].fetch([3, 4, 5], 100) == {3: Dump(105, b"three"), 4: Dump(105, b"")}
    assert net.asked == [(1, [3, 4], 100)]
    assert (net.nodes[99].taken, net.nodes[1].given) == (2, 2)


async def test_nobody_is_asked_when_nobody_follows() -> None:
    net = Net({1: {3: b"three"}})
    assert await net.nodes[99].fetch([7], 0) == {}
    assert net.sent == 0


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, PIECE * (2 * WINDOW) + 1])
async def test_large_ones_come_in_pieces(size: int) -> None:
    net = Net({1: {3: bytes(range(256)) * (size // 256) + b"x" * (size % 256), 4: b"four"}})
    dumps = await net.nodes[99].fetch([3, 4], 0)
    assert {lane: dump.packets for lane, dump in dumps.items()} == net.has[1]


async def test_who_does_not_answer_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    net = Net({1: {3: b"a", 4: b"a"}, 2: {3: b"b", 4: b"b"}})
    net.deaf = {1}
    dumps = await net.nodes[99].fetch([3, 4], 0)
    assert {lane: dump.packets for lane, dump in dumps.items()} == {3: b"b", 4: b"b"}
    net.deaf = {1, 2}
    assert await net.nodes[99].fetch([3, 4], 0) == {}


async def test_who_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    net = Net({1: {3: b"x" * PIECE * WINDOW * 2}})
    net.deaf = {99}
    assert await net.nodes[99].fetch([3], 0) == {}
    await asyncio.sleep(0.3)
    assert net.sent <= WINDOW + 2
    assert net.nodes[1]._answering == {}


async def test_who_is_named_is_asked_first() -> None:
    net = Net({node: dict.fromkeys(range(8), b"%d" % node) for node in (1, 2, 3)})
    dumps = await net.nodes[99].fetch(list(range(8)), 0, dict.fromkeys(range(8), 2))
    assert {dump.packets for dump in dumps.values()} == {b"2"}


async def test_lanes_that_were_not_asked_for_are_left_out() -> None:
    net = Net({1: {3: b"three", 4: b"four"}})
    dump = net.nodes[1]._dump

    async def of_all(_: list[int], position: int) -> tuple[dict[int, bytes], int]:
        return await dump([3, 4], position)

    net.nodes[1]._dump = of_all
    assert list(await net.nodes[99].fetch([3], 0)) == [3]


async def test_what_nobody_has_asked_for_is_left_out() -> None:
    dumps = Net({}).nodes[99]
    assert dumps.told(struct.pack("<4sIHQ", b"vfd\x02", 5, 3, 0) + b"late") is None
    assert dumps.told(struct.pack("<4sQI", b"vfc\x02", 5, 3)) is None


@pytest.mark.parametrize("data", [b"", b"vfa\x02", b"vfd\x02", b"vfc\x02", b"vfa\x01" + b"\0" * 60, b"x" * 100])
async def test_nonsense(data: bytes) -> None:
    with pytest.raises(PacketError):
        Net({}).nodes[99].told(data)
