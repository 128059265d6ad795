from __future__ import annotations

import asyncio

import pytest

from harness import TIMEOUT, until
from valtronics_fast.http_inflight import InFlight
from valtronics_fast.http_listener import HttpError


async def test_requests_are_waited_for() -> None:
    in_flight, finish = InFlight(), asyncio.Event()

    async def serve() -> str:
        with in_flight.request():
            await finish.wait()
            return "done"

    serving = [asyncio.create_task(serve()) for _ in range(2)]
    await asyncio.sleep(0)
    ending = asyncio.create_task(in_flight.end(TIMEOUT))
    await asyncio.sleep(0.02)
    assert not ending.done()
    finish.set()
    await ending
    assert [task.result() for task in serving] == ["done"] * 2
    with pytest.raises(HttpError, match="shutting down") as caught, in_flight.request():
        pytest.fail("it was let in")
    response = caught.value.response()
    assert (response.status, response.headers["Retry-After"]) == (503, "5")


async def test_but_not_for_ever() -> None:
    in_flight = InFlight()
    with in_flight.request():
        await in_flight.end(0.01)


async def test_a_stream_is_broken_off() -> None:
    in_flight, reading = InFlight(), asyncio.Event()

    async def serve() -> None:
        with in_flight.request():
            async with in_flight.stream():
                reading.set()
                await asyncio.sleep(3600)

    serving = asyncio.create_task(serve())
    await reading.wait()
    await in_flight.end(TIMEOUT)
    with pytest.raises(HttpError, match="shutting down"):
        await serving


async def test_one_that_has_not_begun_to_read_is_not_let_read() -> None:
    in_flight = InFlight()
    with in_flight.request():
        ending = asyncio.create_task(in_flight.end(TIMEOUT))
        await until(lambda: not in_flight._open)
        with pytest.raises(HttpError, match="shutting down"):
            async with in_flight.stream():
                pytest.fail("it was let in")
    await ending


async def test_a_timeout_of_its_own_stays_one() -> None:
    in_flight = InFlight()
    with pytest.raises(TimeoutError):
        async with in_flight.stream(), asyncio.timeout(0):
            await asyncio.sleep(3600)
    await in_flight.end(TIMEOUT)
