"""What a case of conformance is, and how it is tried."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance.peer import connect
from core.wire_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Frame, GoneError, frame
from valtronics_fast._core.wire import CLOSE_REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SMALL = 48
"""Bytes of an input that is split at each of them."""


@dataclass(frozen=True)
class Case:
    """What a client sends, and the one result that RFC 6455 permits, or the strictest that it recommends.

    Attributes:
        name: what it is about, after the section of the RFC that it is from.
        sent: the bytes.
        demanded: the frames that must come back, in this order, before a CLOSE.
        ends: the code with which the server must close, with nothing more sent by the client; None: it must not, and
            answers the client's own CLOSE.
        answer: the payload of the server's CLOSE; None: the code, and the reason that stands in the registry.
    """

    name: str
    sent: bytes
    demanded: tuple[Frame, ...] = ()
    ends: int | None = None
    answer: bytes | None = None


def code(number: int, reason: bytes = b"") -> bytes:
    """Return the payload of a CLOSE."""
    return number.to_bytes(2, "big") + reason


def text(payload: bytes) -> Frame:
    return Frame(TEXT, payload)


def binary(payload: bytes) -> Frame:
    return Frame(BINARY, payload)


def pong(payload: bytes = b"") -> Frame:
    return Frame(PONG, payload)


def message(opcode: int, *parts: bytes, unfinished: bool = False) -> bytes:
    """Return the frames of a message in fragments; unfinished: the last one is still to come."""
    return b"".join(
        frame(CONTINUATION if i else opcode, part, fin=i == len(parts) - 1 and not unfinished)
        for i, part in enumerate(parts)
    )


def chopped(data: bytes, size: int) -> list[bytes]:
    """Return data in pieces of a size."""
    return [data[at : at + size] for at in range(0, len(data), size)] or [b""]


def ways(data: bytes) -> Iterator[list[bytes]]:
    """Give the ways in which an input is sent: in one segment, split in two at every byte, and byte by byte."""
    yield [data]
    if len(data) <= SMALL:
        yield from ([data[:cut], data[cut:]] for cut in range(1, len(data)))
        yield chopped(data, 1)


async def write(client: Client, pieces: Iterable[bytes]) -> None:
    """Send pieces so that the server reads each for itself."""
    with contextlib.suppress(ConnectionError):  # it may have closed before the last one
        for piece in pieces:
            await client.write(piece)
            for _ in range(3):
                await asyncio.sleep(0)


async def outcome(client: Client, *, closes: bool) -> list[Frame]:
    """Return what comes up to the end of the connection; closes: the client begins with that."""
    frames: list[Frame] = []
    if closes:
        await write(client, [frame(CLOSE, code(1000))])
    with contextlib.suppress(GoneError):
        while not frames or frames[-1].opcode != CLOSE:
            frames.append(await client.receive())
        if not closes:
            await write(client, [frame(CLOSE, frames[-1].payload[:2])])
        frames += await client.rest()
    return frames


async def attempt(port: int, case: Case, pieces: list[bytes]) -> None:
    """Try a case."""
    ends = 1000 if case.ends is None else case.ends
    answer = case.answer
    if answer is None:
        answer = code(1000) if case.ends is None else code(ends, CLOSE_REASONS[ends].encode())
    client = await connect(port)
    try:
        await write(client, pieces)
        assert await outcome(client, closes=case.ends is None) == [*case.demanded, Frame(CLOSE, answer)]
    finally:
        client.close()


__all__ = [
    "BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "Case", "attempt", "binary", "chopped", "code",
    "frame", "message", "outcome", "pong", "text", "ways", "write",
]  # fmt: skip
