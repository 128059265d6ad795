"""The cluster: a log, and nodes that are processes of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import jwt
import orjson

from nats_server import Nats
from redis_server import Redis
from services import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "cluster-secret-0123456789abcdef0123456789abcdef"
API_KEY = "cluster-api-key-0123456789"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
DAY = 86400

# Everything that isn't here has its default; all clients come from one address, as from behind a load balancer.
SETTINGS = """\
[server]
port = {port}
[http]
port = {http_port}
api_key = "{api_key}"
[auth]
secret = "{secret}"
[limits]
connections = 5000
connection_rate = "0"
[system]
interval = "0"
[backplane]
url = "{url}"
[logging]
format = "json"
"""


def token(user: str) -> str:
    """Return a token that every node accepts."""
    return jwt.encode({"sub": user, "exp": int(time.time() + DAY)}, SECRET, algorithm="HS256")


class Log(Protocol):
    """What carries messages between the nodes: started when it is made, with data that outlive a kill."""

    port: int

    def start(self) -> None:
        """Start it again on its port."""

    def kill(self) -> None:
        """End it without warning."""

    def freeze(self) -> None:
        """Let it hang until `thaw`."""

    def thaw(self) -> None:
        """Let it go on."""


def make_log(kind: str, directory: Path) -> Log:
    """Return a log that is running.

    Args:
        kind: a key of LOGS.
        directory: an empty directory of its own.
    """
    directory.mkdir()
    log = LOGS[kind](directory, persistent=True)
    log.start()
    return log


def wipe_log(directory: Path) -> None:
    """Delete the data of a log that is not running: what stands in directories of its own."""
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


LOGS = {"nats": Nats, "redis": Redis}
"""The logs that there are: scheme of their URL -> class."""


class Node:
    """A server process. Its ports stay the same when it is started again.

    Args:
        name: of its files.
        directory: where they are.
        url: of the backplane.

    Attributes:
        port, http_port: where it listens.
        log: the file that its standard error goes to.
    """

    def __init__(self, name: str, directory: Path, url: str) -> None:
        self.name = name
        self.port, self.http_port = free_port(), free_port()
        self.log = directory / f"{name}.log"
        self._settings = directory / f"{name}.toml"
        self._settings.write_text(
            SETTINGS.format(port=self.port, http_port=self.http_port, api_key=API_KEY, secret=SECRET, url=url)
        )
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the process; it serves when `ready` returns."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VFAST_")}
        command = [sys.executable, "-m", "valtronics_fast", "--config", str(self._settings)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=log)

    async def ready(self) -> None:
        """Wait until it serves."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self.alive():
            try:
                await asyncio.to_thread(self.get, "/health/ready")
            except OSError:  # urllib's errors, 503 included, are some
                pass
            else:
                return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text()[-3000:]}")

    async def start(self) -> None:
        """Start, and wait until it serves."""
        self.launch()
        await self.ready()

    def kill(self) -> None:
        """End it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Let it hang, with its connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    async def stop(self) -> None:
        """End it as an operator does (SIGTERM)."""
        process = self._process
        if process is None:
            return
        self._signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, STOP_TIMEOUT)

    def _signal(self, number: signal.Signals) -> None:
        if self.alive() and self._process is not None:
            self._process.send_signal(number)

    def alive(self) -> bool:
        """Say whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def cpu(self) -> float:
        """Return the seconds of CPU time that it has used."""
        assert self._process is not None
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def get(self, path: str) -> dict[str, Any]:
        """Return the answer of the HTTP port."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", headers={"X-API-Key": API_KEY})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return orjson.loads(answer.read())  # type: ignore[no-any-return]

    def faults(self) -> Iterator[str]:
        """Yield the lines of the log that tell of a fault of the program."""
        for line in self.log.read_text(errors="replace").splitlines():
            if '"traceback"' in line or '"level":"error"' in line or not line.startswith("{"):
                yield line
