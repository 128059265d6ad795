"""The supervisor's end of the stream between it and a worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from valtronics_fast.workers.frames import FrameStream

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WorkerPort"]

SETTLED = 64 * 1024
"""Bytes that may wait for a worker that counts as reading."""

PATIENCE = 3.0
"""Seconds that a worker has to come down to that, when something large was sent to it."""


class WorkerPort(FrameStream):
    """Writes to a worker once a turn, and bounds what waits for it (`Port` in bus.py).

    Args:
        limit: bytes of entries that may wait.
        on_frame: takes what the worker sends; a ValueError of it ends the stream.
        on_lost: it does not read.
        on_end: the stream has ended.
    """

    def __init__(
        self,
        limit: int,
        *,
        on_frame: Callable[[WorkerPort, int, bytes], None],
        on_lost: Callable[[WorkerPort], None],
        on_end: Callable[[WorkerPort], None],
    ) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._on_end = on_end
        self._out: list[bytes] = []
        # Bytes that are not bounded by being lost, for whoever causes them waits for answers: of this turn, and since
        # nothing waited.
        self._put = self._extra = 0
        self._behind = False
        self._settling: list[tuple[Callable[[], None], asyncio.TimerHandle]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=SETTLED, low=SETTLED // 2)

    def pause_writing(self) -> None:
        """Much waits."""
        self._behind = True

    def resume_writing(self) -> None:
        """Little waits."""
        self._behind = False
        settling, self._settling = self._settling, []
        for done, timer in settling:
            timer.cancel()
            done()

    def put(self, data: bytes, /) -> None:
        """Write a frame soon, with others."""
        self._put += len(data)
        self.put_entry(data)

    def put_entry(self, data: bytes, /) -> None:
        """Write a frame soon that is lost together with all later ones when too much waits."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def settle(self, done: Callable[[], None], /) -> None:
        """Call back once little waits; a worker that does not read it in time is lost."""
        self._flush()
        if self._behind and not self.transport.is_closing():
            self._settling.append((done, self._loop.call_later(PATIENCE, self._give_up)))
        else:
            done()

    def _give_up(self) -> None:
        self._on_lost(self)
        self.resume_writing()
        self._behind = True

    def _flush(self) -> None:
        out, self._out = self._out, []
        if not out or self.transport.is_closing():
            return
        waiting = self.transport.get_write_buffer_size()
        self._extra = self._put + (self._extra if waiting else 0)
        self._put = 0
        self.transport.write(b"".join(out) if len(out) > 1 else out[0])
        if waiting > self._limit + self._extra:
            self._on_lost(self)

    def take(self, kind: int, body: bytes) -> None:
        """Hand on one frame."""
        self._on_frame(self, kind, body)

    def closed(self) -> None:
        """The worker is gone."""
        self._out.clear()
        self.resume_writing()
        self._on_end(self)
