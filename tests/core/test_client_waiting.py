"""Verifications that take their time: what comes meanwhile waits, in order and bounded (protocol.md, section 2)."""

from __future__ import annotations

import asyncio
import time

import pytest

from core.harness import Server, subscriber, telemetry, until, without_text
from core.wire_client import TEXT, GoneError, frame, text
from valtronics_fast._core.scope import Grant

DENIED = {"type": "auth_response", "success": False, "error": "invalid_token"}


def pending(server: Server, token: str = "slow") -> asyncio.Future[Grant]:
    """Return the verification that a token waits for; the test ends it."""
    server.host.pending[token] = asyncio.get_running_loop().create_future()
    return server.host.pending[token]


def grant(user: str = "alice", *, channels: int = 15) -> Grant:
    return Grant(user, time.time() + 3600, channels=channels)


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


async def test_every_verification_has_the_whole_room() -> None:
    async with Server() as server:
        client = await server.connect()
        for _ in range(4):
            verification = pending(server)
            await client.say(type="auth", token="slow")
            await client.write(text({"type": "ping", "timestamp": "x" * 1000}) * 20)
            assert await client.settled() == []
            verification.set_result(grant())
            assert (await client.hear())["type"] == "auth_response"
            assert [message["error"] for message in await client.settled()] == ["message_too_large"] * 20
        assert client.session.dropped == 0


async def test_nothing_is_done_behind_a_verification_that_ends_the_connection() -> None:
    async with Server() as server:
        client, reader = await server.login(server.token("alice", publish=15)), await subscriber(server)
        verification = pending(server)
        await client.say(type="auth", token="slow")
        await client.say(type="publish", message=telemetry(1, t=1))
        await client.say(type="ping")
        assert await client.settled() == []
        verification.set_result(grant("mallory"))
        messages, code, _ = await client.closing()
        assert [message["type"] for message in messages] == ["auth_response"]
        assert code == 4004
        assert await reader.settled() == []
