"""A Redis for tests, on a free port of 127.0.0.1."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from services import START_TIMEOUT, free_port, program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Redis:
    """A Redis server.

    Args:
        directory: an empty directory of its own.
        persistent: it keeps what it has over a kill (an append-only file, written at once).
        settings: further options, as in redis.conf.

    Attributes:
        port: stays the same when it is started again.
    """

    def __init__(self, directory: Path, *, persistent: bool = False, settings: Sequence[str] = ()) -> None:
        self.port = free_port()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
        if persistent:
            self._options += ["--appendonly", "yes", "--appendfsync", "always"]
        self._options += settings

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        if self._process is not None:
            raise RuntimeError("Redis is running")
        with (self._directory / "redis.log").open("ab") as log:
            command = [program("redis-server", "redis-server"), *self._options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(100).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"Redis did not start:\n{(self._directory / 'redis.log').read_text(errors='replace')}")

    def kill(self) -> None:
        """End it without warning (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hang, with its connections open, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
