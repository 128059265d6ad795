"""A NATS server with JetStream for tests, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from services import START_TIMEOUT, free_port, program

if TYPE_CHECKING:
    from pathlib import Path


class Nats:
    """A NATS server.

    Args:
        directory: an empty directory of its own.
        persistent: it keeps what it has over a kill.
        settings: further lines of its configuration.

    Attributes:
        port: stays the same when it is started again.
    """

    def __init__(self, directory: Path, *, persistent: bool = False, settings: str = "") -> None:
        self.port = free_port()
        self._directory = directory
        self._persistent = persistent
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = directory / "nats.conf"
        self._settings.write_text(
            f'listen: "127.0.0.1:{self.port}"\nserver_name: "n{self.port}"\n'
            f'jetstream {{ store_dir: "{directory}/store" }}\n{settings}\n'
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers and has read what it has stored."""
        if self._process is not None:
            raise RuntimeError("NATS is running")
        log = self._directory / "nats.log"
        with log.open("wb") as file:
            command = [program("nats-server", "nats-server"), "-c", str(self._settings)]
            self._process = subprocess.Popen(command, stdout=file, stderr=file)
        deadline = time.monotonic() + START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            if b"Server is ready" in log.read_bytes():
                try:
                    socket.create_connection(("127.0.0.1", self.port), 1).close()
                except OSError:
                    pass
                else:
                    return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"NATS did not start:\n{log.read_text(errors='replace')}")

    def kill(self) -> None:
        """End it without warning (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            if not self._persistent:
                shutil.rmtree(self._directory / "store", ignore_errors=True)

    def freeze(self) -> None:
        """Let it hang, with its connections open, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # all its threads stand

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
