"""A worker's end of the stream between it and the supervisor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from valtronics_fast.errors import ValtronicsError
from valtronics_fast.workers import frames
from valtronics_fast.workers.frames import FrameStream, frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from valtronics_fast.backplanes.log import Receiver

__all__ = ["Link", "LinkError"]


MAX_UNREAD = 16 << 20
"""Bytes that may wait for the supervisor; then it is asked nothing more."""

_OF_THE_LOG = frozenset({frames.ENTRY, frames.HEARD, frames.TOLD, frames.LOST})


class LinkError(ValtronicsError):
    """The supervisor is gone, or has refused what it was asked for."""


class Reader(Protocol):
    """Who takes what comes of the log."""

    receiver: Receiver

    def lost(self, reason: str, /) -> None:
        """The log is lost until it is opened again."""


class Link(FrameStream):
    """Asks the supervisor, and takes what it says.

    Attributes:
        settings: what the worker is to do; once it has come.
        ended: the supervisor is gone.
        on_stop: called when the worker is to stop.
        on_drain: called when it is to stop, with time for its clients.
        on_reload: called with a new configuration.
        on_agreed: called with whether all workers can take it.
        on_asked: answers another worker's question.
        log: who takes what comes of the log.
    """

    def __init__(self) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        self.settings: asyncio.Future[bytes] = loop.create_future()
        self.ended = asyncio.Event()
        self.on_stop: Callable[[], None] = lambda: None
        self.on_drain: Callable[[], None] = lambda: None
        self.on_reload: Callable[[bytes], None] = lambda _: None
        self.on_agreed: Callable[[bool], None] = lambda _: None
        self.on_asked: Callable[[bytes], Awaitable[bytes]] | None = None
        self.log: Reader | None = None
        self._number = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, kind: int, *parts: bytes) -> asyncio.Future[bytes]:
        """Ask the supervisor; return what it answers, or a LinkError: it refuses, or is gone."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if self.ended.is_set():
            answer.set_exception(LinkError("the supervisor is gone"))
            return answer
        if self.transport.get_write_buffer_size() > MAX_UNREAD:
            answer.set_exception(LinkError("the supervisor does not read"))
            return answer
        self._number = number = (self._number + 1) % 2**32
        self._waiting[number] = answer
        answer.add_done_callback(lambda _: self._waiting.pop(number, None))
        self.write(frame(kind, frames.NUMBER.pack(number), *parts))
        return answer

    def tell(self, kind: int, *parts: bytes) -> None:
        """Tell the supervisor something that has no answer."""
        self.write(frame(kind, *parts))

    def take(self, kind: int, body: bytes) -> None:
        """Take one frame."""
        if kind in _OF_THE_LOG:
            if self.log is not None:
                self._take_of_log(self.log, kind, body)
        elif kind == frames.ANSWER:
            self._take_answer(body)
        elif kind == frames.ASKED:
            self._run(self._tell(body))
        else:
            self._take_order(kind, body)

    def _take_of_log(self, log: Reader, kind: int, body: bytes) -> None:
        if kind == frames.ENTRY:
            lane, offset = frames.ENTRY_HEAD.unpack_from(body)
            log.receiver.received(lane, offset, body[frames.ENTRY_HEAD.size :])
        elif kind == frames.HEARD:
            log.receiver.heard(body[frames.OFFSET.size :], frames.OFFSET.unpack_from(body)[0])
        elif kind == frames.TOLD:
            log.receiver.told(body)
        else:
            log.lost(body.decode())

    def _take_answer(self, body: bytes) -> None:
        number, refused = frames.ANSWER_HEAD.unpack_from(body)
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return
        payload = body[frames.ANSWER_HEAD.size :]
        if refused:
            waiting.set_exception(LinkError(payload.decode()))
        else:
            waiting.set_result(payload)

    def _take_order(self, kind: int, body: bytes) -> None:
        if kind == frames.SETTINGS:
            if not self.settings.done():
                self.settings.set_result(body)
        elif kind == frames.STOP:
            self.on_stop()
        elif kind == frames.DRAIN:
            self.on_drain()
        elif kind == frames.RELOAD:
            self.on_reload(body)
        elif kind == frames.AGREED:
            self.on_agreed(body == b"\1")
        else:
            raise ValueError(f"no such frame: {kind}")

    async def _tell(self, body: bytes) -> None:
        """Answer another worker's question; nobody waits long for it."""
        if self.on_asked is not None:
            self.tell(frames.TELL, body[:4], await self.on_asked(body[4:]))

    def _run(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def closed(self) -> None:
        """The supervisor is gone."""
        self.ended.set()
        error = LinkError("the supervisor is gone")
        for waiting in (*self._waiting.values(), self.settings):
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # seen, whether anybody waits for it or not
        if self.log is not None:
            self.log.lost(str(error))
        self.on_stop()
