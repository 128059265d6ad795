"""Data that waits for an interval (`server.flush_interval`); the test says when it is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from core.harness import Server, numbers, subscriber, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_data_of_several_turns_leaves_in_one_write_when_the_interval_is_over() -> None:
    intervals: list[Callable[[], None]] = []
    async with Server(delay=intervals.append) as server:
        clients = [await subscriber(server) for _ in range(3)]
        before = server.hub.turn.writes
        for n in range(5):
            server.hub.publish(telemetry(1, n=n))
            await turns()
        assert server.hub.turn.writes == before
        assert len(intervals) == 1
        intervals.pop()()
        assert server.hub.turn.writes - before == len(clients)
        for messages in await server.settled(*clients):
            assert numbers(messages) == [0, 1, 2, 3, 4]


async def test_the_next_publication_begins_the_next_interval() -> None:
    intervals: list[Callable[[], None]] = []
    async with Server(delay=intervals.append) as server:
        client = await subscriber(server)
        for n in range(3):
            server.hub.publish(telemetry(1, n=n))
            assert len(intervals) == 1
            intervals.pop()()
            await turns()
            assert intervals == []
        assert numbers(await client.settled()) == [0, 1, 2]


async def test_answers_do_not_wait_and_keep_their_place_behind_earlier_data() -> None:
    intervals: list[Callable[[], None]] = []
    async with Server(delay=intervals.append) as server:
        client = await subscriber(server)
        server.hub.publish(telemetry(1, n=1))
        await client.say(type="ping", id=7)
        first, second = await client.hear(), await client.hear()
        assert numbers([first]) == [1]
        assert (second["type"], second["id"]) == ("pong", 7)
        server.hub.publish(telemetry(1, n=2))
        assert len(intervals) == 1  # the first one is not over yet
        intervals.pop()()
        assert numbers([await client.hear()]) == [2]


async def test_a_bounded_queue_is_written_before_the_interval_is_over() -> None:
    """Much in one interval is no sign of a slow reader."""
    intervals: list[Callable[[], None]] = []
    async with Server(delay=intervals.append, queue_limit=10_000) as server:
        client = await subscriber(server)
        for n in range(1000):
            server.hub.publish(telemetry(1, n=n, text="x" * 200))
            assert client.session.queued_bytes <= 10_000
            if n % 50 == 0:
                await turns()
        intervals.pop()()
        assert numbers(await client.settled()) == list(range(1000))


async def test_a_connection_may_go_while_its_data_waits() -> None:
    intervals: list[Callable[[], None]] = []
    async with Server(delay=intervals.append) as server:
        gone, here = await subscriber(server), await subscriber(server)
        server.hub.publish(telemetry(1, n=1))
        gone.session.abort()
        while len(server.hub.connections()) == 2:
            await asyncio.sleep(0)
        intervals.pop()()
        assert numbers(await here.settled()) == [1]


async def test_a_close_takes_the_data_that_waits_along() -> None:
    intervals: list[Callable[[], None]] = []
    async with Server(delay=intervals.append) as server:
        client = await subscriber(server)
        server.hub.publish(telemetry(1, n=1))
        client.session.disconnect(1001)
        assert numbers([await client.hear()]) == [1]
        assert await client.close_code() == 1001
        intervals.pop()()
