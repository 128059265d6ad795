"""Posting messages to the HTTP API: as fast as the server takes them, and not faster (docs/http-api.md, Publishing)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from valtronics_fast._core.wire import ERROR_NAMES, ERROR_TEXTS, ErrorCode
from valtronics_fast.commands.api import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from valtronics_fast.commands.api import Answer, Api

__all__ = ["MAX_LINE", "MAX_TOLD", "Poster", "pieces"]

MAX_LINE: Final = 1 << 20
"""Bytes of a line of input; servers take 64 KiB, unless they are configured otherwise."""

MAX_TOLD: Final = 100
"""Refused messages that are told one by one, as many as an answer of the server names; the rest is counted."""

_PIECE = 256 << 10
_PATH = "/api/v1/publish"
# What a server answers that wants the same request again, later.
_LATER = {429, 503}


class Poster:
    """Posts messages in order, waits when the server says that it is too much, and adds up what became of them.

    Args:
        api: where to.
        patience: seconds for which it waits for the server without a message being taken.
        tell: takes a line for people.

    Attributes:
        accepted, matched: sums over the server's answers.
        rejected: the first refusals: `line` (the first message is 1), `error`, `message`.
        rejected_total: how many there were.
    """

    def __init__(self, api: Api, *, patience: float, tell: Callable[[str], None]) -> None:
        self.accepted = 0
        self.matched = 0
        self.rejected: list[dict[str, Any]] = []
        self.rejected_total = 0
        self._api = api
        self._patience = patience
        self._tell = tell
        self._line = 0

    def post(self, lines: list[bytes]) -> None:
        """Post messages, each as JSON; blank lines count as lines and as nothing else.

        Raises:
            ApiError: the server does not answer, does not let this publisher in, or takes no more for too long.
        """
        waiting: list[tuple[int, bytes]] = []
        for text in lines:
            self._line += 1
            if not text.strip():
                continue
            try:
                orjson.loads(text)
            except orjson.JSONDecodeError:  # it would be a fault of the whole request
                code = ErrorCode.INVALID_JSON
                self._reject(self._line, ERROR_NAMES[code], ERROR_TEXTS[code])
            else:
                waiting.append((self._line, text))
        waited = 0.0
        while waiting:
            body = b'{"messages":[' + b",".join(text for _, text in waiting) + b"]}"
            answer = self._api.ask("POST", _PATH, body)
            handled = self._take(answer, waiting)
            del waiting[:handled]
            if not waiting:
                return
            if answer.status not in _LATER:
                raise ApiError(f"{answer.reason()}; {_not_published(len(waiting))}")
            pause = max(answer.retry_after, 0.1)
            waited = pause if handled else waited + pause
            if waited > self._patience:
                raise ApiError(f"{answer.reason()}, for too long; {_not_published(len(waiting))}")
            self._tell(f"{answer.reason()}; going on in {pause:g} s")
            time.sleep(pause)

    def _take(self, answer: Answer, sent: list[tuple[int, bytes]]) -> int:
        """Add an answer up; return how many of the messages the server has handled."""
        accepted, matched, total = (answer.body.get(name) for name in ("accepted", "matched", "rejected_total"))
        refused = answer.body.get("rejected")
        if not isinstance(accepted, int) or not isinstance(total, int) or not isinstance(refused, list):
            if answer.status in {200, 422}:
                raise ApiError(f"{self._api.url} is no server of this API")
            return 0
        self.accepted += accepted
        self.matched += matched if isinstance(matched, int) else 0
        for entry in refused:
            index = entry.get("index") if isinstance(entry, dict) else None
            if isinstance(index, int) and 0 <= index < len(sent):
                self._reject(sent[index][0], str(entry.get("error")), str(entry.get("message")))
        self.rejected_total += max(total - len(refused), 0)
        return min(accepted + total, len(sent))

    def _reject(self, line: int, error: str, message: str) -> None:
        self.rejected_total += 1
        if len(self.rejected) < MAX_TOLD:
            self.rejected.append({"line": line, "error": error, "message": message})
            self._tell(f"line {line}: {error} ({message})")


def _not_published(count: int) -> str:
    return "1 message was not published" if count == 1 else f"{count} messages were not published"


def pieces(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines of a stream, as many at a time as are there: what comes slowly goes on at once.

    Raises:
        ApiError: a line is longer than MAX_LINE.
    """
    rest = b""
    while piece := stream.read1(_PIECE):  # type: ignore[attr-defined] # of every buffered reader
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > MAX_LINE:
            raise ApiError(f"a line of the input is longer than {MAX_LINE} bytes")
        if lines:
            yield lines
    if rest:
        yield [rest]
