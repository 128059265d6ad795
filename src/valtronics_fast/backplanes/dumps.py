"""Newest values from another node, for lanes that this one begins to follow or has missed something of."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, NamedTuple

from valtronics_fast._core.packet import PacketError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Dump", "Dumps"]

PATIENCE = 2.0
"""Seconds within which another node has to answer."""

_REQUEST = struct.Struct("<4sQI")
_ANSWER = struct.Struct("<4sIqQ")
_ASKED = b"vfa\x01"
_TOLD = b"vfd\x01"
_END = -1


class Dump(NamedTuple):
    """A lane's newest values.

    Attributes:
        position: offset up to which they are complete.
        packets: one after the other (packet.pxd).
    """

    position: int
    packets: bytes


class Dumps:
    """Asks other nodes, and answers them.

    Args:
        node: this node's number.
        send: tells a node something.
        dump: returns this node's newest values of lanes, and its position.
    """

    def __init__(
        self,
        node: int,
        send: Callable[[int, bytes], Awaitable[None]],
        dump: Callable[[list[int]], tuple[dict[int, bytes], int]],
    ) -> None:
        self.given = 0
        self.taken = 0
        self._node = node
        self._send = send
        self._dump = dump
        self._number = 0
        self._waiting: dict[int, tuple[dict[int, Dump], asyncio.Future[None]]] = {}

    async def fetch(self, asked: Mapping[int, list[int]]) -> dict[int, Dump]:
        """Return what the nodes that are asked have of lanes; without those who do not answer.

        Args:
            asked: node -> the lanes that it is asked about.

        Raises:
            LogError: the log is away.
        """
        answers = await asyncio.gather(*[self._fetch(node, lanes) for node, lanes in asked.items()])
        return {lane: dump for answer in answers for lane, dump in answer.items()}

    async def _fetch(self, node: int, lanes: list[int]) -> dict[int, Dump]:
        self._number = number = (self._number + 1) % 2**32
        found: dict[int, Dump] = {}
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = found, done
        try:
            mask = sum(1 << lane for lane in lanes)
            await self._send(node, _REQUEST.pack(_ASKED, self._node, number) + mask.to_bytes(32, "little"))
            async with asyncio.timeout(PATIENCE):
                await done
        except TimeoutError:
            return {}
        finally:
            del self._waiting[number]
        self.taken += len(found)
        return found

    def told(self, data: bytes) -> Awaitable[None] | None:
        """Take what a node has sent; return what is to be awaited to answer it.

        Raises:
            PacketError: it is nothing of this kind.
        """
        if data[:4] == _ASKED and len(data) == _REQUEST.size + 32:
            _, node, number = _REQUEST.unpack_from(data)
            return self._answer(node, number, int.from_bytes(data[_REQUEST.size :], "little"))
        if data[:4] != _TOLD or len(data) < _ANSWER.size:
            raise PacketError("neither a request nor a dump")
        _, number, lane, position = _ANSWER.unpack_from(data)
        found, done = self._waiting.get(number, ({}, None))
        if done is None or done.done():
            return None
        if lane == _END:
            done.set_result(None)
        else:
            found[lane] = Dump(position, data[_ANSWER.size :])
        return None

    async def _answer(self, node: int, number: int, mask: int) -> None:
        lanes = [lane for lane in range(256) if mask >> lane & 1]
        dumped, position = self._dump(lanes)
        for lane in lanes:
            packets = dumped.pop(lane, b"")
            await self._send(node, _ANSWER.pack(_TOLD, number, lane, position) + packets)
            self.given += 1
        await self._send(node, _ANSWER.pack(_TOLD, number, _END, position))
