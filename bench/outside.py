"""What the programs share that measure a server from outside: load programs, ports, processes pinned to a CPU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["MAX_WAITED", "compiled", "compiled_library", "first_line", "free_port", "pinned", "verdict", "wait_for"]

LOAD = Path(__file__).resolve().parent / "load"
START_TIMEOUT = 30.0
MAX_WAITED = 0.05
"""The share of a run's time that its processes may have spent waiting for a CPU that other programs had."""


def compiled(name: str, *options: str) -> str:
    """Return the path of a load program, compiled anew if a source is newer."""
    program = Path(tempfile.gettempdir()) / "valtronics-bench" / name
    sources = (LOAD / f"{name}.c", LOAD / "load.h")
    if not program.exists() or program.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        program.parent.mkdir(exist_ok=True)
        line = [os.environ.get("CC", "cc"), "-O2", "-Wall", "-Wextra", *options, "-o", str(program), str(sources[0])]
        subprocess.run(line, check=True)
    return str(program)


def compiled_library(name: str) -> str:
    """Return the path of a shared library."""
    return compiled(name, "-shared", "-fPIC", "-pthread")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def pinned(cpu: int, line: Sequence[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program on one CPU, and end it with the block."""
    with subprocess.Popen(["taskset", "-c", str(cpu), *line], **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()


def first_line(server: subprocess.Popen[bytes]) -> str:
    """Return what a server says first, its port; ends the program when it says nothing."""
    line = server.stdout.readline().decode().strip() if server.stdout else ""
    return line or sys.exit(f"no server: {server.args!r}")


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server listens."""
    deadline = time.monotonic() + START_TIMEOUT
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"no server: {server.args!r}")


def verdict(*, faults: str, right: str, foreign: float) -> int:
    """Print whether a comparison's figures may be used; return the exit code.

    Args:
        faults: what is wrong with what was measured; "": nothing.
        right: what was found to be right, else.
        foreign: the share of a run for which another program had a CPU, at most.
    """
    if faults:
        print(faults)
        return 1
    print(right)
    if foreign > MAX_WAITED:
        print(f"NOT USABLE: another program had a CPU for {foreign:.0%} of the window")
        return 2
    return 0
