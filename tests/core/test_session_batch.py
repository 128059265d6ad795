"""Batches: several commands in one message (protocol.md, sections 3 and 4)."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from core.harness import Message, Server, telemetry, until
from core.wire_client import CLOSE, TEXT, frame
from valtronics_fast._core.scope import Grant

OK: Message = {"success": True}


def failed(error: str) -> Message:
    return {"success": False, "error": error}


def ping(number: int) -> Message:
    return {"type": "ping", "id": number}


async def test_items_are_done_in_order_and_answered_like_commands() -> None:
    async with Server() as server:
        client = await server.login(server.token(publish=15))
        items = [
            {"type": "subscribe", "channel": "telemetry", "id": "s"},
            {"type": "publish", "message": telemetry(1, t=1)},
            {"type": "unsubscribe", "channel": "telemetry"},
            {"type": "publish", "message": telemetry(1, t=2), "id": 2},
            {"type": "nonsense", "id": 3},
            7,
            ping(4),
        ]
        await client.say(type="batch", id="b", messages=items)
        heard = [await client.hear() for _ in range(7)]
        types = ["subscribe_response", "telemetry_update", "publish_response", "error", "error", "pong"]
        assert [message["type"] for message in heard] == [*types, "batch_response"]
        assert [message.get("id") for message in heard] == ["s", None, 2, 3, None, 4, "b"]
        results = [OK, OK, OK, OK, failed("unknown_type"), failed("invalid_message"), OK]
        assert heard[-1] == {"type": "batch_response", "id": "b", "success": True, "results": results}
        assert await client.settled() == []


async def test_without_an_id_only_the_items_are_answered() -> None:
    async with Server() as server:
        client = await server.login()
        items = [{"type": "subscribe", "channel": "alerts"}, ping(1), {"type": "subscribe", "channel": "x"}]
        await client.say(type="batch", messages=items)
        assert [message["type"] for message in await client.settled()] == ["pong", "error"]


async def test_an_empty_batch() -> None:
    async with Server() as server:
        client = await server.login()
        answer = await client.ask(type="batch", id=1, messages=[])
        assert answer == {"type": "batch_response", "id": 1, "success": True, "results": []}


@pytest.mark.parametrize("more", [{}, {"messages": None}, {"messages": {}}, {"messages": "x"}, {"messages": ping(1)}])
async def test_what_is_no_batch(more: Message) -> None:
    async with Server() as server:
        client = await server.login()
        answer = await client.ask(type="batch", id=1, **more)
        assert (answer["error"], answer["id"]) == ("invalid_message", 1)
        assert await client.settled() == []


async def test_fifty_items_and_one_more() -> None:
    async with Server() as server:
        client = await server.login()
        await client.say(type="batch", id="b", messages=[ping(i) for i in range(50)])
        assert [message["id"] for message in await client.settled()] == [*range(50), "b"]
        answer = await client.ask(type="batch", id="b", messages=[ping(i) for i in range(51)])
        assert (answer["type"], answer["error"], answer["id"]) == ("error", "batch_too_large", "b")
        assert await client.settled() == []


@pytest.mark.parametrize("inner", [{"type": "batch", "messages": [ping(2)]}, {"type": "batch"}])
async def test_no_batch_within_a_batch(inner: Message) -> None:
    async with Server() as server:
        client = await server.login()
        items = [{"type": "subscribe", "channel": "alerts"}, ping(1), inner]
        answer = await client.ask(type="batch", id="b", messages=items)
        assert (answer["error"], answer["id"]) == ("batch_too_large", "b")
        assert await client.settled() == []
        assert client.session.subscription_count == 0


async def test_every_item_has_its_own_size() -> None:
    """A batch may be larger than a message; one large item is refused, the others are done."""
    async with Server() as server:
        client = await server.login()
        token = server.token()
        items: list[Message] = [ping(i) | {"pad": "x" * size} for i, size in enumerate((900, 1100, 3, 950, 2000))]
        items.append({"type": "auth", "token": token, "id": 5, "pad": "x" * 3000})
        items.append({"type": "auth", "token": token, "id": 6, "pad": "x" * 9000})
        await client.say(type="batch", id="b", messages=items)
        heard = await client.settled()
        too_large = failed("message_too_large")
        assert heard.pop()["results"] == [OK, too_large, OK, OK, too_large, OK, too_large]
        assert [message.get("error") for message in heard] == [
            item.get("error") for item in (OK, too_large, OK, OK, too_large, OK, too_large)
        ]
        assert [message.get("id") for message in heard] == list(range(7))


async def test_an_item_of_exactly_the_size() -> None:
    async with Server() as server:
        client = await server.login()
        bare = len(orjson.dumps(ping(0) | {"pad": ""}))
        for size, expected in ((1024, OK), (1025, failed("message_too_large"))):
            item = ping(0) | {"pad": "x" * (size - bare)}
            await client.say(type="batch", id=1, messages=[item, ping(1)])
            assert (await client.settled())[-1]["results"] == [expected, OK]


@pytest.mark.parametrize(
    "messages",
    [
        b'"messages":[1,2],"m\\u0065ssages":[%b,%b]',
        b'"m\\u0065ssages":[1,2],"messages":[%b,%b]',
        b'"messages":[1,2],"messages":[%b,%b]',
        b'"messages" : [ %b , %b ]',
    ],
)
async def test_no_spelling_makes_an_item_larger(messages: bytes) -> None:
    async with Server() as server:
        client = await server.login()
        large = orjson.dumps({"type": "subscribe", "channel": "alerts", "pad": '[{,"' * 600})
        await client.write(frame(TEXT, b'{"type":"batch","id":1,' + messages % (large, large) + b"}"))
        heard = await client.settled()
        assert {message["error"] for message in heard[:-1]} == {"message_too_large"}
        assert client.session.subscription_count == 0


async def test_every_item_counts_for_the_rate() -> None:
    async with Server(messages_per_second=10) as server:
        client = await server.login()
        await client.say(type="batch", id="b", messages=[ping(i) for i in range(50)])
        messages: list[Message] = []
        while not messages or messages[-1]["type"] != "batch_response":
            messages.append(await client.hear())
        results = messages[-1]["results"]
        served = results.count(OK)
        assert len(results) == 50
        assert 9 <= served < 50
        assert results.count(failed("rate_limited")) == 50 - served
        assert len([message for message in messages if message["type"] == "pong"]) == served
        assert client.session.dropped == 50 - served


async def test_a_batch_may_authenticate() -> None:
    async with Server() as server:
        client = await server.connect()
        items = [
            {"type": "auth", "token": "bad"},
            {"type": "auth", "token": server.token()},
            {"type": "subscribe", "channel": "alerts", "id": 1},
        ]
        await client.say(type="batch", id="b", messages=items)
        assert (await client.settled())[-1]["results"] == [failed("invalid_token"), OK, OK]
        assert client.session.subscription_count == 1


@pytest.mark.parametrize("good", [True, False])
async def test_a_batch_waits_for_a_slow_verification_in_its_middle(good: bool) -> None:
    """And what comes behind the batch waits for the batch; the results tell how the verification ended."""
    async with Server() as server:
        client = await server.login()
        verification: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        server.host.pending["slow"] = verification
        auth, subscribe = {"type": "auth", "token": "slow"}, {"type": "subscribe", "channel": "alerts"}
        items = [ping(1), auth | {"id": 2}, subscribe | {"id": 3}, ping(4)]
        await client.say(type="batch", id="b", messages=items)
        await client.say(type="ping", id=5)
        assert [message["id"] for message in await client.settled()] == [1]
        if good:
            verification.set_result(Grant("alice", time.time() + 60, channels=1))
        else:
            verification.set_exception(PermissionError())
        heard = [await client.hear() for _ in range(5)]
        assert [message["id"] for message in heard] == [2, 3, 4, "b", 5]
        ends = [OK, failed("forbidden")] if good else [failed("invalid_token"), OK]
        assert heard[3]["results"] == [OK, *ends, OK]


async def test_a_batch_goes_on_behind_an_internal_error() -> None:
    async with Server() as server:
        client = await server.login(server.token(publish=15))

        def publish(_: object) -> int:
            raise RuntimeError("broken")

        server.host.publisher = publish
        await client.say(type="batch", id="b", messages=[ping(1), {"type": "publish", "message": {}, "id": 2}, ping(3)])
        heard = await client.settled()
        assert len(server.host.errors) == 1
        server.host.errors.clear()
        assert [message.get("error") for message in heard] == [None, "internal", None, None]
        assert [message.get("id") for message in heard] == [1, 2, 3, "b"]
        assert heard[-1]["results"] == [OK, failed("internal"), OK]


async def test_nothing_of_a_batch_that_failed_comes_back_later() -> None:
    async with Server() as server:
        client = await server.login(server.token(publish=15))

        def publish(_: object) -> int:
            raise RuntimeError("broken")

        server.host.publisher = publish
        items = [{"type": "publish", "message": {}}, {"type": "subscribe", "channel": "alerts"}]
        await client.say(type="batch", messages=items)
        await client.settled()
        server.host.errors.clear()
        await client.say(type="unsubscribe", channel="alerts")
        await client.settled()
        verification: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        server.host.pending["slow"] = verification
        await client.say(type="auth", token="slow")
        await client.settled()
        verification.set_result(Grant("alice", time.time() + 60))
        assert (await client.hear())["success"] is True
        assert await client.settled() == []
        assert client.session.subscription_count == 0


async def test_an_internal_error_behind_a_slow_verification() -> None:
    """It is told like any other, and what waited behind it is not lost."""
    async with Server() as server:
        client = await server.connect()

        def publish(_: object) -> int:
            raise RuntimeError("broken")

        server.host.publisher = publish
        verification: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        server.host.pending["slow"] = verification
        await client.say(type="batch", messages=[{"type": "auth", "token": "slow"}, {"type": "publish", "message": {}}])
        await client.say(type="ping", id=1)
        await client.settled()
        verification.set_result(Grant("alice", time.time() + 60, publish=15))
        await until(lambda: server.host.errors or server.unhandled)
        assert server.unhandled == []
        assert len(server.host.errors) == 1
        server.host.errors.clear()
        heard = [await client.hear() for _ in range(3)]
        assert [message.get("error") for message in heard] == [None, "internal", None]


async def test_a_batch_ends_where_its_connection_does() -> None:
    async with Server() as server:
        client = await server.connect()
        items = [{"type": "auth", "token": "bad"}] * 3 + [ping(1)]
        await client.say(type="batch", id="b", messages=items)
        messages, code, _ = await client.closing()
        assert [message["type"] for message in messages] == ["auth_response"] * 3
        assert code == 4001
        await client.send(CLOSE, code.to_bytes(2, "big"))
        assert await client.rest() == []
