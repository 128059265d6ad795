"""The main program of a worker: a server that is told by its supervisor what to do.

    python -m valtronics_fast.workers.worker DESCRIPTOR PID

DESCRIPTOR is its end of the stream, PID the supervisor. It ends with 0 when it was told to stop, with 1 when it could
not start or the supervisor is gone. Signals are the supervisor's business: a terminal or a service manager sends them
to all processes, and each would stop twice.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from valtronics_fast.config import Config
from valtronics_fast.descriptors import raise_descriptor_limit
from valtronics_fast.errors import ConfigError
from valtronics_fast.logging import fields, setup
from valtronics_fast.server import Server
from valtronics_fast.workers import frames
from valtronics_fast.workers.context import Worker
from valtronics_fast.workers.link import Link, LinkError
from valtronics_fast.workers.segment import Segment
from valtronics_fast.workers.settings import Failed, Reloaded, WorkerSettings, decode, encode
from valtronics_fast.workers.shared_bans import SharedBans
from valtronics_fast.workers.shared_room import SharedRoom
from valtronics_fast.workers.watchdog import interval

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "serve"]

REPORT_INTERVAL = 1.0
"""Seconds between two reports of how many messages were sent."""

_PR_SET_PDEATHSIG = 1

_log = logging.getLogger(__name__)


def die_with(parent: int) -> None:
    """Have this process killed when its parent ends, however that ends, also while this one is stopped or hangs.

    A worker without a supervisor would keep a part of the port, and what connects there would never be served well.
    """
    with suppress(AttributeError, OSError):  # a system without prctl: the end of the stream tells it, too
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


async def serve(sock: socket.socket) -> int:
    """Serve until the supervisor says otherwise; return the exit code."""
    loop = asyncio.get_running_loop()
    order: asyncio.Future[int] = loop.create_future()
    configurations: asyncio.Queue[bytes] = asyncio.Queue()
    verdicts: asyncio.Queue[bool] = asyncio.Queue()

    def give(kind: int) -> None:
        if not order.done():
            order.set_result(kind)

    link = Link()
    link.on_stop = partial(give, frames.STOP)
    link.on_drain = partial(give, frames.DRAIN)
    link.on_reload = configurations.put_nowait
    link.on_agreed = verdicts.put_nowait
    await loop.create_unix_connection(lambda: link, sock=sock)  # orders may come right behind the settings
    try:
        settings = decode(WorkerSettings, await link.settings)
    except LinkError:
        return 1
    config = settings.config
    setup(config.logging.level, config.logging.format, worker=settings.index)
    segment = Segment(settings.segment, settings.layout, settings.key)
    beating = asyncio.create_task(_beat(segment, settings.index, config.server.worker_timeout), name="beat")
    room = SharedRoom(segment, settings.index)
    sockets = {name: [socket.socket(fileno=each) for each in given] for name, given in settings.sockets.items()}
    worker = Worker(
        index=settings.index,
        start=settings.start,
        machine=settings.machine,
        link=link,
        room=room,
        bans=SharedBans(segment),
        sockets=sockets,
    )
    try:
        server = Server(config, worker=worker)
        try:
            await server.start()
        except BaseException:
            await server.stop()
            raise
    except (ConfigError, OSError) as error:
        problems = list(error.problems) if isinstance(error, ConfigError) else [f"the server could not start: {error}"]
        link.tell(frames.FAILED, encode(Failed(problems, isinstance(error, ConfigError))))
        link.transport.close()
        await link.ended.wait()
        return 1
    link.tell(frames.READY)
    tasks = [
        asyncio.create_task(_report(server, room), name="report"),
        asyncio.create_task(_reload_for_ever(configurations, verdicts, server, settings.index, link), name="reload"),
    ]
    how = await order
    for task in tasks:
        task.cancel()
    code = 1 if link.ended.is_set() else 0
    await (server.drain() if how == frames.DRAIN else server.stop())
    beating.cancel()
    return code


async def _beat(segment: Segment, index: int, patience: float) -> None:
    """Show the supervisor that the event loop turns."""
    while patience:
        segment.beat(index)
        await asyncio.sleep(interval(patience))


async def _reload_for_ever(
    configurations: asyncio.Queue[bytes], verdicts: asyncio.Queue[bool], server: Server, index: int, link: Link
) -> None:
    """Take what the supervisor has found to be in order, as soon as all workers can."""
    while True:
        config = decode(Config, await configurations.get())
        if not await _reload(config, verdicts, server, link):
            link.on_stop()
        setup(server.config.logging.level, server.config.logging.format, worker=index)
        raise_descriptor_limit(server.config.limits.connections)


async def _reload(config: Config, verdicts: asyncio.Queue[bool], server: Server, link: Link) -> bool:
    """Take a configuration, or none does; False: the others have it, and this worker is to be started again with it."""
    decided = False

    async def agreed() -> bool:
        nonlocal decided
        link.tell(frames.RELOADED, encode(Reloaded([])))
        decided = await verdicts.get()
        return decided

    try:
        await server.reload(config, agreed=agreed)
    except ConfigError as error:
        problems = list(error.problems)
    except Exception as error:  # noqa: BLE001 - logged and told
        _log.exception("reloading failed")
        problems = [repr(error)]
    else:
        return True
    if not decided:
        link.tell(frames.RELOADED, encode(Reloaded(problems)))
        decided = await verdicts.get()
    if decided:
        _log.error("a worker could not reload, and ends", extra=fields(problems="; ".join(problems)))
    return not decided


async def _report(server: Server, room: SharedRoom) -> None:
    """Have the first worker know how many messages this one has sent."""
    while True:
        room.messages(server.deliveries())
        await asyncio.sleep(REPORT_INTERVAL)


def main(arguments: Sequence[str]) -> int:
    """Run a worker to its end; return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with(int(arguments[1]))
    faulthandler.enable()  # where it crashed, or hung, stands in the log
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        return loop.run(serve(socket.socket(fileno=int(arguments[0]))))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
