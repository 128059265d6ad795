"""Writes that end as the test says, in a process where faulty_kernel.c stands before the C library."""

from __future__ import annotations

import atexit
import ctypes
import functools
import shutil
import tempfile
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from core.apart import apart
from interposed import build, preloading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.wire_client import Client

SOURCE = Path(__file__).with_suffix(".c")


class Way(IntEnum):
    """How bytes leave the server."""

    OUTBOX = 0
    TRANSPORT = 1


@functools.cache
def library() -> Path:
    """Return the compiled interposer."""
    folder = Path(tempfile.mkdtemp(prefix="faulty-kernel-"))
    atexit.register(shutil.rmtree, folder)
    target = folder / "faulty_kernel.so"
    build(SOURCE, target)
    return target


under_a_faulty_kernel = apart(lambda: preloading(library()))


class Kernel:
    """What the writes of each connection end like; an outcome is described in faulty_kernel.c."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.faulty_left.restype = ctypes.c_size_t
        self._library.faulty_calls.restype = ctypes.c_ulong
        self._kept: dict[tuple[int, Way], ctypes.Array[ctypes.c_long]] = {}

    def set(self, client: Client, way: Way, outcomes: Sequence[int] = (), *, repeats: bool = False) -> None:
        """Set what the next writes to a client end like; repeats: the last one is that of all that follow."""
        port = client.port
        array = (ctypes.c_long * len(outcomes))(*outcomes)
        self._library.faulty_set(port, int(way), array, ctypes.c_size_t(len(outcomes)), int(repeats))
        self._kept[port, way] = array

    def left(self, client: Client, way: Way) -> int:
        """Return how many outcomes have not been used."""
        return int(self._library.faulty_left(client.port, int(way)))

    def calls(self, client: Client, way: Way) -> int:
        """Return the writes since the last set()."""
        return int(self._library.faulty_calls(client.port, int(way)))
