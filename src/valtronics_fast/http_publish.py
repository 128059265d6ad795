r"""The body of `POST /api/v1/publish`: bytes → messages → the hub, and a count of what became of them.

It knows no HTTP and no socket: `http_api` reads the body and turns the counts into an answer. Every accepted
shape ends in `Intake.offer`, one message at a time:

    {"type": ...}                 one message            ┐
    {"messages": [{...}, ...]}    several messages       ├──► offer ──► permit ──► publish
    {...}\n{...}\n                NDJSON, as it arrives  ┘
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from valtronics_fast._core.formats import depth_of
from valtronics_fast._core.publication import channel_of
from valtronics_fast._core.scope import Grant, device_key
from valtronics_fast._core.wire import ERROR_NAMES, MESSAGE_TYPES, Channel, ErrorCode
from valtronics_fast.errors import PublicationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valtronics_fast.producers.base import Publish

__all__ = ["MAX_DEPTH", "MAX_LINE", "MAX_REJECTED", "TURN_MESSAGES", "BodyError", "Intake", "permit"]

MAX_LINE = 64 * 1024
"""Bytes of one NDJSON line; a longer one is refused and skipped, whatever its length."""

MAX_DEPTH = 16
"""Nesting levels of one message, itself included (protocol.md, section 4: JSON depth)."""

MAX_REJECTED = 100
"""Refused messages that an answer names; the rest are only counted."""

TURN_MESSAGES = 500
"""Messages handed to the hub before the event loop gets its turn, so that their fan-out stays live."""


class BodyError(Exception):
    """The body as a whole can't be used; none of it was published.

    Attributes:
        code: INVALID_JSON or INVALID_MESSAGE.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        super().__init__(message)


def permit(grant: Grant, message: Mapping[str, object]) -> None:
    """Raise PublicationError unless the grant allows this data message to be published.

    The channel is the one that the message's `type` belongs to. A grant with devices covers messages about
    those devices, and `system` messages, which are about none; a platform-wide alert (no device) it doesn't.
    """
    channel = channel_of(message)
    if channel is None:
        code = ErrorCode.MISSING_TYPE if message.get("type") is None else ErrorCode.UNKNOWN_TYPE
        raise PublicationError(code, f"type is one of {', '.join(MESSAGE_TYPES.values())}")
    if not grant.publish >> channel & 1:
        raise PublicationError(ErrorCode.FORBIDDEN, "publishing on this channel is not permitted")
    if grant.devices is None or channel == Channel.SYSTEM:
        return
    device = message.get("device_id")
    if device is None and channel == Channel.ALERTS:
        raise PublicationError(ErrorCode.FORBIDDEN, "publishing a platform-wide alert is not permitted")
    try:
        key = device_key(device)
    except ValueError as error:
        raise PublicationError(ErrorCode.INVALID_MESSAGE, str(error)) from None
    if key not in grant.devices:
        raise PublicationError(ErrorCode.FORBIDDEN, "publishing for this device is not permitted")


class Intake:
    """The messages of one request on their way to the hub.

    Use either `json` once, or `feed` for each piece of an NDJSON body and then `finish`. Memory is bounded:
    at most one unfinished line and MAX_REJECTED refusals are kept.

    Attributes:
        grant: what the sender may publish; it may be replaced between two calls.
        accepted: messages published.
        matched: subscriptions that they matched, in sum.
        rejected: the first MAX_REJECTED refusals, as the answer shows them.
        rejected_total: messages refused.
    """

    def __init__(self, publish: Publish, grant: Grant) -> None:
        self.grant = grant
        self.accepted = 0
        self.matched = 0
        self.rejected: list[dict[str, object]] = []
        self.rejected_total = 0
        self._publish = publish
        self._line = b""  # the unfinished last line of what was fed
        self._skipping = False  # inside a line that was refused for its length

    def answer(self) -> dict[str, object]:
        """Return the counts as the HTTP answer shows them."""
        return {
            "accepted": self.accepted,
            "matched": self.matched,
            "rejected": self.rejected,
            "rejected_total": self.rejected_total,
        }

    async def json(self, body: bytes | bytearray) -> None:
        """Publish a whole JSON body: one message, or `{"messages": [...]}`.

        Raises:
            BodyError: it is neither.
        """
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise BodyError(ErrorCode.INVALID_JSON, "the body is not valid JSON") from None
        if not isinstance(document, dict):
            raise BodyError(ErrorCode.INVALID_MESSAGE, 'the body is no message and no {"messages": [...]}')
        if "type" in document or "messages" not in document:
            self.offer(document)
            return
        messages = document["messages"]
        if not isinstance(messages, list):
            raise BodyError(ErrorCode.INVALID_MESSAGE, '"messages" is not an array')
        for message in messages:
            self.offer(message)
            await self._give_way()

    async def feed(self, data: bytes) -> None:
        """Publish the lines that this piece of an NDJSON body completes. A piece may end anywhere."""
        lines = (self._line + data).split(b"\n")
        self._line = lines.pop()
        for line in lines:
            if self._skipping:
                self._skipping = False
            else:
                await self._take(line)
        if len(self._line) > MAX_LINE:
            if not self._skipping:
                await self._take(self._line)
            self._skipping = True
        if self._skipping:
            self._line = b""

    async def finish(self) -> None:
        """Publish the last line of an NDJSON body, where no newline ended it."""
        await self._take(self._line)
        self._line = b""

    async def _take(self, line: bytes) -> None:
        """Publish one line. A blank one is no message: it is not counted."""
        if len(line) > MAX_LINE:
            self._refuse(ErrorCode.MESSAGE_TOO_LARGE, f"the line is longer than {MAX_LINE} bytes")
        elif line.strip():
            try:
                message = orjson.loads(line)
            except orjson.JSONDecodeError:
                self._refuse(ErrorCode.INVALID_JSON, "the line is not valid JSON")
            else:
                self.offer(message)
        else:
            return
        await self._give_way()

    def offer(self, message: object) -> None:
        """Publish one decoded message, or note why not."""
        try:
            if not isinstance(message, dict):
                raise PublicationError(ErrorCode.INVALID_MESSAGE, "a message is a JSON object")  # noqa: TRY301
            if depth_of(message) > MAX_DEPTH:
                raise PublicationError(ErrorCode.INVALID_MESSAGE, f"nested deeper than {MAX_DEPTH} levels")  # noqa: TRY301
            permit(self.grant, message)
            matched = self._publish(message)
        except PublicationError as error:
            self._refuse(error.code, str(error))
        else:
            self.accepted += 1
            self.matched += matched

    def _refuse(self, code: ErrorCode, message: str) -> None:
        """Count a refused message; its index is the number of messages before it, blank lines left out."""
        if self.rejected_total < MAX_REJECTED:
            index = self.accepted + self.rejected_total
            self.rejected.append({"index": index, "error": ERROR_NAMES[code], "message": message})
        self.rejected_total += 1

    async def _give_way(self) -> None:
        """Let the event loop run after every TURN_MESSAGES messages."""
        if (self.accepted + self.rejected_total) % TURN_MESSAGES == 0:
            await asyncio.sleep(0)
