"""Authentication (protocol.md, section 2); renewal and expiry are in test_client_renewal.py."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from core.harness import Message, Server, telemetry, without_text
from core.wire_client import text
from valtronics_fast._core.scope import Grant

DENIED = {"type": "auth_response", "success": False, "error": "invalid_token"}


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
