"""All connections in one look, beside what each of them says of itself."""

from __future__ import annotations

from core.harness import Server, subscriber, telemetry
from valtronics_fast._core.census import census
from valtronics_fast._core.hub import Hub

NOTHING = ("connections", "age", "messages_in", "messages_out", "bytes_in", "bytes_out", "dropped")


def test_nobody_is_there() -> None:
    found = census(Hub(lambda _flush: None, 0.0))
    assert [found.pop(name) for name in NOTHING] == [0] * len(NOTHING)  # type: ignore[misc]
    assert found["queues"]["count"] == 0


async def test_what_connections_say_is_summed_up() -> None:
    async with Server(messages_per_second=8) as server:
        clients = [await subscriber(server) for _ in range(3)]
        server.hub.publish(telemetry(1, t=1.5))
        for _ in range(12):
            await clients[0].say(type="ping")
        await server.settled(*clients[1:])
        await clients[0].hear()
        sessions = server.hub.connections()
        found = census(server.hub)
        assert found["connections"] == 3
        for name in NOTHING[2:]:
            assert found[name] == sum(getattr(each, name) for each in sessions)  # type: ignore[literal-required]
        assert found["messages_out"] > 6
        assert 0 < found["age"] <= sum(each.age for each in sessions)
        clients[1].close()
        await server.gone(clients[1])
        assert census(server.hub)["connections"] == 2


async def test_what_waits_is_counted_by_size() -> None:
    async with Server() as server:
        for _ in range(2):
            await subscriber(server)
        alone = await server.login()
        with server.held():
            for n in range(30):
                server.hub.publish(telemetry(1, n=n, text="x" * 100))
            queues = census(server.hub)["queues"]
            waiting = [each.queued_bytes for each in server.hub.connections()]
            assert queues["sum"] == sum(waiting)
            assert max(waiting) > 1024 > min(waiting)
            assert queues["count"] == 3
            for bound, count in queues["buckets"].items():
                assert count == sum(size <= float(bound) for size in waiting)
        assert alone.session.queued_bytes == 0
