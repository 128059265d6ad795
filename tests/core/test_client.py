"""Authentication (protocol.md, section 2); renewal and expiry are in test_client_renewal.py."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from core.harness import Message, Server, telemetry, until
from core.wire_client import TEXT, GoneError, frame, text
from valtronics_fast._core.scope import Grant

DENIED = {"type": "auth_response", "success": False, "error": "invalid_token"}


def without_text(message: Message) -> Message:
    return {key: value for key, value in message.items() if key != "message"}


def pending(server: Server, token: str = "slow") -> asyncio.Future[Grant]:
    """Return the verification that a token waits for; the test ends it."""
    server.host.pending[token] = asyncio.get_running_loop().create_future()
    return server.host.pending[token]


def grant(user: str = "alice", *, channels: int = 15) -> Grant:
    return Grant(user, time.time() + 3600, channels=channels)


async def test_success_tells_what_the_token_permits() -> None:
    async with Server() as server:
        client = await server.connect()
        assert (client.session.user, client.session.grant) == (None, None)
        answer = await client.ask(type="auth", token=server.token("alice", seconds=3600, channels=0b1010), id="a")
        expires = datetime.fromisoformat(answer.pop("expires_at"))
        assert expires.tzinfo == UTC
        assert abs(expires.timestamp() - time.time() - 3600) < 30
        assert 3500 < answer.pop("expires_in") <= 3600
        expected: Message = {"type": "auth_response", "success": True, "user": "alice", "id": "a"}
        assert answer == expected | {"channels": ["alerts", "system"]}
        assert client.session.user == "alice"
        assert server.host.users == ["alice"]


@pytest.mark.parametrize("auth", [{}, {"token": "unknown"}, {"token": None}, {"token": 7}, {"token": ["a"]}])
async def test_a_bad_token_is_answered_and_may_be_followed_by_a_good_one(auth: Message) -> None:
    async with Server() as server:
        client = await server.connect()
        answer = await client.ask(type="auth", id=9, **auth)
        assert answer.pop("message")
        assert answer == DENIED | {"id": 9}
        assert (await client.ask(type="subscribe", channel="alerts"))["error"] == "not_authenticated"
        assert (await client.ask(type="auth", token=server.token()))["success"] is True


async def test_the_third_failure_ends_the_connection() -> None:
    async with Server() as server:
        client = await server.connect()
        good = server.token()
        await client.write(text({"type": "auth", "token": "bad"}) * 4 + text({"type": "auth", "token": good}))
        messages, code, reason = await client.closing()
        assert [without_text(message) for message in messages] == [DENIED] * 3
        assert (code, reason) == (4001, "invalid_token")
        assert server.host.users == []


async def test_no_success_in_time_ends_the_connection() -> None:
    async with Server(auth_timeout=0.2) as server:
        silent, failing, authenticated = await server.connect(), await server.connect(), await server.login()
        await failing.ask(type="auth", token="bad")
        assert await silent.closing() == ([], 4002, "auth_timeout")
        assert await failing.close_code() == 4002
        assert (await authenticated.ask(type="ping"))["type"] == "pong"


async def test_a_verification_that_takes_too_long_is_no_success() -> None:
    async with Server(auth_timeout=0.2, close_timeout=0.2) as server:
        client = await server.connect()
        verification = pending(server)
        await client.say(type="auth", token="slow")
        assert await client.closing() == ([], 4002, "auth_timeout")
        verification.set_result(grant())
        with pytest.raises(GoneError):
            await client.receive()
        assert server.host.users == []


@pytest.mark.parametrize(
    "command",
    [
        {"type": "subscribe", "channel": "telemetry"},
        {"type": "unsubscribe", "channel": "telemetry"},
        {"type": "publish", "message": telemetry(1, t=1)},
        {"type": "error_report", "error": "x"},
        {"type": "batch", "messages": [{"type": "subscribe", "channel": "telemetry"}]},
    ],
    ids=lambda command: command["type"],
)
async def test_only_auth_and_ping_are_served_before(command: Message) -> None:
    async with Server() as server:
        client = await server.connect()
        assert (await client.ask(type="ping"))["type"] == "pong"
        assert (await client.ask(**command))["error"] == "not_authenticated"
        assert client.session.subscription_count == 0
        assert server.host.reports == []


@pytest.mark.parametrize("endpoint", [-1, 0])
async def test_nothing_is_sent_before_it_is_asked_for(endpoint: int) -> None:
    async with Server() as server:
        client = await server.connect(endpoint=endpoint)
        assert await client.settled() == []
        server.hub.publish(telemetry(1, t=1))
        assert await client.settled() == []
        await client.say(type="auth", token=server.token())
        await client.say(type="ping")
        server.hub.publish(telemetry(1, t=2))
        assert (await client.hear())["type"] == "auth_response"


async def test_commands_right_behind_auth_are_served_in_order() -> None:
    async with Server() as server:
        client = await server.connect()
        commands: list[Message] = [
            {"type": "auth", "token": server.token(publish=15)},
            {"type": "subscribe", "channel": "telemetry", "id": 1},
            {"type": "publish", "message": telemetry(1, t=1)},
            {"type": "unsubscribe", "channel": "telemetry", "id": 2},
            {"type": "publish", "message": telemetry(1, t=2), "id": 3},
        ]
        await client.write(b"".join(map(text, commands)))
        types = [message["type"] for message in await client.settled()]
        in_order = ["auth_response", "subscribe_response", "telemetry_update", "unsubscribe_response"]
        assert types == [*in_order, "publish_response"]


async def test_commands_wait_for_a_verification_that_takes_its_time() -> None:
    async with Server() as server:
        client = await server.connect()
        verification = pending(server)
        await client.say(type="ping", id=0)
        await client.say(type="auth", token="slow", id=1)
        await client.say(type="subscribe", channel="alerts", id=2)
        await client.write(frame(TEXT, b"no json") + text({"type": "ping", "id": 3}))
        assert [message["id"] for message in await client.settled()] == [0]
        verification.set_result(grant())
        heard = [await client.hear() for _ in range(4)]
        assert [message["type"] for message in heard] == ["auth_response", "subscribe_response", "error", "pong"]
        assert client.session.subscription_count == 1


async def test_two_slow_verifications_in_a_row() -> None:
    """What stands behind the second one waits for it, though it came during the first."""
    async with Server() as server:
        client = await server.connect()
        first, second = pending(server, "first"), pending(server, "second")
        await client.write(
            b"".join(
                map(
                    text,
                    [
                        {"type": "auth", "token": "first", "id": 1},
                        {"type": "ping", "id": 2},
                        {"type": "auth", "token": "second", "id": 3},
                        {"type": "subscribe", "channel": "devices", "id": 4},
                        {"type": "ping", "id": 5},
                    ],
                )
            )
        )
        assert await client.settled() == []
        first.set_result(grant())
        assert [(await client.hear())["id"] for _ in range(2)] == [1, 2]
        await client.say(type="ping", id=6)
        assert await client.settled() == []
        second.set_result(grant(channels=0b0001))
        heard = [await client.hear() for _ in range(4)]
        assert [message["id"] for message in heard] == [3, 4, 5, 6]
        assert heard[1]["error"] == "forbidden"


async def test_a_slow_refusal() -> None:
    async with Server() as server:
        client = await server.connect()
        verification = pending(server)
        await client.say(type="auth", token="slow", id=1)
        await client.say(type="subscribe", channel="alerts", id=2)
        assert await client.settled() == []
        verification.set_exception(PermissionError())
        assert without_text(await client.hear()) == DENIED | {"id": 1}
        assert (await client.hear())["error"] == "not_authenticated"
        assert (await client.ask(type="auth", token=server.token()))["success"] is True


async def test_a_client_that_leaves_while_its_token_is_verified() -> None:
    async with Server() as server:
        client = await server.connect()
        verification = pending(server)
        await client.say(type="auth", token="slow")
        await client.say(type="subscribe", channel="alerts")
        assert await client.settled() == []
        client.reset()
        await until(lambda: client.session in server.host.closed_sessions)
        verification.set_result(grant())
        await asyncio.sleep(0)
        assert server.host.users == []


@pytest.mark.parametrize("commands", [64, 65, 200])
async def test_what_waits_for_a_verification_is_bounded(commands: int) -> None:
    """64 messages wait; the rest is dropped, which is told behind the auth_response, as everything is."""
    async with Server() as server:
        client = await server.connect()
        verification = pending(server)
        await client.say(type="auth", token="slow")
        await client.write(b"".join(text({"type": "ping", "id": i}) for i in range(commands)))
        before = await client.settled()
        verification.set_result(grant())
        messages = [*before, await client.hear(), *await client.settled()]
        assert messages[0]["type"] == "auth_response"
        assert [message["id"] for message in messages if message["type"] == "pong"] == list(range(64))
        assert client.session.dropped == commands - 64
        assert bool([message for message in messages if message.get("error") == "rate_limited"]) == (commands > 64)
        assert (await client.ask(type="ping"))["type"] == "pong"


async def test_the_bytes_that_wait_are_bounded_too() -> None:
    async with Server() as server:
        client = await server.connect()
        verification = pending(server)
        await client.say(type="auth", token="slow")
        await client.write(text({"type": "ping", "timestamp": "x" * 20_000}) * 5)
        await client.settled()
        assert client.session.dropped == 2
        verification.set_result(grant())
        messages = [await client.hear(), *await client.settled()]
        answers = [message for message in messages if message.get("error") != "rate_limited"]
        assert [message.get("error") for message in answers] == [None] + ["message_too_large"] * 3


async def test_a_token_of_the_handshake() -> None:
    """No auth is needed, nothing is sent unasked, and an auth that comes is answered all the same."""
    async with Server() as server:
        client = await server.connect(grant=grant("bob", channels=0b0011))
        assert client.session.user == "bob"
        assert await client.settled() == []
        assert (await client.ask(type="subscribe", channel="telemetry", id=1))["success"] is True
        assert (await client.ask(type="subscribe", channel="system", id=1))["error"] == "forbidden"
        answer = await client.ask(type="auth", token=server.token("bob"))
        assert (answer["success"], answer["user"]) == (True, "bob")
        assert (await client.ask(type="subscribe", channel="system", id=1))["success"] is True
        assert server.host.users == ["bob"]


async def test_an_endpoint_with_a_token_of_the_handshake_is_subscribed_at_once() -> None:
    async with Server() as server:
        client = await server.connect(endpoint=0, grant=grant())
        assert server.hub.publish(telemetry(1, t=1)) == 1
        assert [message["type"] for message in await client.settled()] == ["telemetry_update"]


async def test_a_token_that_does_not_permit_the_endpoint() -> None:
    async with Server() as server:
        client = await server.connect(endpoint=0)
        await client.say(type="auth", token=server.token(channels=0b1110))
        messages, code, reason = await client.closing()
        assert [without_text(message) for message in messages] == [DENIED | {"error": "forbidden"}]
        assert (code, reason) == (4003, "forbidden")
        assert server.host.users == []


async def test_too_many_connections_of_the_user() -> None:
    async with Server() as server:
        server.host.full = True
        client = await server.connect(endpoint=0)
        await client.write(text({"type": "auth", "token": server.token()}) + text({"type": "ping"}))
        messages, code, reason = await client.closing()
        assert [without_text(message) for message in messages] == [DENIED | {"error": "too_many_connections"}]
        assert (code, reason) == (4005, "too_many_connections")
        assert server.hub.publish(telemetry(1, t=1)) == 0
