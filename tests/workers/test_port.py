from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from harness import until
from valtronics_fast.workers import port as module
from valtronics_fast.workers.frames import FrameStream, frame
from valtronics_fast.workers.port import SETTLED, WorkerPort

if TYPE_CHECKING:
    import pytest


class Peer(FrameStream):
    """The worker's side."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[tuple[int, bytes]] = []

    def take(self, kind: int, body: bytes) -> None:
        self.got.append((kind, body))

    def closed(self) -> None:
        pass


class Watched:
    """A port, its peer, and what the port has told."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.losses = 0
        self.ends = 0
        self.port: WorkerPort
        self.peer: Peer

    async def connect(self, limit: int) -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()

        def lose(_: WorkerPort) -> None:
            self.losses += 1

        def end(_: WorkerPort) -> None:
            self.ends += 1

        def take(_: WorkerPort, kind: int, body: bytes) -> None:
            self.frames.append((kind, body))

        _, self.port = await loop.create_unix_connection(
            lambda: WorkerPort(limit, on_frame=take, on_lost=lose, on_end=end), sock=ours
        )
        _, self.peer = await loop.create_unix_connection(Peer, sock=theirs)

    def close(self) -> None:
        self.port.transport.abort()
        self.peer.transport.abort()


async def connected(limit: int = 1 << 20) -> Watched:
    watched = Watched()
    await watched.connect(limit)
    return watched


async def test_what_is_put_in_a_turn_leaves_in_its_order() -> None:
    one = await connected()
    for number in range(100):
        (one.port.put if number % 2 else one.port.put_entry)(frame(1, b"%d" % number))
    await until(lambda: len(one.peer.got) == 100)
    assert [body for _, body in one.peer.got] == [b"%d" % number for number in range(100)]
    one.peer.write(frame(5, b"back"))
    await until(lambda: one.frames)
    assert one.frames == [(5, b"back")]
    one.close()


async def test_entries_for_a_worker_that_does_not_read_are_told_as_lost() -> None:
    one = await connected(1 << 20)
    one.peer.transport.pause_reading()
    while not one.losses:
        one.port.put_entry(frame(1, bytes(100_000)))
        await asyncio.sleep(0)
    assert 1 << 20 < one.port.transport.get_write_buffer_size() < (1 << 20) + 400_000
    one.close()


async def test_a_large_answer_is_not_held_against_the_worker() -> None:
    one = await connected(1 << 20)
    one.port.put(frame(1, bytes(8 << 20)))
    for _ in range(100):
        one.port.put_entry(frame(2, b"x"))
        await asyncio.sleep(0)
    await until(lambda: len(one.peer.got) == 101)
    assert one.losses == 0
    one.close()


async def test_what_was_large_once_is_not_allowed_for_ever() -> None:
    one = await connected(1 << 20)
    one.port.put(frame(1, bytes(8 << 20)))
    await until(lambda: one.peer.got)
    one.peer.transport.pause_reading()
    while not one.losses:
        one.port.put_entry(frame(2, bytes(100_000)))
        await asyncio.sleep(0)
    assert one.port.transport.get_write_buffer_size() < 2 << 20
    one.close()


async def test_settling() -> None:
    one = await connected()
    done: list[int] = []
    one.port.settle(lambda: done.append(1))
    assert done == [1]  # nothing waits
    one.peer.transport.pause_reading()
    await asyncio.sleep(0)
    one.port.put(frame(1, bytes(SETTLED + (1 << 20))))
    one.port.settle(lambda: done.append(2))
    await asyncio.sleep(0)
    assert done == [1]
    one.peer.transport.resume_reading()
    await until(lambda: done == [1, 2])
    assert one.losses == 0
    one.close()


async def test_who_does_not_settle_in_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    one = await connected()
    one.peer.transport.pause_reading()
    done: list[int] = []
    await asyncio.sleep(0)
    one.port.put(frame(1, bytes(1 << 20)))
    one.port.settle(lambda: done.append(1))
    one.port.settle(lambda: done.append(2))
    await until(lambda: one.losses)
    assert done == [1, 2]
    one.close()


async def test_the_end_of_a_worker_ends_all_waiting() -> None:
    one = await connected()
    one.peer.transport.pause_reading()
    done: list[int] = []
    await asyncio.sleep(0)
    one.port.put(frame(1, bytes(1 << 20)))
    one.port.settle(lambda: done.append(1))
    one.peer.transport.abort()
    await until(lambda: one.ends)
    assert done == [1]
    one.port.put(frame(1, b"to nobody"))
    one.port.settle(lambda: done.append(2))
    assert done == [1, 2]
    one.close()
