"""Where the commands of a page are run: a directory, free ports in place of those that stand there, real servers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

import pytest

from docs.pages import ROOT, Block
from process import environment
from services import free_port

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 40.0
PORTS = ("8000", "8001", "8100", "8101", "1883")
"""Those that the pages speak of: ours, those of a second server, and the broker's."""

SAVED = "exported.sh"


class World:
    """A directory with what the reader of a page has by then.

    Args:
        directory: an empty one.
        variables: of the reader's shell.
    """

    def __init__(self, directory: Path, **variables: str) -> None:
        self.directory = directory
        self.ports = {port: str(free_port()) for port in PORTS}
        (directory / ".venv").symlink_to(sys.prefix)
        (directory / "deploy").symlink_to(ROOT / "deploy")
        (directory / SAVED).touch()
        (directory / "websocket.cjs").write_text('globalThis.WebSocket ??= require("ws");\n')
        (directory / "mosquitto_pub").write_text(f"-h 127.0.0.1\n-p {self.ports['1883']}\n")
        self._environment = environment(
            PATH=f"{sys.prefix}/bin:{os.environ['PATH']}:/usr/sbin",
            XDG_CONFIG_HOME=str(directory),  # where mosquitto_pub looks for options
            NODE_PATH="/usr/share/nodejs",
            NODE_OPTIONS=f"--require {directory / 'websocket.cjs'}",  # an older Node has no WebSocket of its own
            VFAST_SERVER__PORT=self.ports["8000"],
            VFAST_HTTP__PORT=self.ports["8001"],
            **variables,
        )
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            self._end(process, signal.SIGKILL)

    def here(self, text: str) -> str:
        """Return a text with the ports of this place."""
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda match: self.ports[match[1]], text)

    def do(self, block: Block) -> str:
        """Do with a block what is to be done with it; return what it printed."""
        if block.doing == "file":
            (self.directory / block.mark.split()[1]).write_text(self.here(block.text))
        elif block.doing == "server":
            self.background(block.text)
        elif block.doing == "client":
            process = self.background(block.text, faults=False)
            self._running.remove(process)
            self._end(process, signal.SIGKILL)
        elif block.doing == "each":
            for line in filter(None, (line.partition("#")[0].strip() for line in block.text.splitlines())):
                process = self.background(line, says="Ctrl-C stops it", VFAST_SERVER__PORT="0", VFAST_HTTP__PORT="0")
                self._running.remove(process)
                assert self._end(process, signal.SIGINT) == 0, line
        elif block.doing != "none":
            return self.run(block.text)
        return ""

    def run(self, text: str) -> str:
        """Run commands to their end, with success, and return what they printed."""
        script = f". ./{SAVED}\n{self.here(text)}\nexport -p > {SAVED}\n"
        done = subprocess.run(
            ["sh", "-euc", script], cwd=self.directory, env=self._environment, capture_output=True, text=True,
            timeout=TIMEOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def background(self, text: str, says: str = "", *, faults: bool = True, **variables: str) -> subprocess.Popen[str]:
        """Run a command that does not end, and return it when it has said something.

        Args:
            text: the command.
            says: what it says; "" is anything.
            faults: what it says on the standard error counts as well.
            variables: of its environment.
        """
        settings = " ".join(f"{name}={value}" for name, value in variables.items())
        log = self.directory / f"log-{time.monotonic_ns()}"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["sh", "-euc", f". ./{SAVED}\nexec env {settings} {self.here(text).strip()}"],
                cwd=self.directory, env=self._environment, stdout=output,
                stderr=subprocess.STDOUT if faults else None, text=True, start_new_session=True,
            )  # fmt: skip
        self._running.append(process)
        deadline = time.monotonic() + TIMEOUT
        while not (said := log.read_text()) or says not in said:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{text} said only: {said}")
            time.sleep(0.02)
        return process

    def _end(self, process: subprocess.Popen[str], number: int) -> int:
        """End a command and what it started."""
        if process.poll() is None:
            os.killpg(process.pid, number)
        return process.wait(TIMEOUT)
