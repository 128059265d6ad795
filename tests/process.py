"""The server as a process of its own, for the tests of what is the process's: what it prints, signals, sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from services import free_port
from variables import without_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"
PROGRAM = (sys.executable, "-m", "valtronics_fast")
TIMEOUT = 30.0


def environment(**variables: str) -> dict[str, str]:
    """Return the environment without the settings of whoever runs the tests."""
    return {**without_settings(), **variables}


async def finished(*arguments: str, given: bytes = b"", **variables: str) -> tuple[int, str, str]:
    """Run the program to its end, with this on its standard input; return its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**variables),
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(given), TIMEOUT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    assert b"Traceback" not in err
    return process.returncode, out.decode(), err.decode()


class Running:
    """A server that has printed its banner.

    Attributes:
        banner: what it has written to the standard output so far.
        log: and to the standard error.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.banner = self.log = ""
        self._reading = asyncio.create_task(self._read_log())

    async def _read_log(self) -> None:
        """Read on, so that a full pipe does not hold it up."""
        assert self.process.stderr is not None
        while piece := await self.process.stderr.read(65536):
            self.log += piece.decode()

    async def read_banner(self) -> None:
        """Read up to the empty line at its end; it may come in several pieces."""
        assert self.process.stdout is not None
        while not self.banner.endswith("\n\n"):
            piece = await asyncio.wait_for(self.process.stdout.read(65536), TIMEOUT)
            if not piece:
                await self._reading
                pytest.fail(f"the server ended: {self.log}")
            self.banner += piece.decode()

    def found(self, pattern: str) -> str:
        """Return the group of a pattern in the banner."""
        match = re.search(pattern, self.banner)
        assert match, self.banner
        return match[1]

    @property
    def url(self) -> str:
        return self.found(r"WebSocket +(wss?://\S+)")

    @property
    def http(self) -> str:
        return self.found(r"HTTP +(http://\S+?)/health/ready")

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log, which is in JSON."""
        return [json.loads(line) for line in self.log.splitlines(keepends=True) if line.endswith("\n")]

    async def logs(self, message: str, times: int = 1) -> dict[str, Any]:
        """Wait for a line of the log, and return it."""
        async with asyncio.timeout(TIMEOUT):
            while len(found := [line for line in self.lines() if line["message"] == message]) < times:
                await asyncio.sleep(0.01)
        return found[-1]

    def tell(self, number: int) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end and return the exit code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            self.banner += (await self.process.stdout.read()).decode()
            await self._reading
            return await self.process.wait()

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.tell(number)
        return await self.ended()


@contextlib.asynccontextmanager
async def running(*arguments: str, descriptors: Sequence[int] = (), **variables: str) -> AsyncIterator[Running]:
    """Run a server; on ports of its own unless the arguments name them.

    Args:
        arguments: of the command line.
        descriptors: that it inherits.
        variables: of its environment.
    """
    if not {"--port", "--fd"} & set(arguments):
        arguments = (*arguments, "--port", str(free_port()), "--http-port", str(free_port()))
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**variables),
        pass_fds=descriptors,
    )
    server = Running(process)
    try:
        await server.read_banner()
        yield server
    finally:
        if process.returncode is None:
            process.kill()
            await server.ended()


async def first_message(url: str, token: str) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(url, additional_headers=headers, open_timeout=TIMEOUT) as client:
        message = json.loads(await asyncio.wait_for(client.recv(), TIMEOUT))
    assert isinstance(message, dict)
    return message


def pasted(banner: str, program: str) -> tuple[str, str]:
    """Return the URL and the token of the line for a program."""
    (line,) = (line for line in banner.splitlines() if line.strip().startswith(f"{program} "))
    words = shlex.split(line)
    (url,) = (word for word in words if "://" in word)
    (header,) = (word for word in words if word.startswith("Authorization: Bearer "))
    return url, header.removeprefix("Authorization: Bearer ")
