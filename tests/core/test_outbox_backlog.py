"""Peers that read slowly or not at all: the bound, what passes the backlog, and the end."""

from __future__ import annotations

import asyncio
import random

from core.harness import Server, numbers, subscriber, telemetry, until
from core.wire_client import CLOSE, PING, PONG, frame, text
from valtronics_fast._core.encode import encode

# The kernel rounds these up; they are small enough that most writes are not taken whole.
SMALL = 4096


async def test_a_peer_that_does_not_read_is_bounded_and_closed() -> None:
    """Its queue is bounded, it is told 4102 behind whole frames, and nobody else notices."""
    limit = 100_000
    async with Server(send_buffer=SMALL, queue_limit=limit) as server:
        slow = await subscriber(server, receive_buffer=SMALL)
        readers = [await subscriber(server) for _ in range(3)]
        size = len(text(telemetry(1, n=0, text="x" * 1000)))
        most = n = 0
        received: list[list[int]] = [[] for _ in readers]
        while slow.session.close_code == 0:
            for _ in range(50):
                server.hub.publish(telemetry(1, n=n, text="x" * 1000))
                most = max(most, slow.session.queued_bytes)
                n += 1
            for messages, got in zip(await server.settled(*readers), received, strict=True):
                got += numbers(messages)
        assert slow.session.close_code == 4102
        assert limit / 2 < most <= limit + 2 * size
        assert slow.session.queued_bytes == 0
        assert received == [list(range(n))] * 3
        messages, code, reason = await slow.closing()
        assert (code, reason) == (4102, "slow_consumer")
        assert numbers(messages) == list(range(len(messages)))
        assert len(messages) < n


async def test_a_peer_that_never_reads_again_is_cut() -> None:
    async with Server(send_buffer=SMALL, queue_limit=50_000, close_timeout=0.2) as server:
        slow = await subscriber(server, receive_buffer=SMALL)
        while slow.session.close_code == 0:
            server.hub.publish(telemetry(1, n=0, text="x" * 1000))
            await asyncio.sleep(0)
        await until(lambda: slow.session in server.host.closed_sessions)
        assert slow.session.close_code == 4102


async def test_a_backlog_that_is_too_large_for_too_long() -> None:
    """The one with as much as may be stays."""
    async with Server(send_buffer=SMALL, queue_size=150_000, queue_time=0.6, close_timeout=0.2) as server:
        slow, other = [await subscriber(server, receive_buffer=SMALL, device_id=device) for device in (1, 2)]
        for device in (1, 1, 1, 2, 2):
            server.hub.publish(telemetry(device, n=0, text="x" * 100_000))
        await until(lambda: slow.session.close_code)
        assert slow.session.close_code == 4102
        assert other.session.close_code == 0
        assert other.session.queued_bytes > 100_000


async def test_much_in_one_turn_is_no_slow_reader() -> None:
    """Ten times the queue's bound at once: the kernel is asked before anybody is called slow."""
    async with Server(queue_limit=20_000) as server:
        clients = [await subscriber(server) for _ in range(2)]
        for n in range(200):
            server.hub.publish(telemetry(1, n=n, text="x" * 900))
        for messages in await server.settled(*clients):
            assert numbers(messages) == list(range(200))


async def test_a_reader_that_catches_up_is_not_closed() -> None:
    """Its backlog comes near the bound again and again, and drains."""
    async with Server(send_buffer=SMALL, queue_limit=100_000) as server:
        client = await subscriber(server, receive_buffer=SMALL)
        n = 0
        for _ in range(5):
            first = n
            while client.session.queued_bytes < 60_000:
                server.hub.publish(telemetry(1, n=n, text="x" * 1000))
                n += 1
                await asyncio.sleep(0)
            received = [numbers([await client.hear()])[0] for _ in range(n - first)]
            assert received == list(range(first, n))
            await until(lambda: client.session.queued_bytes == 0)
        assert client.session.close_code == 0


async def test_a_backlog_that_stays_is_no_slow_reader() -> None:
    """It never empties while ten times the bound goes through it."""
    async with Server(send_buffer=SMALL, queue_limit=100_000) as server:
        client = await subscriber(server, receive_buffer=SMALL)
        published = read = 0
        while read < 1000:
            while client.session.queued_bytes < 30_000:
                server.hub.publish(telemetry(1, n=published, text="x" * 1000))
                published += 1
                await asyncio.sleep(0)
            assert numbers([await client.hear()]) == [read]
            read += 1
        assert client.session.close_code == 0


async def test_queues_of_every_length_that_fill_and_drain() -> None:
    """Frames leave at the front and come at the back, at every place of the queue's memory."""
    async with Server(send_buffer=SMALL, queue_limit=0) as server:
        client = await subscriber(server, receive_buffer=SMALL)
        choose = random.Random(11)
        published = read = 0
        for _ in range(150):
            for _ in range(choose.randrange(12)):
                server.hub.publish(telemetry(1, n=published, text="x" * 3000))
                published += 1
            for _ in range(min(choose.randrange(12), published - read)):
                assert numbers([await client.hear()]) == [read]
                read += 1
        rest = [await client.hear() for _ in range(published - read)]
        assert numbers(rest) == list(range(read, published))
        assert client.session.queued_bytes == 0


