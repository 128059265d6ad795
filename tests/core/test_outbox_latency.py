"""How long a turn's publications take until they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.harness import Server, subscriber, telemetry, until

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_a_turn_with_publications_counts_once() -> None:
    async with Server() as server:
        client = await subscriber(server)
        latency = server.hub.turn.latency
        assert latency.figures()["count"] == 0  # so far there were answers only
        for turn in (1, 2):
            for n in range(5):
                server.hub.publish(telemetry(1, n=n))
            await client.settled()
            assert latency.figures()["count"] == turn
        assert 0 < latency.sum < 60
        assert latency.since == 0


async def test_what_nobody_gets_is_not_timed() -> None:
    async with Server() as server:
        client = await server.login()
        server.hub.publish(telemetry(1, n=1))
        await client.settled()
        assert server.hub.turn.latency.figures()["count"] == 0


async def test_what_waits_for_a_reader_that_is_blocked_is_not_timed() -> None:
    async with Server(send_buffer=4096, queue_mark=0) as server:
        slow = await subscriber(server, receive_buffer=4096)
        latency = server.hub.turn.latency
        while not server.hub.turn.backlog:
            server.hub.publish(telemetry(1, text="x" * 10_000))
            await until(lambda: latency.since == 0)
        before = latency.figures()["count"]
        server.hub.publish(telemetry(1, n=1))
        assert latency.since == 0
        assert latency.figures()["count"] == before
        slow.close()


async def test_the_time_begins_with_the_first_publication_of_the_turn() -> None:
    async with Server() as server:
        client = await subscriber(server)
        with server.held():
            server.hub.publish(telemetry(1, n=1), 100.0)
            server.hub.publish(telemetry(1, n=2), 101.0)
            assert server.hub.turn.latency.since == 100.0
        assert server.hub.turn.latency.since == 0
        await client.settled()


async def test_data_that_waits_for_an_interval_is_timed_to_its_end() -> None:
    intervals: list[Callable[[], None]] = []
    async with Server(delay=intervals.append) as server:
        client = await subscriber(server)
        latency = server.hub.turn.latency
        server.hub.publish(telemetry(1, n=1))
        other = await server.login()  # turns with answers of others end meanwhile
        await other.settled()
        assert latency.figures()["count"] == 0
        intervals.pop()()
        assert latency.figures()["count"] == 1
        await client.hear()
