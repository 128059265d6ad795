"""A Redis for tests, on a free port of 127.0.0.1; sentinels that watch one, and clusters."""

from __future__ import annotations

import os
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
        sentinel: its configuration, when it is a sentinel.
        tls: options; then it speaks nothing but TLS.

    Attributes:
        port: stays the same when it is started again.
    """

    def __init__(
        self,
        directory: Path,
        *,
        persistent: bool = False,
        settings: Sequence[str] = (),
        sentinel: str = "",
        tls: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
        self._options += ["--repl-diskless-sync-delay", "0"]
        if persistent:
            self._options += ["--appendonly", "yes", "--appendfsync", "always"]
        self._options += settings
        self._speaks_tls = bool(tls)
        if tls:
            self._options += ["--port", "0", "--tls-port", str(self.port), *tls]
        if sentinel:
            file = directory / "sentinel.conf"
            file.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {directory}\n{sentinel}")
            self._options = [str(file), "--sentinel"]

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
                    if self._speaks_tls:
                        return
                    connection.sendall(b"PING\r\n")
                    if connection.recv(100).startswith((b"+PONG", b"-NOAUTH")):
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

    def end(self) -> None:
        """End it in order (SIGTERM): what it has answered for, it has also told to who is subscribed."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Let it hang, with its connections open, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # all its threads stand

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class SentinelSite:
    """A Redis, a replica of it, and three sentinels that make the replica the master when the first one is gone.

    Args:
        directory: an empty directory of its own.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.master = Redis(self._place("master"))
        more = ["--replicaof", "127.0.0.1", str(self.master.port)]
        self.replica = Redis(self._place("replica"), settings=more)
        watched = (
            f"sentinel monitor main 127.0.0.1 {self.master.port} 2\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
        )
        self.sentinels = [Redis(self._place(f"sentinel{n}"), sentinel=watched) for n in range(3)]

    def _place(self, name: str) -> Path:
        place = self._directory / name
        place.mkdir()
        return place

    def __enter__(self) -> Self:
        for server in (self.master, self.replica, *self.sentinels):
            server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.master, self.replica, *self.sentinels):
            server.kill()

    @property
    def url(self) -> str:
        """Where the sentinels are."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{server.port}' for server in self.sentinels)}/main"


class RedisCluster:
    """A cluster of three masters, each with a replica.

    Args:
        directory: an empty directory of its own.
    """

    def __init__(self, directory: Path) -> None:
        self.servers: list[Redis] = []
        for number in range(6):
            place = directory / f"node{number}"
            place.mkdir()
            bus = str(free_port())
            settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", bus]
            self.servers.append(Redis(place, settings=settings))

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        places = [f"127.0.0.1:{server.port}" for server in self.servers]
        command = [program("redis-cli", "redis-tools"), "--cluster", "create", *places]
        command += ["--cluster-replicas", "1", "--cluster-yes"]
        for _ in range(3):  # it gives up soon when a machine is busy
            made = subprocess.run(command, capture_output=True, timeout=60, check=False)
            if made.returncode == 0:
                return self
        raise RuntimeError(f"no cluster:\n{made.stdout.decode()}")

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()

    @property
    def url(self) -> str:
        """Where its nodes are."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{server.port}' for server in self.servers)}"
