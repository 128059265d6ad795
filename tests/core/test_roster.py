"""Who is connected: filters, order, pages, what is told of each, and rates."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest

from core.harness import Server, telemetry
from core.wire_client import CLOSE, frame
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.roster import Order, Roster, Sampler, describe
from valtronics_fast._core.wire import Channel

if TYPE_CHECKING:
    from core.wire_client import Client

SMALL = 4096


def found(server: Server, **query: Any) -> list[int]:
    """Return the numbers of the connections that a query finds, in their order."""
    roster = Roster(server.hub, **query)
    while roster.work(0.0):
        pass
    return [number for _, number, _ in roster.page()]


async def blocked(server: Server, **options: Any) -> Client:
    """Return a client that does not read, and has data waiting."""
    client = await server.login(receive_buffer=SMALL, **options)
    await client.ask(type="subscribe", id=1, channel="telemetry")
    while not client.session.queued_bytes:
        server.hub.publish(telemetry(1, big="x" * 50_000))
        await asyncio.sleep(0)
    return client


async def test_filters() -> None:
    async with Server(queue_limit=8 << 20, send_buffer=SMALL) as server:
        alice = await server.login(server.token("alice"))
        await alice.ask(type="subscribe", id=1, channel="alerts")
        await server.connect()
        slow = await blocked(server, token=server.token("bob"))
        assert found(server, limit=10) == [1, 2, 3]
        assert found(server, limit=10, user="alice") == [1]
        assert found(server, limit=10, user="nobody") == []
        assert found(server, limit=10, address="127.0.0.1") == [1, 2, 3]
        assert found(server, limit=10, address="127.0.0.2") == []
        assert found(server, limit=10, channel=Channel.ALERTS) == [1]
        assert found(server, limit=10, channel=Channel.TELEMETRY) == [3]
        assert found(server, limit=10, channel=Channel.SYSTEM) == []
        assert found(server, limit=10, slow=True) == [slow.session.number]
        assert found(server, limit=10, number=2) == [2]
        assert found(server, limit=10, user="alice", channel=Channel.TELEMETRY) == []
        await alice.ask(type="unsubscribe", id=2, channel="alerts")
        assert found(server, limit=10, channel=Channel.ALERTS) == []


async def test_orders() -> None:
    async with Server(queue_limit=8 << 20, send_buffer=SMALL) as server:
        first = await server.login()
        second = await blocked(server)
        third = await server.login()
        for _ in range(500):
            await third.ask(type="ping")
        assert found(server, limit=10, order=Order.BY_AGE) == [1, 2, 3]
        assert found(server, limit=10, order=Order.BY_QUEUE)[0] == second.session.number
        assert found(server, limit=10, order=Order.BY_RATE)[0] == third.session.number
        assert found(server, limit=1, order=Order.BY_AGE) == [first.session.number]


async def test_pages_have_each_connection_once_and_slots_are_used_again() -> None:
    async with Server() as server:
        clients = [await server.connect() for _ in range(9)]
        for client in clients[2:5]:
            client.session.abort()
            await server.gone(client)
        later = [await server.connect() for _ in range(2)]
        expected = sorted(each.session.number for each in (*clients[:2], *clients[5:], *later))
        numbers: list[int] = []
        after = None
        while True:
            roster = Roster(server.hub, limit=3, after=after)
            assert not roster.work(math.inf)
            page = roster.page()
            numbers += [number for _, number, _ in page]
            if not page:
                break
            after = page[-1][:2]
        assert numbers == expected
        assert sorted(found(server)) == expected  # no limit: in no order


async def test_a_search_stops_at_its_time_and_goes_on() -> None:
    async with Server() as server:
        for _ in range(130):
            await server.connect()
        roster = Roster(server.hub, limit=3)
        assert [roster.work(0.0) for _ in range(3)] == [True, True, False]
        assert [number for _, number, _ in roster.page()] == [1, 2, 3]
        assert [key for key, _, _ in roster.page()] == sorted(key for key, _, _ in roster.page())


async def test_what_is_told() -> None:
    async with Server() as server:
        client = await server.login(server.token("bob"), msgpack=False, deflate=0)
        await client.ask(type="subscribe", id=1, channel="telemetry", device_id=[1, 2])
        session = client.session
        told = describe(session, 1e12)
        assert told["age"] > 1e9  # type: ignore[operator]
        expected = {
            "id": 1, "user": "bob", "address": "127.0.0.1", "state": "open", "endpoint": "all", "format": "json",
            "compression": False, "tls": False, "channels": ["telemetry"], "subscriptions": 1, "devices": 2,
            "queued_bytes": 0, "behind": False, "blocked": False, "conflated": 0, "messages_sent": 2,
            "messages_received": 2, "bytes_received": session.bytes_in, "bytes_sent": session.bytes_out,
        }  # fmt: skip
        assert {name: told[name] for name in expected} == expected
        assert told.keys() - expected.keys() == {"age", "messages_per_second"}
        session.disconnect(4003)
        assert describe(session, 0.0)["state"] == "closing"
        assert describe(session, 0.0)["age"] == 0
        await client.write(frame(CLOSE, b"\x0f\xa3"))


async def test_what_was_negotiated() -> None:
    async with Server() as server:
        client = await server.connect(msgpack=True, deflate=12, endpoint=Channel.ALERTS)
        told = describe(client.session, 0.0)
        assert (told["format"], told["compression"], told["endpoint"]) == ("msgpack", True, "alerts")
        assert (told["user"], told["channels"]) == (None, [])


async def test_rates_are_those_between_two_samples() -> None:
    async with Server() as server:
        client = await server.login()
        opened = _opened_at(server)
        assert describe(client.session, opened)["messages_per_second"] == 1  # too new: what there is so far
        sampler = Sampler(server.hub, 5.0)
        assert sampler.advance(opened + 10) == 0
        assert sampler.advance(opened + 15) == 1
        assert describe(client.session, opened + 15)["messages_per_second"] == pytest.approx(1 / 15, abs=0.001)
        for _ in range(20):
            await client.ask(type="ping")
        assert sampler.advance(opened + 15.5) == 0  # not due
        assert sampler.advance(opened + 20) == 1
        assert describe(client.session, opened + 21)["messages_per_second"] == 4
        assert sampler.advance(opened + 25) == 1
        assert describe(client.session, opened + 26)["messages_per_second"] == 0


async def test_a_sample_is_not_taken_again_at_once() -> None:
    async with Server() as server:
        client = await server.login()
        opened = _opened_at(server)
        sampler = Sampler(server.hub, 0.1)
        sampler.advance(opened)
        for step in range(1, 9):
            sampler.advance(opened + step / 10)
        await client.ask(type="ping")
        assert describe(client.session, opened + 2)["messages_per_second"] == 1  # over its whole life: none was taken


async def test_a_round_of_samples_takes_an_interval() -> None:
    async with Server() as server:
        for _ in range(50):
            await server.connect()
        sampler = Sampler(server.hub, 5.0)
        sampler.advance(100.0)
        counts = [sampler.advance(100 + step / 20) for step in range(1, 101)]
        assert sum(counts) in {49, 50}
        assert max(counts) == 1
        assert sampler.advance(1e6) == 50  # after a pause no more than a round


def test_nobody() -> None:
    hub = Hub(lambda flush: None, 0.0)
    roster = Roster(hub, limit=1)
    assert not roster.work(0.0)
    assert roster.page() == []
    sampler = Sampler(hub, 5.0)
    assert [sampler.advance(now) for now in (1.0, 2.0)] == [0, 0]


def _opened_at(server: Server) -> float:
    """Return when the only connection was opened, in monotonic seconds."""
    roster = Roster(server.hub, limit=1)
    roster.work(math.inf)
    return roster.page()[0][0]
