"""The outbox over TLS, where the transport writes and the kernel is not asked directly."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from core.harness import Server, numbers, subscriber, telemetry, until
from core.wire_client import CLOSE, PING, PONG, frame

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
SMALL = 4096


@pytest.fixture(scope="module")
def tls() -> Contexts:
    """Contexts of a server and of clients that trust it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def test_a_turn_is_one_write(tls: Contexts) -> None:
    async with Server(tls=tls) as server:
        client = await subscriber(server)
        before = server.hub.turn.writes
        for n in range(300):
            server.hub.publish(telemetry(1, n=n))
        await until(lambda: client.session.queued_bytes == 0)
        assert server.hub.turn.writes - before == 1
        assert numbers(await client.settled()) == list(range(300))


async def test_nothing_is_lost_or_reordered(tls: Contexts) -> None:
    """Frames of all sizes over small buffers, answers between them."""
    async with Server(tls=tls, send_buffer=SMALL, queue_limit=0) as server:
        client = await subscriber(server, receive_buffer=SMALL)
        sizes = [*range(200), *range(16_000, 16_020), 100_000, 3]
        for n, size in enumerate(sizes):
            server.hub.publish(telemetry(1, n=n, text="x" * size))
            if n % 20 == 0:
                await asyncio.sleep(0)
        await client.say(type="ping", id=1)
        await client.say(type="ping", id=2)
        heard = [await client.hear() for _ in range(len(sizes) + 2)]
        assert [message["id"] for message in heard if message["type"] == "pong"] == [1, 2]
        data = [message for message in heard if message["type"] != "pong"]
        assert numbers(data) == list(range(len(sizes)))
        assert [len(message["telemetry"]["text"]["value"]) for message in data] == sizes
        assert await client.settled() == []


async def test_a_peer_that_does_not_read_is_bounded_and_closed(tls: Contexts) -> None:
    limit = 200_000
    async with Server(tls=tls, send_buffer=SMALL, queue_limit=limit, close_timeout=0.2) as server:
        slow = await subscriber(server, receive_buffer=SMALL)
        reader = await subscriber(server)
        n = most = 0
        received: list[int] = []
        while slow.session.close_code == 0:
            server.hub.publish(telemetry(1, n=n, text="x" * 10_000))
            n += 1
            most = max(most, slow.session.queued_bytes)
            received += numbers(await reader.settled())
        assert slow.session.close_code == 4102
        assert limit / 2 < most < limit + 20_000
        assert received == list(range(n))
        await until(lambda: slow.session in server.host.closed_sessions)


async def test_a_backlog_is_passed_by_answers_and_by_the_close(tls: Contexts) -> None:
    async with Server(tls=tls, send_buffer=SMALL, queue_limit=0) as server:
        client = await subscriber(server, receive_buffer=SMALL)
        while client.session.queued_bytes < 500_000:
            server.hub.publish(telemetry(1, n=0, text="x" * 10_000))
            await asyncio.sleep(0)
        await client.send(PING, b"x")
        while (received := await client.receive()) != (PONG, b"x"):
            client.decode(received)  # a CLOSE is an error
        assert client.session.queued_bytes > 100_000
        client.session.disconnect(1012)
        assert client.session.queued_bytes == 0
        assert await client.close_code() == 1012
        await client.send(CLOSE, (1012).to_bytes(2, "big"))
        assert await client.rest() == []


async def test_nothing_follows_a_close(tls: Contexts) -> None:
    async with Server(tls=tls, send_buffer=SMALL, queue_limit=0) as server:
        clients = [await subscriber(server, receive_buffer=SMALL) for _ in range(2)]
        for n in range(30):
            server.hub.publish(telemetry(1, n=n, text="x" * 10_000))
        clients[0].session.disconnect(1012)
        await clients[1].write(frame(1, b"{}", mask=None))
        for _ in range(30):
            server.hub.publish(telemetry(1, n=0))
            await asyncio.sleep(0)
        assert await clients[0].close_code() == 1012
        await clients[0].send(CLOSE, (1012).to_bytes(2, "big"))
        assert await clients[1].close_code() == 1002
        for client in clients:
            assert await client.rest() == []
