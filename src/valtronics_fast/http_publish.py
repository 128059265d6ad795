r"""The body of `POST /api/v1/publish`: bytes → texts of messages → the hub, and a count of what became of them.

It knows no HTTP, no socket and no clock: `http_api` reads the body and turns the counts into an answer, `http_flow`
says how much of it is published when. Every accepted shape is cut into the texts of single messages, which the core
decodes, judges and publishes (admission.pyx):

    {"type": ...}                 one message            ┐
    {"messages": [{...}, ...]}    several messages       ├──► texts ──► work ──► permit ──► publish
    {...}\n{...}\n                NDJSON, as it arrives  ┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from valtronics_fast._core.admission import Admission
from valtronics_fast._core.slices import elements, members
from valtronics_fast._core.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from valtronics_fast._core.scope import Grant
    from valtronics_fast.producers.base import Publish

__all__ = ["MAX_LINE", "MAX_REJECTED", "PIECE", "BodyError", "Intake", "JsonBody", "NdjsonBody"]

MAX_LINE = 64 * 1024
"""Bytes of one NDJSON line; a longer one is refused and skipped, whatever its length."""

MAX_REJECTED = 100
"""Refused messages that an answer names; the rest are only counted."""

PIECE = 64 * 1024
"""Bytes of a JSON body that are cut into messages at a time."""

MAX_MEMBERS = 64
"""Members that a JSON body with `messages` may have."""


class BodyError(Exception):
    """The body as a whole can't be used; none of it was published.

    Attributes:
        code: INVALID_JSON or INVALID_MESSAGE.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        super().__init__(message)


def _not_json() -> BodyError:
    return BodyError(ErrorCode.INVALID_JSON, "the body is not valid JSON")


class JsonBody:
    """A JSON body: one message, or `{"messages": [...]}`.

    Nothing of it is published before all of it is known to be JSON: so it is gone through twice, and decoded twice,
    piece by piece. To keep what was decoded would cost more than that: the garbage collector looks at all of it.

    Args:
        text: the body.

    Raises:
        BodyError: it is neither. That can turn out while `check` is gone through, too.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._messages: int | None = None  # where the array begins; None: the body is one message
        self._pieces: list[list[bytes]] = []
        try:
            found = members(text, MAX_MEMBERS)
        except ValueError:
            raise _not_json() from None
        if found is None:
            self._look_at_the_whole()
            return
        spans = {_decoded(key): (begin, end) for key, begin, end in found}
        if "type" in spans or "messages" not in spans:
            return  # `check` decodes it
        self._messages = spans["messages"][0]
        is_list = text[self._messages] == ord("[")
        for _, begin, end in found:
            if begin != self._messages or not is_list:
                _decoded(text[begin:end])
        if not is_list:
            raise BodyError(ErrorCode.INVALID_MESSAGE, '"messages" is not an array')

    def _look_at_the_whole(self) -> None:
        """Judge what is no object, or has too many members to be anything but a message."""
        document = _decoded(self._text)
        if not isinstance(document, dict) or not ("type" in document or "messages" not in document):
            raise BodyError(ErrorCode.INVALID_MESSAGE, 'the body is no message and no {"messages": [...]}')

    def check(self) -> Iterator[None]:
        """Decode everything; there may be other work after each piece.

        Raises:
            BodyError: it is not JSON.
        """
        for texts in self._cut():
            for text in texts:
                _decoded(text)
            self._pieces.append(texts)
            yield
        self._text = b""

    def pieces(self) -> list[list[bytes]]:
        """Return the texts of the messages, some in each piece; when `check` is through."""
        return self._pieces

    def _cut(self) -> Iterator[list[bytes]]:
        if self._messages is None:
            yield [self._text]
            return
        at = self._messages
        while at >= 0:
            try:
                texts, at = elements(self._text, at, PIECE)
            except ValueError:
                raise _not_json() from None
            yield texts


def _decoded(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _not_json() from None


class NdjsonBody:
    """An NDJSON body, which may come in pieces that end anywhere. Of what is not whole at most a line is kept."""

    def __init__(self) -> None:
        self._line = b""  # the unfinished last line of what was fed
        self._skipping = False  # inside a line that was refused for its length

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that this piece completes; of one that is too long, once, its beginning."""
        lines = (self._line + data).split(b"\n")
        self._line = lines.pop()
        if self._skipping and lines:
            del lines[0]
            self._skipping = False
        if len(self._line) > MAX_LINE:
            if not self._skipping:
                lines.append(self._line)
            self._skipping = True
        if self._skipping:
            self._line = b""
        return lines

    def finish(self) -> list[bytes]:
        """Return the last line, where no newline ended it."""
        line, self._line = self._line, b""
        return [line]


class Intake(Admission):
    """The messages of one request on their way to the hub.

    Memory is bounded: what is `waiting` is one piece of a body, and MAX_REJECTED refusals are kept.

    Args:
        publish: hands one data message to the hub.
        grant: what the sender may publish; it may be replaced on the way.
        lines: the texts are lines of at most MAX_LINE bytes; else they are a JSON body's.
    """

    def __init__(self, publish: Publish, grant: Grant, *, lines: bool) -> None:
        super().__init__(publish, grant, max_rejected=MAX_REJECTED, max_text=MAX_LINE if lines else 0)
        self._texts: list[bytes] = []
        self._at = 0

    @property
    def waiting(self) -> bool:
        """Whether there is something to publish."""
        return self._at < len(self._texts)

    def put(self, texts: list[bytes]) -> None:
        """Have these published next; nothing else may be waiting."""
        self._texts, self._at = texts, 0

    def publish(self, until: float, most: int) -> int:
        """Publish what is waiting, up to a time (monotonic seconds) and a number; return how many were handled."""
        before = self.handled
        self._at = self.work(self._texts, self._at, until, most)
        return self.handled - before

    def answer(self) -> dict[str, object]:
        """Return the counts as the HTTP answer shows them."""
        return {
            "accepted": self.accepted,
            "matched": self.matched,
            "rejected": self.rejected,
            "rejected_total": self.rejected_total,
        }
