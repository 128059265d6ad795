"""A worker's process, as the supervisor sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from valtronics_fast.errors import ConfigError, StartError
from valtronics_fast.workers import frames
from valtronics_fast.workers.settings import Failed, encode
from valtronics_fast.workers.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from valtronics_fast.workers.port import WorkerPort
    from valtronics_fast.workers.settings import WorkerSettings

__all__ = ["Child"]

PARTING = 2.0
"""Seconds that a process has to say where it hangs, before it is killed."""


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
        self._watchdog: Watchdog | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._began = 0.0

    async def start(
        self, settings: WorkerSettings, passed: Sequence[int], port: Callable[[], WorkerPort], beats: int = 0
    ) -> None:
        """Start a process.

        Args:
            settings: what it is told.
            passed: descriptors that it gets.
            port: makes the end of the stream to it.
            beats: that its predecessors have counted.
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
        self._watchdog = Watchdog(self.pid, beats)
        _, self.port = await asyncio.get_running_loop().create_unix_connection(port, sock=ours)
        self.port.put(frames.frame(frames.SETTINGS, encode(settings)))

    async def ended(self) -> int:
        """Wait for the end of the process; return its exit code, or the number of a signal below 0."""
        return 0 if self._process is None else await self._process.wait()

    @property
    def lived(self) -> float:
        """Seconds since the process was started."""
        return time.monotonic() - self._began

    def look(self, beats: int, elapsed: float) -> float:
        """Return for how many seconds the process has been silent (Watchdog); 0.0: it is being ended."""
        return 0.0 if self._watchdog is None else self._watchdog.look(beats, elapsed)

    def note_failure(self, failed: Failed) -> None:
        """Note why the worker could not start."""
        self.fault = ConfigError(failed.problems) if failed.configured else StartError(failed.problems)

    def abort(self) -> None:
        """End a process that hangs: it tells where (`faulthandler`), or is killed if it can't do even that."""
        self._watchdog = None
        _send(self._process, signal.SIGABRT)
        asyncio.get_running_loop().call_later(PARTING, _send, self._process, signal.SIGKILL)

    def kill(self) -> None:
        """End the process at once."""
        self._watchdog = None
        _send(self._process, signal.SIGKILL)


def _send(process: asyncio.subprocess.Process | None, number: signal.Signals) -> None:
    """Send a signal to a process, if it is still there."""
    if process is not None and process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)
