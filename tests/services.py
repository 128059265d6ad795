"""Real servers for tests, each on a free port of 127.0.0.1, started and ended by a `with` block.

A server that is missing fails the test: a suite that skips what it can't start proves nothing.
"""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

START_TIMEOUT = 20.0


PORTS = range(10_000, 32_000)
"""Below those that the kernel gives to connections: one of them may be taken at any moment."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nothing listens at present."""
    chance = random.SystemRandom()  # hypothesis seeds the other one, so that two processes would pick the same
    while True:
        port = chance.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def program(name: str, package: str) -> str:
    """Return the path of a program; Debian keeps servers in /usr/sbin, which is not on every PATH."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise FileNotFoundError(f"{name} is needed for this test (Debian package: {package})")
    return path


class Mosquitto:
    """An MQTT broker.

    Args:
        directory: an empty directory of its own, for the configuration and the log.
        users: name -> password; None: everyone may connect.
        certificate: the files of the certificate chain and its key; None: no TLS.
        settings: further lines of mosquitto.conf.

    Attributes:
        port: stays the same when the broker is started again.
    """

    def __init__(
        self,
        directory: Path,
        *,
        users: Mapping[str, str] | None = None,
        certificate: tuple[Path, Path] | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        self._directory = directory
        self._users = users
        self._process: subprocess.Popen[bytes] | None = None
        # As root it would become the user "mosquitto", who can't read a test's directory.
        lines = [f"listener {self.port} 127.0.0.1", "user root", "persistence false", "log_dest stderr"]
        lines.append("allow_anonymous true" if users is None else "allow_anonymous false")
        if users is not None:
            passwords = directory / "passwords"
            passwords.touch(mode=0o600)
            for name, password in users.items():
                command = [program("mosquitto_passwd", "mosquitto"), "-b", str(passwords), name, password]
                subprocess.run(command, check=True, capture_output=True)
            lines.append(f"password_file {passwords}")
        if certificate is not None:
            lines += [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
        self._settings = directory / "mosquitto.conf"
        self._settings.write_text("\n".join([*lines, *settings, ""]))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The broker's URL, without a user."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the broker, and return when it accepts connections."""
        if self._process is not None:
            raise RuntimeError("the broker is running")
        command = [program("mosquitto", "mosquitto"), "-c", str(self._settings)]
        with (self._directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self.stop()
        raise RuntimeError(f"mosquitto did not start:\n{self.log()}")

    def kill(self) -> None:
        """End the broker without warning (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let the broker hang, with its connections open (SIGSTOP), until `thaw` or the end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen broker go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the broker."""
        if self._process is not None:
            self._process.terminate()
            self.thaw()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def log(self) -> str:
        """Return what the broker has written so far."""
        return (self._directory / "mosquitto.log").read_text(errors="replace")

    def publish(self, topic: str, payload: str | bytes = b"", *, qos: int = 1, retain: bool = False) -> None:
        """Publish with mosquitto_pub, as the first of the users; returns when the broker has the message."""
        command = [program("mosquitto_pub", "mosquitto-clients"), "-h", "127.0.0.1", "-p", str(self.port)]
        command += ["-q", str(qos), "-t", topic, "-s", *(["-r"] if retain else [])]
        if self._users is not None:
            name, password = next(iter(self._users.items()))
            command += ["-u", name, "-P", password]
        data = payload.encode() if isinstance(payload, str) else payload
        # An empty standard input is no message for "-s"; "-n" is the empty one.
        if not data:
            command[command.index("-s")] = "-n"
        subprocess.run(command, input=data, check=True, capture_output=True, timeout=30)
