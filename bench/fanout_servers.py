"""The servers that fanout_compare.py measures: one process, threads within one, workers.

    python bench/fanout_servers.py one|threads|workers BATCH PAYLOAD RATE COUNT

Each publishes what fanout_driver.py does: BATCH messages a turn at saturation (RATE 0), else RATE a second. Prints its
port, and the processes that are its own. COUNT: threads or workers.

*threads* is a prototype that is better than the real thing could be: the frames are made once, and written to the
sockets by threads in C (load/thread_fanout.c) without the GIL. It knows no filters, queues or slow readers; what the
kernel does not take is lost. *workers* is what `--workers` runs, but that the first worker publishes by itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import socket
import struct
import sys
from array import array
from typing import TYPE_CHECKING

import uvloop

from fanout_driver import message
from outside import compiled_library, free_port
from served import config
from valtronics_fast import Server, websocket
from valtronics_fast._core.encode import encode
from valtronics_fast.workers.bus import Bus
from valtronics_fast.workers.context import Worker
from valtronics_fast.workers.link import Link
from valtronics_fast.workers.port import WorkerPort
from valtronics_fast.workers.segment import Layout, Segment
from valtronics_fast.workers.shared_bans import SharedBans
from valtronics_fast.workers.shared_room import SharedRoom

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

AHEAD = 4
"""Turns that the publishing worker may be ahead of the workers' mean at saturation."""

LAYOUT = (100_000, 1000, 1000)


def padding_for(payload: int) -> str:
    return "x" * max(0, payload - (len(encode(message(""))) - 4))


async def pace(turn: Callable[[], None], rate: float, ready: Callable[[], bool] = lambda: True) -> None:
    """Call `turn` for ever: RATE times a second, or whenever the loop comes by and it is ready for one."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        if rate:
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - loop.time()))
        else:
            await asyncio.sleep(0)
            while not ready():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.0002)
        turn()


async def one(batch: int, payload: int, rate: float, _: int) -> None:
    padding = padding_for(payload)
    async with Server(config(0)) as server:
        print(server.port, os.getpid(), flush=True)

        def turn() -> None:
            for _ in range(batch if not rate else 1):
                server.publish(message(padding))

        await pace(turn, rate)


async def threads(batch: int, payload: int, rate: float, count: int) -> None:
    library = ctypes.CDLL(compiled_library("thread_fanout"))
    library.fanout.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
    library.fanout_start(count)
    padding = padding_for(payload)
    sockets = array("i")
    start = websocket.PendingWebSocket.start

    def noting(self: websocket.PendingWebSocket, *arguments: object, **options: object) -> None:
        sockets.append(self._transport.get_extra_info("socket").fileno())
        start(self, *arguments, **options)  # type: ignore[arg-type]

    websocket.PendingWebSocket.start = noting  # type: ignore[method-assign]
    async with Server(config(0)) as server:
        print(server.port, os.getpid(), flush=True)

        def turn() -> None:
            texts = [encode(message(padding)) for _ in range(batch if not rate else 1)]
            data = b"".join(struct.pack(">BBH", 0x81, 126, len(text)) + text for text in texts)
            address, length = sockets.buffer_info()
            library.fanout(address, length, data, len(data))

        connected = -1
        while connected != len(sockets) or not connected:  # they subscribe, and are answered by the server itself
            connected = len(sockets)
            await asyncio.sleep(1.0)
        await pace(turn, rate)


async def workers(batch: int, payload: int, rate: float, count: int) -> None:
    """Be the supervisor."""
    bus = Bus(1000, 64 << 20)
    segment = Segment.create(Layout.of(count, *LAYOUT))
    loop = asyncio.get_running_loop()
    port = free_port()
    children = []
    for index in range(count):
        ours, theirs = socket.socketpair()
        await loop.create_unix_connection(
            lambda: WorkerPort(16 << 20, on_frame=bus.take, on_lost=bus.drop, on_end=bus.end), sock=ours
        )
        passed = [theirs.fileno(), segment.descriptor]
        line = [sys.executable, __file__, "worker", batch, payload, rate, count, index, port, *passed]
        line.append(segment.key.hex())
        with theirs:
            children.append(
                await asyncio.create_subprocess_exec(*map(str, line), pass_fds=passed, stdout=asyncio.subprocess.PIPE)
            )
    for child in children:
        assert child.stdout is not None
        await child.stdout.readline()
    print(port, os.getpid(), *[child.pid for child in children], flush=True)
    try:
        await asyncio.gather(*[child.wait() for child in children])
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()


async def worker(batch: int, payload: int, rate: float, count: int, *rest: str) -> None:
    index, port, descriptor, memory = map(int, rest[:4])
    loop = asyncio.get_running_loop()
    _, link = await loop.create_unix_connection(Link, sock=socket.socket(fileno=descriptor))
    segment = Segment(memory, Layout.of(count, *LAYOUT), bytes.fromhex(rest[4]))

    room = SharedRoom(segment, index)
    bans = SharedBans(segment)
    context = Worker(index=index, start=index, machine=1, link=link, room=room, bans=bans, sockets={})
    padding = padding_for(payload)
    async with Server(config(port), worker=context) as server:
        print("ready", flush=True)
        link.on_stop = lambda: os._exit(0)
        published = 0

        def taken() -> int:
            return int(server.stats()["channels"]["telemetry"]["publications"])  # type: ignore[index]

        def turn() -> None:
            nonlocal published
            for _ in range(batch if not rate else 1):
                server.publish(message(padding))
                published += 1

        def ready() -> bool:
            segment.set_messages(index, taken())
            return segment.messages() > count * (published - AHEAD * batch)

        if index and rate:
            await asyncio.Event().wait()
        if index:
            while True:  # the publisher waits for the slowest
                segment.set_messages(index, taken())
                await asyncio.sleep(0.0005)
        await asyncio.sleep(2.0)
        await pace(turn, rate, ready)


SERVERS: dict[str, Callable[..., Awaitable[None]]] = {
    "one": one, "threads": threads, "workers": workers, "worker": worker
}  # fmt: skip

if __name__ == "__main__":
    logging.getLogger("valtronics_fast").setLevel(logging.ERROR)  # the ends of workers are no news here
    kind, batch, payload, rate, count = sys.argv[1:6]
    uvloop.run(SERVERS[kind](int(batch), int(payload), float(rate), int(count), *sys.argv[6:]))
