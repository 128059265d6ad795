"""Input that takes longer than a turn of the event loop may: it waits for the next one, in order, beside the others'.

The bound is so small here that every turn handles one message.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import orjson
import pytest

from core.harness import Server, telemetry
from core.wire_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, text

if TYPE_CHECKING:
    from core.wire_client import Client

TINY = 1e-9
MANY = 600


def server() -> Server:
    return Server(budget=TINY, message_size=0)


def pings(count: int) -> bytes:
    return b"".join(text({"type": "ping", "id": number}) for number in range(count))


async def answers(client: Client, count: int) -> list[object]:
    """Return the ids of the next answers."""
    return [orjson.loads((await client.receive()).payload).get("id") for _ in range(count)]


async def test_order_is_kept_and_nothing_is_lost() -> None:
    async with server() as here:
        client = await here.login()
        await client.write(pings(MANY))
        assert await answers(client, MANY) == list(range(MANY))
        assert here.hub.budget.held > MANY / 2
        await client.write(pings(3))
        assert await answers(client, 3) == [0, 1, 2]


async def test_all_kinds_of_frames_keep_their_order() -> None:
    """Fragments, control frames between them, commands that build on each other."""
    source = random.Random(1)
    async with server() as here:
        client = await here.login()
        sent, expected = [], []
        for number in range(200):
            kind = source.choice(["text", "fragments", "ping", "pong", "subscribe"])
            command = orjson.dumps({"type": "ping", "id": number})
            if kind == "text":
                sent.append(frame(TEXT, command))
            elif kind == "fragments":
                sent += [frame(TEXT, command[:5], fin=False), frame(PING, b"between"), frame(CONTINUATION, command[5:])]
                expected.append((PONG, b"between"))
            elif kind == "ping":
                sent.append(frame(PING, b"%d" % number))
                expected.append((PONG, b"%d" % number))
                continue
            elif kind == "pong":
                sent.append(frame(PONG, b"x"))
                continue
            else:
                sent += [text({"type": "subscribe", "channel": "telemetry", "device_id": number}), frame(TEXT, command)]
            expected.append((TEXT, number))
        await client.write(b"".join(sent))
        for opcode, content in expected:
            got = await client.receive()
            assert got.opcode == opcode
            assert (got.payload if opcode == PONG else orjson.loads(got.payload)["id"]) == content
        assert here.hub.budget.held > 100


async def test_what_comes_before_a_close_is_handled() -> None:
    async with server() as here:
        client = await here.login()
        await client.write(pings(MANY) + frame(CLOSE, (1000).to_bytes(2, "big")) + pings(5))
        assert await answers(client, MANY) == list(range(MANY))
        assert await client.close_code() == 1000
        await here.gone(client)


@pytest.mark.parametrize(
    ("violation", "code"),
    [(frame(3, b"x"), 1002), (frame(TEXT, b"\xff"), 1007), (frame(BINARY, b"x"), 1003), (b"\xf1\x80mask", 1002)],
)
async def test_what_comes_before_a_violation_is_handled(violation: bytes, code: int) -> None:
    async with server() as here:
        client = await here.login()
        await client.write(pings(100) + violation + pings(100))
        assert await answers(client, 100) == list(range(100))
        assert await client.close_code() == code
        client.close()
        await here.gone(client)


async def test_one_message_does_not_wait_for_all_of_another_connection() -> None:
    async with server() as here:
        flooder, other = await here.login(), await here.login()
        before = flooder.session.messages_in
        await flooder.write(pings(MANY))
        assert (await other.ask(type="ping", id=1))["type"] == "pong"
        assert flooder.session.messages_in - before < MANY / 2
        assert await answers(flooder, MANY) == list(range(MANY))


async def test_everybody_gets_a_turn() -> None:
    async with server() as here:
        clients = [await here.login() for _ in range(10)]
        for client in clients:
            await client.write(pings(200))
        for client in clients:
            assert await answers(client, 200) == list(range(200))


async def test_a_connection_that_goes_takes_what_waits_along() -> None:
    async with server() as here:
        staying = await here.login()
        for rudely in (True, False) * 5:
            client = await here.login()
            await client.write(pings(MANY))
            if rudely:
                client.reset()
            else:
                client.close()
            await here.gone(client)
        client = await here.login()
        await client.write(pings(MANY))
        client.session.abort()
        await here.gone(client)
        await staying.write(pings(3))
        assert await answers(staying, 3) == [0, 1, 2]


async def test_messages_that_wait_when_the_server_closes_are_ignored() -> None:
    async with server() as here:
        client = await here.login()
        await client.write(pings(MANY))
        await client.receive()
        client.session.disconnect(1012)
        code, behind = (await client.closing())[1], client.session.messages_in
        assert code == 1012
        assert behind < MANY
        await client.send(CLOSE, (1012).to_bytes(2, "big"))
        await here.gone(client)


async def test_data_reaches_a_connection_whose_input_waits() -> None:
    async with server() as here:
        client = await here.login()
        await client.ask(type="subscribe", id=1, channel="telemetry")
        await client.write(pings(MANY))
        assert here.hub.publish(telemetry(1, t=1)) == 1
        kinds = [orjson.loads((await client.receive()).payload)["type"] for _ in range(MANY + 1)]
        assert kinds.index("telemetry_update") < MANY / 2
        assert kinds.count("pong") == MANY


async def test_without_a_bound_nothing_waits() -> None:
    async with Server() as here:
        client = await here.login()
        await client.write(pings(MANY))
        assert await answers(client, MANY) == list(range(MANY))
        assert here.hub.budget.held == 0
