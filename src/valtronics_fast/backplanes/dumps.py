"""Newest values from another node, for lanes that this one begins to follow or has missed something of.

A dump goes from node to node in pieces, of which a few are on their way at a time: the connections that they take are
those of live data, and brokers bound what may wait there.

    request   magic | u64 node | u32 number | u64 position | 256 bits: lanes         (little-endian)
    piece     magic | u32 number | u16 lane | u64 position | bytes of packets
    end       magic | u32 number | u16 END  | u64 how many pieces there were
    credit    magic | u64 node | u32 number                                          one more piece may come
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, NamedTuple

from valtronics_fast._core.packet import PacketError, cut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from valtronics_fast._core.packet import LatestDump
    from valtronics_fast.backplanes.members import Members

__all__ = ["SLICE", "Dump", "Dumps"]

PATIENCE = 1.5
"""Seconds within which something has to come from the other node."""

ATTEMPTS = 2
"""Nodes that are asked about a lane, one after the other."""

SLICE = 128 << 10
"""Bytes of packets that are taken in without a pause: some milliseconds."""

PIECE = 128 << 10
"""Bytes of a piece, at most."""

LOOK = 5000
"""Devices that are looked at in one go."""

WINDOW = 8
"""Pieces on their way."""

_REQUEST = struct.Struct("<4sQIQ32s")
_PIECE = struct.Struct("<4sIHQ")
_CREDIT = struct.Struct("<4sQI")
_ASKED = b"vfa\x02"
_TOLD = b"vfd\x02"
_CREDITED = b"vfc\x02"
_END = 0xFFFF


class Dump(NamedTuple):
    """A lane's newest values.

    Attributes:
        position: offset up to which they are complete.
        packets: one after the other (packet.pxd).
    """

    position: int
    packets: bytes

    def slices(self) -> list[bytes]:
        """Return the packets in pieces that are each taken in without a pause; PacketError: they are none."""
        return cut(self.packets, SLICE)


class _Request:
    """What comes from a node that was asked."""

    def __init__(self, node: int) -> None:
        self.node = node
        self.pieces = 0
        self.lanes: dict[int, tuple[int, list[bytes]]] = {}
        self.end: int | None = None
        self.has_come = asyncio.Event()


class Dumps:
    """Asks other nodes, and answers them.

    Args:
        node: this node's number.
        members: the others.
        send: tells a node something.
        dump: returns which of some lanes this node follows, their newest values, not older than a position, and the
            position that they have.
    """

    def __init__(
        self,
        node: int,
        members: Members,
        send: Callable[[int, bytes], Awaitable[None]],
        dump: Callable[[list[int], int], Awaitable[tuple[list[int], LatestDump, int]]],
    ) -> None:
        self.given = 0
        self.taken = 0
        self._node = node
        self._members = members
        self._send = send
        self._dump = dump
        self._number = 0
        self._asked: dict[int, _Request] = {}
        self._answering: dict[tuple[int, int], asyncio.Semaphore] = {}

    def stats(self) -> dict[str, int]:
        """Return what was counted."""
        return {"dumps_given": self.given, "dumps_taken": self.taken}

    async def fetch(self, lanes: list[int], position: int, first: Mapping[int, int] | None = None) -> dict[int, Dump]:
        """Return what other nodes have of lanes; without those that no node tells of.

        Args:
            lanes: which ones.
            position: what they have must not be older.
            first: lane -> the node that is asked first, if it follows it.

        Raises:
            LogError: the log is away.
        """
        await asyncio.sleep(self._members.unknown(asyncio.get_running_loop().time()))
        found: dict[int, Dump] = {}
        tried = {self._node}
        for _ in range(ATTEMPTS):
            asked = self._members.followers([lane for lane in lanes if lane not in found], first=first, but=tried)
            if not asked:
                break
            answers = await asyncio.gather(*[self._fetch(node, some, position) for node, some in asked.items()])
            for (node, some), answer in zip(asked.items(), answers, strict=True):
                found.update(answer)
                if len(answer) < len(some):
                    tried.add(node)
        self.taken += len(found)
        return found

    async def _fetch(self, node: int, lanes: list[int], position: int) -> dict[int, Dump]:
        self._number = number = (self._number + 1) % 2**32
        request = self._asked[number] = _Request(node)
        mask = sum(1 << lane for lane in lanes)
        try:
            await self._send(node, _REQUEST.pack(_ASKED, self._node, number, position, mask.to_bytes(32, "little")))
            while request.end is None or request.pieces < request.end:
                request.has_come.clear()
                async with asyncio.timeout(PATIENCE):
                    await request.has_come.wait()
        except TimeoutError:
            return {}
        finally:
            del self._asked[number]
        return {lane: Dump(at, b"".join(pieces)) for lane, (at, pieces) in request.lanes.items() if lane in lanes}

    def told(self, data: bytes) -> Awaitable[None] | None:
        """Take what a node has sent; return what is to be awaited to answer it.

        Raises:
            PacketError: it is nothing of this kind.
        """
        kind = data[:4]
        if kind == _ASKED and len(data) == _REQUEST.size:
            _, node, number, position, mask = _REQUEST.unpack(data)
            return self._answer(node, number, position, int.from_bytes(mask, "little"))
        if kind == _CREDITED and len(data) == _CREDIT.size:
            _, node, number = _CREDIT.unpack(data)
            if window := self._answering.get((node, number)):
                window.release()
            return None
        if kind == _TOLD and len(data) >= _PIECE.size:
            return self._take(data)
        raise PacketError("neither a request nor a dump")

    def _take(self, data: bytes) -> Awaitable[None] | None:
        _, number, lane, position = _PIECE.unpack_from(data)
        request = self._asked.get(number)
        if request is None:
            return None
        request.has_come.set()
        if lane == _END:
            request.end = position
            return None
        request.pieces += 1
        request.lanes.setdefault(lane, (position, []))[1].append(data[_PIECE.size :])
        return self._send(request.node, _CREDIT.pack(_CREDITED, self._node, number))

    async def _answer(self, node: int, number: int, position: int, mask: int) -> None:
        window = self._answering[node, number] = asyncio.Semaphore(WINDOW)
        pieces = 0
        try:
            lanes, dump, position = await self._dump([lane for lane in range(256) if mask >> lane & 1], position)
            while not dump.look(LOOK):  # noqa: ASYNC110 - it is a pause, and nothing is waited for
                await asyncio.sleep(0)
            for lane in lanes:
                head = _PIECE.pack(_TOLD, number, lane, position)
                packets = dump.take(lane, PIECE)
                while True:  # a lane of which there is nothing has one piece, too
                    for begin in range(0, max(1, len(packets)), PIECE):
                        async with asyncio.timeout(PATIENCE):
                            await window.acquire()
                        await self._send(node, head + packets[begin : begin + PIECE])
                        pieces += 1
                    await asyncio.sleep(0)
                    if not (packets := dump.take(lane, PIECE)):
                        break
                self.given += 1
            await self._send(node, _PIECE.pack(_TOLD, number, _END, pieces))
        except TimeoutError:  # it is gone, or does not need it any more
            return
        finally:
            del self._answering[node, number]
