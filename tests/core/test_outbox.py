from __future__ import annotations

import asyncio
import random

import pytest

from core.harness import Server, numbers, subscriber, telemetry, until
from core.wire_client import CLOSE, PING, TEXT, Client, ClosedError, Frame, GoneError, frame

# The kernel rounds these up; they are small enough that most writes are not taken whole.
SMALL = 4096


async def test_a_turn_goes_out_in_one_write() -> None:
    async with Server() as server:
        client = await subscriber(server)
        before = server.hub.turn.writes
        for n in range(60):
            server.hub.publish(telemetry(1, n=n))
        await until(lambda: client.session.queued_bytes == 0)
        assert server.hub.turn.writes - before == 1
        assert numbers(await client.settled()) == list(range(60))


async def test_many_frames_a_turn_go_out_in_order_in_few_writes() -> None:
    async with Server() as server:
        client = await subscriber(server)
        before = server.hub.turn.writes
        for n in range(1000):
            server.hub.publish(telemetry(1, n=n))
        assert numbers(await client.settled()) == list(range(1000))
        assert server.hub.turn.writes - before < 40


async def test_connections_that_share_a_turn_get_it_in_one_write_each() -> None:
    async with Server() as server:
        clients = [await subscriber(server) for _ in range(10)]
        before = server.hub.turn.writes
        for n in range(200):
            server.hub.publish(telemetry(1, n=n))
        await until(lambda: not any(client.session.queued_bytes for client in clients))
        assert server.hub.turn.writes - before < 20
        for messages in await server.settled(*clients):
            assert numbers(messages) == list(range(200))


async def test_turns_that_differ_a_little_are_not_mixed_up() -> None:
    """As many frames for each, the same at most places: only who gets which differs."""
    async with Server() as server:
        clients = [await subscriber(server, device_id=[0, i + 1]) for i in range(6)]
        for turn in range(20):
            for n in range(5):
                server.hub.publish(telemetry(0, n=n))
            for i in random.Random(turn).sample(range(6), 6):
                server.hub.publish(telemetry(i + 1, n=100 + i))
            for n in range(5, 8):
                server.hub.publish(telemetry(0, n=n))
            for i, messages in enumerate(await server.settled(*clients)):
                assert numbers(messages) == [0, 1, 2, 3, 4, 100 + i, 5, 6, 7]


async def test_the_same_frame_twice_in_a_turn_is_sent_twice() -> None:
    async with Server() as server:
        clients = [await server.login() for _ in range(3)]
        for client in clients:
            await client.ask(type="subscribe", id=1, channel="devices")
        status = {"type": "device_status_update", "device_id": 1, "new_status": "on"}
        for _ in range(3):
            server.hub.publish(status)
        assert [len(messages) for messages in await server.settled(*clients)] == [3, 3, 3]


@pytest.mark.parametrize("sizes", [range(1500), range(3900, 4300), range(65000, 65040)], ids=str)
async def test_partial_writes_lose_and_reorder_nothing(sizes: range) -> None:
    """Small buffers and a slow reader: the kernel refuses bytes at every place of a frame."""
    async with Server(send_buffer=SMALL, queue_limit=0) as server:
        clients = [await subscriber(server, receive_buffer=SMALL) for _ in range(2)]
        for size in sizes:
            server.hub.publish(telemetry(1, n=size, text="x" * size))

        async def read(client: Client, chunk: int) -> None:
            for size in sizes:
                received = await client.receive(chunk)
                expected = telemetry(1, n=size, text="x" * size) | {"channel": "telemetry"}
                assert Frame(TEXT, received.payload) == received
                assert client.decode(received) == expected

        await asyncio.gather(read(clients[0], 1500), read(clients[1], 1 << 16))
        assert server.hub.turn.refused > 1
        assert await server.settled(*clients) == [[], []]


async def test_partial_writes_of_many_turns() -> None:
    """Publishing goes on while the backlog drains, and answers are given in between."""
    async with Server(send_buffer=SMALL, queue_limit=0) as server:
        client = await subscriber(server, receive_buffer=SMALL)
        choose = random.Random(7)
        published = 0

        async def publish() -> None:
            nonlocal published
            for _ in range(300):
                for _ in range(choose.randrange(4)):
                    server.hub.publish(telemetry(1, n=published, text="x" * choose.choice((0, 99, 3000, 20000))))
                    published += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(publish())
        seen: list[int] = []
        pongs: list[int] = []
        pings = 0
        while not task.done() or len(seen) < published or len(pongs) < pings:
            if pings < 200:
                await client.say(type="ping", timestamp=pings)
                pings += 1
            message = await client.hear()
            if message["type"] == "pong":
                pongs.append(message["client_timestamp"])
            else:
                seen += numbers([message])
        await task
        assert server.hub.turn.refused > 1
        assert seen == list(range(published))
        assert pongs == list(range(200))


async def test_a_peer_that_is_gone_disturbs_nobody() -> None:
    async with Server() as server:
        clients = [await subscriber(server) for _ in range(6)]
        for client in clients[::2]:
            client.reset()
        for n in range(50):
            server.hub.publish(telemetry(1, n=n))
        rest = clients[1::2]
        for messages in await server.settled(*rest):
            assert numbers(messages) == list(range(50))
        await until(lambda: len(server.hub.connections()) == len(rest))


async def test_an_aborted_connection_is_written_to_no_more() -> None:
    async with Server() as server:
        client, other = await subscriber(server), await subscriber(server)
        client.session.abort()
        for n in range(5):
            server.hub.publish(telemetry(1, n=n))
        assert numbers(await other.settled()) == list(range(5))
        await until(lambda: client.session in server.host.closed_sessions)
        assert client.session.close_code == 1006
        with pytest.raises((GoneError, ClosedError)):
            await client.settled()


async def test_counters_of_what_was_sent() -> None:
    async with Server() as server:
        client = await server.connect()
        assert (client.session.messages_out, client.session.bytes_out) == (0, 0)
        await client.write(frame(TEXT, b"{}"))
        error = await client.receive()
        assert (client.session.messages_out, client.session.bytes_out) == (1, 2 + len(error.payload))
        await client.send(PING, b"abc")  # a pong is no message, but bytes
        await client.receive()
        assert (client.session.messages_out, client.session.bytes_out) == (1, 2 + len(error.payload) + 5)
        client.session.disconnect(1001)
        assert (await client.receive()).opcode == CLOSE
        assert client.session.messages_out == 1
