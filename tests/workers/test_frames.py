from __future__ import annotations

import asyncio
import socket

from harness import until
from valtronics_fast.workers.frames import ROOM, FrameStream, frame, pack_lanes, unpack_lanes


class Stream(FrameStream):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[tuple[int, bytes]] = []
        self.ends = 0

    def take(self, kind: int, body: bytes) -> None:
        if kind == 99:
            raise ValueError("no such frame")
        self.got.append((kind, body))

    def closed(self) -> None:
        self.ends += 1


async def pair() -> tuple[Stream, Stream]:
    loop = asyncio.get_running_loop()
    streams = [(await loop.create_unix_connection(Stream, sock=each))[1] for each in socket.socketpair()]
    return streams[0], streams[1]


async def test_frames_arrive_as_they_were_sent_however_they_are_cut() -> None:
    one, other = await pair()
    sent = [(1, b""), (2, b"abc"), (3, b"x" * (3 * ROOM)), (4, b"y" * ROOM), (5, b"end")]
    data = b"".join(frame(kind, body[:1], body[1:]) for kind, body in sent)
    for start in range(0, len(data), 70001):
        one.write(data[start : start + 70001])
        await asyncio.sleep(0)
    await until(lambda: len(other.got) == len(sent))
    assert other.got == sent
    assert len(other._buffer) == ROOM  # what a large frame needed is given back
    for byte in frame(7, b"slow"):
        one.write(bytes([byte]))
        await asyncio.sleep(0)
    await until(lambda: len(other.got) == len(sent) + 1)
    assert other.got[-1] == (7, b"slow")
    one.transport.close()
    other.transport.close()


async def test_many_small_frames_at_once() -> None:
    one, other = await pair()
    bodies = [str(number).encode() for number in range(100_000)]
    one.write(b"".join(frame(1, body) for body in bodies))
    await until(lambda: len(other.got) == len(bodies))
    assert [body for _, body in other.got] == bodies
    one.transport.close()
    other.transport.close()


async def test_an_end_is_told_once_and_then_writing_does_nothing() -> None:
    one, other = await pair()
    one.transport.close()
    await until(lambda: one.ends and other.ends)
    one.write(frame(1))
    assert (one.ends, other.ends, other.got) == (1, 1, [])


def test_lanes_are_bits() -> None:
    lanes = [0, 7, 8, 255]
    assert len(pack_lanes(lanes)) == 32
    assert unpack_lanes(pack_lanes([*lanes, 7])) == lanes
    assert unpack_lanes(pack_lanes([])) == []