async def test_answers_are_not_held_behind_a_backlog() -> None:
    async with Server(send_buffer=SMALL, queue_limit=0) as server:
        client = await subscriber(server, receive_buffer=SMALL)
        while client.session.queued_bytes < 200_000:
            server.hub.publish(telemetry(1, n=0, text="x" * 1000))
            await asyncio.sleep(0)
        await client.say(type="ping", id=1)
        await client.say(type="subscribe", id=2, channel="alerts")
        await client.send(PING, b"ping")
        seen: list[object] = []
        while len(seen) < 3:
            received = await client.receive()
            if received.opcode == PONG:
                seen.append(received.payload)
            elif (message := client.decode(received))["type"] != "telemetry_update":
                seen.append(message["id"])
        assert seen == [1, 2, b"ping"]
        assert client.session.queued_bytes > 50_000


async def test_answers_keep_their_order_and_pass_the_data_of_their_own_turn() -> None:
    """A turn's data is in the queue before an answer, then the kernel refuses some of it; the next answer comes."""
    async with Server(send_buffer=SMALL, queue_limit=0) as server:
        client = await server.login(server.token(publish=15), receive_buffer=SMALL)
        await client.ask(type="subscribe", id=0, channel="telemetry")

        def publish(_: object) -> int:
            return sum(server.hub.publish(telemetry(1, n=n, text="x" * 10_000)) for n in range(20, 40))

        server.host.publisher = publish
        await client.write(text({"type": "publish", "message": {}}) + text({"type": "ping", "id": 1}))
        await until(lambda: client.session.queued_bytes)
        size = len(encode(telemetry(1, n=20, text="x" * 10_000)))
        assert client.session.queued_bytes % size == 0  # only data waits
        await client.say(type="ping", id=2)
        heard = [await client.hear() for _ in range(22)]
        assert [message["id"] for message in heard if message["type"] == "pong"] == [1, 2]
        assert numbers([message for message in heard if message["type"] != "pong"]) == list(range(20, 40))
        assert heard[-1]["type"] == "telemetry_update"


async def test_a_peer_that_asks_and_does_not_read_the_answers_is_slow_too() -> None:
    """It is told so behind the answers."""
    async with Server(send_buffer=SMALL) as server:
        client = await server.login(receive_buffer=SMALL)
        flood = text({"type": "ping", "timestamp": "x" * 500}) * 50
        sending = asyncio.create_task(client.write(flood * 50))
        await until(lambda: client.session.close_code)
        messages, code, _ = await client.closing()
        assert (code, client.session.close_code) == (4102, 4102)
        assert {message["type"] for message in messages} == {"pong"}
        await asyncio.gather(sending, return_exceptions=True)


async def test_answers_to_a_reader_may_add_up() -> None:
    """What counts is how many answers wait at a time."""
    async with Server(send_buffer=SMALL) as server:
        client = await subscriber(server, receive_buffer=SMALL)
        for n in range(30):
            server.hub.publish(telemetry(1, n=n, text="x" * 60_000))
            while server.hub.turn.refused <= n:
                await asyncio.sleep(0)
            await client.write(text({"type": "ping", "timestamp": "x" * 900}) * 5)
            heard = [await client.hear() for _ in range(6)]
            assert [message["type"] for message in heard] == ["telemetry_update"] + ["pong"] * 5


async def test_a_large_message_on_its_way_does_not_make_a_reader_slow() -> None:
    """What the transport holds of a message is no pile of unread answers."""
    async with Server(send_buffer=SMALL) as server:
        client = await subscriber(server, receive_buffer=SMALL)
        server.hub.publish(telemetry(1, n=0, text="x" * 300_000))
        await until(lambda: server.hub.turn.refused)
        await client.say(type="ping", id=1)
        await client.send(PING, b"ping")
        assert numbers([await client.hear()]) == [0]
        assert (await client.hear())["id"] == 1
        assert (await client.receive()) == (PONG, b"ping")


async def test_nothing_follows_a_close_that_passed_the_data_of_its_turn() -> None:
    """The kernel refuses a part of the turn, the CLOSE goes ahead of the rest: the rest is not sent any more."""
    async with Server(send_buffer=SMALL, queue_limit=0) as server:
        client = await subscriber(server, receive_buffer=SMALL)
        for n in range(30):
            server.hub.publish(telemetry(1, n=n, text="x" * 10_000))
        client.session.disconnect(1012)
        messages, code, _ = await client.closing()
        assert code == 1012
        assert numbers(messages) == list(range(len(messages)))
        await client.send(CLOSE, (1012).to_bytes(2, "big"))
        assert await client.rest() == []


async def test_nothing_follows_the_answer_to_a_close() -> None:
    """The same when it is the peer that closes, in the turn of the data."""
    async with Server(send_buffer=SMALL, queue_limit=0) as server:
        client = await server.login(server.token(publish=15), receive_buffer=SMALL)
        await client.ask(type="subscribe", id=0, channel="telemetry")

        def publish(_: object) -> int:
            return sum(server.hub.publish(telemetry(1, n=n, text="x" * 10_000)) for n in range(30))

        server.host.publisher = publish
        await client.write(text({"type": "publish", "message": {}}) + frame(CLOSE, (1000).to_bytes(2, "big")))
        frames = await client.rest()
        assert [received.opcode for received in frames].index(CLOSE) == len(frames) - 1
