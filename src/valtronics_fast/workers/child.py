"""A worker's process, as the supervisor sees it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from valtronics_fast.errors import ConfigError, StartError
from valtronics_fast.workers import frames
from valtronics_fast.workers.settings import Failed, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from valtronics_fast.workers.port import WorkerPort
    from valtronics_fast.workers.settings import WorkerSettings

__all__ = ["Child"]


class Child:
    """One place for a worker, and the process that fills it at present.

    Args:
        index: of the worker.

    Attributes:
        index: as given.
        port: leads to it; None while there is none.
        pid: of the process that was started last.
        starts: how often one was started.
        ready: it serves.
        fault: why it could not start, where it said so.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.port: WorkerPort | None = None
        self.pid = 0
        self.starts = 0
        self.ready = asyncio.Event()
        self.fault: Exception | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._began = 0.0

    async def start(self, settings: WorkerSettings, passed: Sequence[int], port: Callable[[], WorkerPort]) -> None:
        """Start a process.

        Args:
            settings: what it is told.
            passed: descriptors that it gets.
            port: makes the end of the stream to it.
        """
        self.ready.clear()
        self.fault = None
        self.starts += 1
        self._began = time.monotonic()
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = (str(theirs.fileno()), str(os.getpid()))
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "valtronics_fast.workers.worker",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *passed),
            )
        self.pid = self._process.pid
        _, self.port = await asyncio.get_running_loop().create_unix_connection(port, sock=ours)
        self.port.put(frames.frame(frames.SETTINGS, encode(settings)))

    async def ended(self) -> int:
        """Wait for the end of the process; return its exit code, or the number of a signal below 0."""
        return 0 if self._process is None else await self._process.wait()

    @property
    def lived(self) -> float:
        """Seconds since the process was started."""
        return time.monotonic() - self._began

    def note_failure(self, failed: Failed) -> None:
        """Note why the worker could not start."""
        self.fault = ConfigError(failed.problems) if failed.configured else StartError(failed.problems)

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
