"""A program on a terminal of its own."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from process import PROGRAM, TIMEOUT, environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal that a program runs on.

    Attributes:
        process: the program.
        written: everything that it has written so far.
    """

    def __init__(self, process: subprocess.Popen[bytes], master: int, slave: int) -> None:
        self.process = process
        self.written = ""
        self._master = master
        self._slave = slave
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        self.written += os.read(self._master, 65536).decode(errors="replace")
        self._more.set()

    async def shows(self, text: str, *, since: int = 0) -> str:
        """Wait until the text was written, and return everything from `since` on, without control sequences."""
        async with asyncio.timeout(TIMEOUT):
            while text not in _SEQUENCE.sub("", self.written[since:]):
                self._more.clear()
                await self._more.wait()
        return _SEQUENCE.sub("", self.written[since:])

    def press(self, keys: bytes) -> None:
        """Press keys; control characters do what they do on a terminal."""
        os.write(self._master, keys)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size, of which the program hears."""
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def modes(self) -> tuple[int, int]:
        """Return the input and local modes, in which raw terminals differ from others."""
        found = termios.tcgetattr(self._slave)
        return found[0], found[3]

    async def ended(self) -> int:
        """Wait for the program's end; return its exit code."""
        code = await asyncio.to_thread(self.process.wait, TIMEOUT)
        await asyncio.sleep(0)  # what it has written last is there, and read in the next turn
        self.close()
        while True:
            os.set_blocking(self._master, False)
            try:
                self.written += os.read(self._master, 65536).decode(errors="replace")
            except OSError:
                return code

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)


def _take_terminal() -> None:
    """Have standard input control the session, and Ctrl-C end it: tests in the background may ignore that signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@asynccontextmanager
async def on_a_terminal(
    *arguments: str, columns: int = 100, lines: int = 30, **variables: str
) -> AsyncIterator[Terminal]:
    """Run the program with a terminal for everything, in the foreground of a session of its own."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environment(), "TERM": "xterm", **variables},
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    terminal = Terminal(process, master, slave)
    try:
        yield terminal
    finally:
        process.kill()
        process.wait()
        terminal.close()
        os.close(master)
        os.close(slave)
