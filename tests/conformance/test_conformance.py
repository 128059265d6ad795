"""RFC 6455 case by case, against the echo server and through a real socket; each case demands one result."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from conformance import closing, framing, texts
from conformance.case import CLOSE, TEXT, Case, attempt, chopped, code, frame, outcome, ways, write
from conformance.peer import connected
from core.wire_client import Frame
from valtronics_fast.testing.echo import EchoServer

if TYPE_CHECKING:
    from collections.abc import Iterable

CASES = [*framing.CASES, *texts.CASES, *closing.CASES]


def named(cases: Iterable[Case]) -> list[object]:
    return [pytest.param(case, id=case.name) for case in cases]


def test_the_cases_have_names_of_their_own() -> None:
    assert len({(case.name, case.ends) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", named(CASES))
async def test_case(case: Case) -> None:
    async with EchoServer() as server:
        for pieces in ways(case.sent):
            await attempt(server.port, case, pieces)


async def test_bad_text_is_seen_when_its_frame_is_there() -> None:
    """picows hands over whole frames: within one there is no failing fast, and a bound on frames bounds the wait.

    RFC 6455, 8.1, leaves that open; Autobahn calls it "non-strict" (6.4.3 and 6.4.4).
    """
    async with connected() as client:
        data = frame(TEXT, b"\xff" + b"x" * 100)
        await write(client, chopped(data[:-1], 10))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.receive()
        await write(client, [data[-1:]])
        assert await outcome(client, closes=False) == [Frame(CLOSE, code(1007, b"invalid_utf8"))]
