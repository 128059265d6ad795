"""What goes between the supervisor and a worker: frames on a stream, a size, a kind and what belongs to the kind."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["FrameStream", "frame", "pack_lanes", "unpack_lanes"]

# From a worker. What begins with a number is answered under it.
APPEND: Final = 1  # number; BATCH and a blob each
ANNOUNCE: Final = 2  # data
SEND: Final = 3  # number, NAME; data
FOLLOW: Final = 4  # number, lanes as bits
UNFOLLOW: Final = 5  # number, lanes as bits
READ: Final = 6  # number, READING
OPEN: Final = 7  # number, NAME
LEAVE: Final = 8
SYNC: Final = 13  # number
READY: Final = 9
FAILED: Final = 10  # JSON
ASK: Final = 11  # number; JSON for all other workers
TELL: Final = 12  # number of the question; JSON
RELOADED: Final = 14  # JSON
WIND_DOWN: Final = 15

# From the supervisor.
ANSWER: Final = 32  # number, 0 or 1: refused; what was asked for, or why not
ENTRY: Final = 33  # ENTRY_HEAD; blob
HEARD: Final = 34  # OFFSET; data
TOLD: Final = 35  # data
LOST: Final = 36  # why
SETTINGS: Final = 37  # JSON
STOP: Final = 38
DRAIN: Final = 41
RELOAD: Final = 39  # the configuration, to get ready for
AGREED: Final = 42  # 1: put it in force; 0: somebody can't
ASKED: Final = 40  # number of the question; JSON

HEAD: Final = struct.Struct("<IB")
NUMBER: Final = struct.Struct("<I")
ANSWER_HEAD: Final = struct.Struct("<IB")
BATCH: Final = struct.Struct("<HII")  # lane, offsets, bytes of the blob
ENTRY_HEAD: Final = struct.Struct("<HQ")  # lane, offset
ENTRY_FRAME: Final = struct.Struct("<IBHQ")  # HEAD and ENTRY_HEAD
OFFSET: Final = struct.Struct("<Q")
NAME: Final = struct.Struct("<16s")
READING: Final = struct.Struct("<Hq")  # lane, offset; -1: the newest
READ_HEAD: Final = struct.Struct("<QB")  # floor, whether there is more
READ_ENTRY: Final = struct.Struct("<QII")  # offset, offsets, bytes of the blob
MASK_SIZE: Final = 32

ROOM: Final = 256 * 1024
"""Bytes that are read at a time, unless a frame is larger."""


def frame(kind: int, *parts: bytes) -> bytes:
    """Return the bytes of a frame."""
    body = b"".join(parts)
    return HEAD.pack(len(body), kind) + body


class FrameStream(asyncio.BufferedProtocol):
    """One end of a stream of frames. A peer that breaks off, or is out of step, ends it: `closed`.

    Attributes:
        transport: the stream, once it is connected.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray(ROOM)
        self._start = self._end = 0

    def take(self, kind: int, body: bytes) -> None:
        """Take one frame."""
        raise NotImplementedError

    def closed(self) -> None:
        """The stream has ended."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Write frames; what a stream that has ended can't take is dropped."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        """End."""
        self.closed()

    def get_buffer(self, _: int) -> memoryview:
        """Return where to read to: behind what is there, with room for the whole of the frame that has begun."""
        needed = ROOM
        if self._end - self._start >= HEAD.size:
            needed = max(needed, HEAD.size + HEAD.unpack_from(self._buffer, self._start)[0])
        if self._start + needed > len(self._buffer) or self._end == len(self._buffer):
            rest = self._buffer[self._start : self._end]
            self._buffer = bytearray(needed)
            self._start, self._end = 0, len(rest)
            self._buffer[: self._end] = rest
        return memoryview(self._buffer)[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take the frames that are whole."""
        self._end += nbytes
        buffer, at, end = self._buffer, self._start, self._end
        with memoryview(buffer) as view:
            while end - at >= HEAD.size:
                size, kind = HEAD.unpack_from(buffer, at)
                begin = at + HEAD.size
                if end - begin < size:
                    break
                at = begin + size
                self.take(kind, bytes(view[begin:at]))
        self._start = at
        if at == end:
            self._start = self._end = 0
            if len(buffer) > ROOM:
                self._buffer = bytearray(ROOM)


def pack_lanes(lanes: Collection[int]) -> bytes:
    """Return lanes as bits."""
    return sum(1 << lane for lane in set(lanes)).to_bytes(MASK_SIZE, "little")


def unpack_lanes(mask: bytes) -> list[int]:
    """Return the lanes of such bits."""
    bits = int.from_bytes(mask, "little")
    return [lane for lane in range(8 * MASK_SIZE) if bits >> lane & 1]
