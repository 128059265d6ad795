"""A worker's process by itself; with its supervisor: test_supervisor.py."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from harness import TIMEOUT

MODULE = "valtronics_fast.workers.worker"


async def run(sock: socket.socket, parent: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULE, str(sock.fileno()), str(parent), pass_fds=[sock.fileno()]
    )


async def test_a_worker_whose_supervisor_is_gone_already_ends() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = await run(theirs, os.getpid() + 1)
        assert await asyncio.wait_for(process.wait(), TIMEOUT) == 1


async def test_a_worker_that_is_told_nothing_ends_with_the_stream() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = await run(theirs, os.getpid())
    ours.close()
    assert await asyncio.wait_for(process.wait(), TIMEOUT) == 1
