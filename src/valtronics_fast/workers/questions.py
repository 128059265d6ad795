"""What one worker asks all others: the supervisor passes it on, and collects what they answer in time."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import msgspec

from valtronics_fast.workers import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from valtronics_fast.workers.port import WorkerPort

__all__ = ["Questions"]

PATIENCE = 1.0
"""Seconds that the others have to answer."""

MAX_UNANSWERED = 8
"""Questions that a worker may owe answers to; it gets no more until it answers."""


class _Question:
    __slots__ = ("answers", "asker", "missing", "number", "silent", "timer")

    def __init__(self, asker: WorkerPort, number: bytes) -> None:
        self.asker = asker
        self.number = number
        self.answers: dict[str, msgspec.Raw] = {}
        self.missing: dict[WorkerPort, int] = {}
        self.silent: list[str] = []
        self.timer: asyncio.TimerHandle | None = None


class Questions:
    """The questions that are open.

    Args:
        figures: what the supervisor adds to every answer.
    """

    def __init__(self, figures: Callable[[], Mapping[str, object]]) -> None:
        self._figures = figures
        self._open: dict[int, _Question] = {}
        self._owed: dict[WorkerPort, int] = {}
        self._number = 0

    def ask(self, asker: WorkerPort, body: bytes, others: Mapping[int, WorkerPort | None]) -> None:
        """Pass a question on.

        Args:
            asker: who asks, and gets the answers.
            body: the asker's number of it, and the question.
            others: the others by index; None: not running at present.
        """
        question = _Question(asker, body[:4])
        self._number = number = (self._number + 1) % 2**32
        self._open[number] = question
        asked = frames.frame(frames.ASKED, frames.NUMBER.pack(number), body[4:])
        for index, port in others.items():
            if port is None or self._owed.get(port, 0) >= MAX_UNANSWERED:
                question.silent.append(str(index))
            else:
                question.missing[port] = index
                self._owed[port] = self._owed.get(port, 0) + 1
                port.put(asked)
        question.timer = asyncio.get_running_loop().call_later(PATIENCE, self._finish, number)
        self._look(number)

    def told(self, port: WorkerPort, body: bytes) -> None:
        """Take an answer."""
        self._owed[port] = max(0, self._owed.get(port, 0) - 1)
        (number,) = frames.NUMBER.unpack_from(body)
        question = self._open.get(number)
        if question is None or port not in question.missing:  # it came too late
            return
        question.answers[str(question.missing.pop(port))] = msgspec.Raw(body[4:])
        self._look(number)

    def leave(self, port: WorkerPort) -> None:
        """A worker has ended, and answers nothing any more."""
        self._owed.pop(port, None)
        for number, question in list(self._open.items()):
            index = question.missing.pop(port, None)
            if index is not None:
                question.silent.append(str(index))
                self._look(number)

    def _look(self, number: int) -> None:
        if not self._open[number].missing:
            self._finish(number)

    def _finish(self, number: int) -> None:
        question = self._open.pop(number)
        if question.timer is not None:
            question.timer.cancel()
        silent = [*question.silent, *(str(index) for index in question.missing.values())]
        supervisor = {"pid": os.getpid(), "cpu_seconds": round(time.process_time(), 3), **self._figures()}
        answer = {"answers": question.answers, "silent": sorted(silent, key=int), "supervisor": supervisor}
        question.asker.put(frames.frame(frames.ANSWER, question.number, b"\0", msgspec.json.encode(answer)))
