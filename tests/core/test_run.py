"""Data messages of a turn in batches (protocol.md, section 7)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from core.behind import Jam
from core.harness import Message, Server, numbers, telemetry
from core.paced import Stage
from core.wire_client import PING, PONG, Client, Frame, text
from valtronics_fast._core.encode import batch_frame, encode

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BATCH = 1 << 16


async def batched(server: Server, *, receive_buffer: int = 0, publish: int = 0, **filters: object) -> Client:
    """Return a client that takes batches and has subscribed to telemetry."""
    client = await server.connect(receive_buffer=receive_buffer)
    token = server.token(seconds=1e9, publish=publish)
    assert (await client.ask(type="auth", token=token, batch=True))["success"] is True
    assert (await client.ask(type="subscribe", id=1, channel="telemetry", **filters))["success"] is True
    return client


async def frames(client: Client) -> list[Frame]:
    """Return the frames that a client has been sent up to now."""
    await client.send(PING, b"end")
    received = []
    while (one := await client.receive()) != (PONG, b"end"):
        received.append(one)
    return received


def unpacked(received: list[Frame]) -> list[list[Message]]:
    """Return the data messages of each frame; an answer is one of its own."""
    found = []
    for message in map(Client.decode, received):
        if message["type"] == "batch":
            assert message.keys() == {"type", "messages"}
            assert len(message["messages"]) > 1
            assert all(one["type"] != "batch" for one in message["messages"])
            found.append(message["messages"])
        else:
            found.append([message])
    return found


async def test_a_turn_is_one_frame_of_the_messages_as_they_are() -> None:
    async with Server() as server:
        client = await batched(server)
        for n in range(3):
            server.hub.publish(telemetry(1, n=n))
        (frame,) = await frames(client)
        assert frame.payload == batch_frame([encode(telemetry(1, n=n)) for n in range(3)])[4:]


async def test_one_message_is_sent_as_it_is() -> None:
    async with Server() as server:
        client = await batched(server)
        server.hub.publish(telemetry(1, n=1))
        assert await client.hear() == telemetry(1, n=1) | {"channel": "telemetry"}


@pytest.mark.parametrize("wrong", [1, "true", False, None, [True]])
async def test_only_who_asks_gets_them(wrong: object) -> None:
    async with Server() as server:
        client = await server.connect()
        await client.ask(type="auth", token=server.token(), batch=wrong)
        await client.ask(type="subscribe", id=1, channel="telemetry")
        for n in range(3):
            server.hub.publish(telemetry(1, n=n))
        assert numbers(await client.settled()) == [0, 1, 2]


async def test_it_may_be_asked_for_later_and_stays() -> None:
    async with Server() as server:
        client = await server.login()
        await client.ask(type="subscribe", id=1, channel="telemetry")
        await client.ask(type="auth", token=server.token(), batch=True)
        await client.ask(type="auth", token=server.token())
        for n in range(3):
            server.hub.publish(telemetry(1, n=n))
        assert [numbers(messages) for messages in unpacked(await frames(client))] == [[0, 1, 2]]


async def test_answers_keep_their_place() -> None:
    """What was published before an answer comes before it, what was published behind it comes behind."""
    async with Server() as server:
        client = await batched(server, publish=15)
        published = iter(range(99))

        def publish(message: Any) -> int:
            return sum(server.hub.publish(telemetry(1, n=next(published))) for _ in range(message["n"]))

        server.host.publisher = publish
        commands: list[Message] = []
        for count in (2, 3, 1, 0, 2):
            commands += [{"type": "publish", "message": {"n": count}}, {"type": "ping", "id": count}]
        await client.write(b"".join(map(text, commands)))
        received = unpacked(await frames(client))
        shown = [messages[0]["id"] if messages[0]["type"] == "pong" else numbers(messages) for messages in received]
        assert shown == [[0, 1], 2, [2, 3, 4], 3, [5], 1, 0, [6, 7], 2]


@pytest.mark.parametrize("size", [10, 1000, 20_000, 32_700, 40_000, 70_000])
async def test_batches_have_a_largest_size(size: int) -> None:
    """As many messages as go into it; one that is larger goes alone."""
    async with Server() as server:
        client = await batched(server)
        count = min(2000, 1_500_000 // (size + 100))  # a turn's worth: no more than the queue's bound
        for n in range(count):
            server.hub.publish(telemetry(1, n=n, text="x" * size))
        received = []
        while client.session.queued_bytes:
            received += await frames(client)
        received += await frames(client)
        messages = unpacked(received)
        assert [number for some in messages for number in numbers(some)] == list(range(count))
        envelope = len('{"type":"batch","messages":[]}')
        room = [MAX_BATCH + envelope - len(frame.payload) for frame in received]
        for spare, some, following in zip(room, messages, messages[1:], strict=False):
            least = len(encode(following[0])) - 4
            assert spare < least + 5  # the next message would have been too much
            assert spare >= 0 or len(some) == 1


async def test_connections_with_and_without_them_side_by_side() -> None:
    """The same turn, in the same order and with what each one asked for."""
    async with Server() as server:
        clients = [
            await batched(server),
            await batched(server),
            await batched(server, metrics=["n"]),
            await server.login(),
            await batched(server),
            await batched(server, device_id=1),
        ]
        await clients[3].ask(type="subscribe", id=1, channel="telemetry")
        for turn in range(3):
            for n in range(70):
                server.hub.publish(telemetry(n % 2, n=n + turn * 70, text="x"))
            received = [await frames(client) for client in clients]
            assert [len(some) for some in received] == [1, 1, 1, 70, 1, 1]
            numbered = [[n for some in unpacked(one) for n in numbers(some)] for one in received]
            everything = list(range(turn * 70, turn * 70 + 70))
            assert numbered[:5] == [everything] * 5
            assert numbered[5] == everything[1::2]
            assert received[0] == received[1] == received[4]


async def test_what_is_sent_is_counted() -> None:
    """Messages as they were before, bytes as they leave."""
    async with Server() as server:
        client = await batched(server)
        before = client.session.messages_out, client.session.bytes_out
        for n in range(100):
            server.hub.publish(telemetry(1, n=n, text="x" * 1000))
        await asyncio.sleep(0)
        received = await frames(client)
        size = sum(len(frame.payload) + (4 if len(frame.payload) < 65536 else 10) for frame in received)
        assert client.session.messages_out - before[0] == 100
        assert client.session.bytes_out - before[1] == size + len(b"end") + 2


async def test_never_within_another_and_never_lost_where_the_reader_is_slow() -> None:
    """Batches wait in the queue, and more comes behind them."""
    async with Server(send_buffer=4096, queue_limit=0) as server:
        client = await batched(server, receive_buffer=4096)
        published, received = 0, []
        for turn in range(60):
            for _ in range(20):
                server.hub.publish(telemetry(1, n=published, text="x" * (turn * 37 % 900)))
                published += 1
            await asyncio.sleep(0)
            if turn % 3 == 0:
                received.append(await client.receive())
        while client.session.queued_bytes:
            received += await frames(client)
        received += await frames(client)
        assert [n for some in unpacked(received) for n in numbers(some)] == list(range(published))
        assert len(received) < published / 5


async def test_data_of_an_interval_is_one_batch() -> None:
    intervals: list[Callable[[], None]] = []
    async with Server(delay=intervals.append) as server:
        client = await batched(server)
        for n in range(5):
            server.hub.publish(telemetry(1, n=n))
            await asyncio.sleep(0)
        intervals.pop()()
        assert [numbers(messages) for messages in unpacked(await frames(client))] == [[0, 1, 2, 3, 4]]


async def test_snapshots_and_what_was_missed_come_in_batches_too() -> None:
    async with Stage(history=100) as stage:
        for n in range(50):
            stage.publish(n, n=n)
        for wish in ({"snapshot": True}, {"since": {"epoch": stage.hub.epoch, "offset": 0}}):
            client = await batched(stage, device_id="none")
            await client.say(type="subscribe", id=2, channel="telemetry", **wish)
            (answer,), data = unpacked(await frames(client))
            assert answer["id"] == 2
            assert numbers(data) == list(range(50))


async def test_values_that_were_kept_back_come_in_batches_too() -> None:
    async with Jam() as jam:
        slow = await jam.reader(auth={"batch": True})
        await jam.taken(slow, type="subscribe", channel="telemetry")
        await jam.jam(slow)
        for n in range(50):
            jam.publish(n % 10, n=n)
        received = []
        while jam.hub.behind or slow.session.queued_bytes:
            received += await frames(slow)
        received += await frames(slow)
        (values,) = [some for some in unpacked(received) if "telemetry" in some[0]]
        assert numbers(values) == list(range(40, 50))
