"""Tokens that are renewed, that expire, and hosts that fail (protocol.md, section 2)."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from core.harness import Message, Server, telemetry
from core.wire_client import Client, text
from valtronics_fast._core.scope import Grant


async def subscribed(server: Server, *commands: Message, **options: object) -> Client:
    client = await server.login(**options)  # type: ignore[arg-type]  # options of Session
    for command in commands:
        answer = await client.ask(type="subscribe", id=1, **command)
        assert answer["type"] == "subscribe_response", answer
    return client


async def renewed(client: Client, token: str) -> list[Message]:
    """Renew; return what comes behind the auth_response."""
    answer = await client.ask(type="auth", token=token)
    assert (answer["type"], answer["success"]) == ("auth_response", True)
    return await client.settled()


def lost(channel: str, **more: object) -> Message:
    return {"type": "unsubscribed", "channel": channel, "reason": "permission_revoked", **more}


async def test_a_renewal_keeps_what_is_still_permitted() -> None:
    async with Server() as server:
        client = await subscribed(server, {"channel": "telemetry"}, {"channel": "alerts", "device_id": [1, 2]})
        assert await renewed(client, server.token(devices=frozenset({2}))) == []
        assert client.session.subscription_count == 2
        assert server.hub.publish(telemetry(1, t=1)) == 0
        assert server.hub.publish(telemetry(2, t=1)) == 1
        assert server.host.users == ["alice"]  # joined once


async def test_subscriptions_that_a_renewal_ends_are_announced() -> None:
    async with Server() as server:
        client = await subscribed(
            server,
            {"channel": "telemetry", "device_id": [2, 1]},
            {"channel": "telemetry", "device_id": [3]},
            {"channel": "telemetry"},
            {"channel": "alerts", "device_id": 1},
            {"channel": "alerts", "device_id": 2},
            {"channel": "system"},
        )
        announced = await renewed(client, server.token(channels=0b1001, devices=frozenset({3})))
        assert announced == [lost("telemetry", device_id=[1, 2]), lost("alerts")]
        assert client.session.subscription_count == 3
        # What was lost does not come back by itself.
        assert await renewed(client, server.token()) == []
        assert server.hub.publish({"type": "alert", "severity": "high", "device_id": 1}) == 0


async def test_a_renewal_that_leaves_no_device_at_all() -> None:
    async with Server() as server:
        client = await subscribed(server, {"channel": "telemetry"}, {"channel": "system"})
        assert await renewed(client, server.token(devices=frozenset())) == [lost("telemetry")]
        assert client.session.subscription_count == 1


async def test_a_slow_renewal() -> None:
    """The old scope is in force until the new one is verified; what is published comes meanwhile."""
    async with Server() as server:
        client = await subscribed(server, {"channel": "telemetry"})
        verification: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        server.host.pending["slow"] = verification
        await client.say(type="auth", token="slow", id=1)
        await client.say(type="subscribe", channel="alerts", id=2)
        assert await client.settled() == []
        server.hub.publish(telemetry(1, t=1))
        assert [message["type"] for message in await client.settled()] == ["telemetry_update"]
        verification.set_result(Grant("alice", time.time() + 60, channels=0b0010))
        heard = [await client.hear() for _ in range(3)]
        assert [message["type"] for message in heard] == ["auth_response", "unsubscribed", "subscribe_response"]


async def test_a_renewal_for_somebody_else_ends_the_connection() -> None:
    async with Server() as server:
        client = await subscribed(server, {"channel": "telemetry"})
        await client.say(type="auth", token=server.token("mallory"))
        messages, code, reason = await client.closing()
        assert [(message["success"], message["error"]) for message in messages] == [(False, "invalid_token")]
        assert (code, reason) == (4004, "protocol_error")
        assert client.session.user == "alice"
        assert server.host.users == ["alice"]


async def test_a_bad_token_for_a_renewal_changes_nothing() -> None:
    async with Server() as server:
        client = await subscribed(server, {"channel": "telemetry"})
        assert (await client.ask(type="auth", token="bad"))["error"] == "invalid_token"
        assert server.hub.publish(telemetry(1, t=1)) == 1
        assert (await client.settled())[0]["type"] == "telemetry_update"


async def test_a_renewal_without_the_endpoints_channel_ends_the_connection() -> None:
    async with Server() as server:
        client = await subscribed(server, endpoint=1)
        await client.say(type="auth", token=server.token(channels=0b0001))
        assert await client.close_code() == 4003


async def test_a_token_that_expires() -> None:
    """In the grace period commands are refused, data still flows, and a renewal makes all well again."""
    async with Server(grace=30) as server:
        client = await subscribed(server, {"channel": "telemetry"})
        assert await renewed(client, server.token(seconds=-1)) == []
        while (answer := await client.ask(type="subscribe", channel="alerts", id=1)).get("success"):
            await asyncio.sleep(0.005)
        assert (answer["error"], answer["id"]) == ("token_expired", 1)
        for command in ("unsubscribe", "publish", "error_report"):
            assert (await client.ask(type=command, channel="telemetry"))["error"] == "token_expired"
        assert (await client.ask(type="ping"))["type"] == "pong"
        assert server.hub.publish(telemetry(1, t=1)) == 1
        assert (await client.hear())["type"] == "telemetry_update"
        assert await renewed(client, server.token()) == []
        assert (await client.ask(type="unsubscribe", channel="telemetry", id=1))["success"] is True


async def test_the_grace_period_ends() -> None:
    async with Server(grace=0.2) as server:
        client = await server.login(server.token(seconds=0.2))
        assert await client.closing() == ([], 4010, "token_expired")


async def test_there_may_be_no_grace_period() -> None:
    async with Server(grace=0) as server:
        client = await server.login(server.token(seconds=0.2))
        assert await client.closing() == ([], 4010, "token_expired")


async def test_a_renewal_moves_the_end() -> None:
    async with Server(grace=25, clock=False, ping_interval=0) as server:
        client = await server.login(server.token(seconds=100))
        start = time.monotonic()
        server.hub.advance(start + 124)
        assert (await client.ask(type="ping"))["type"] == "pong"
        assert await renewed(client, server.token(seconds=3000)) == []
        server.hub.advance(start + 2990)
        assert (await client.ask(type="subscribe", channel="alerts", id=1))["success"] is True
        server.hub.advance(start + 3010)
        assert (await client.ask(type="subscribe", channel="alerts", id=1))["error"] == "token_expired"
        server.hub.advance(start + 3030)
        assert await client.close_code() == 4010


@pytest.mark.parametrize("year", [2100, 9999])
async def test_a_token_that_lasts_for_ever(year: int) -> None:
    async with Server() as server:
        client = await server.connect()
        seconds = datetime(year, 12, 31, tzinfo=UTC).timestamp() - time.time()
        answer = await client.ask(type="auth", token=server.token(seconds=seconds))
        assert answer["expires_at"].startswith(f"{year}-12-3")
        assert abs(answer["expires_in"] - seconds) < 60
        assert (await client.ask(type="subscribe", id=1, channel="alerts"))["success"] is True


async def test_those_that_renew_are_told_once_before_the_end() -> None:
    async with Server(renewal_notice=60, clock=False, ping_interval=0) as server:
        token = server.token(seconds=100)
        renewing, plain = await server.connect(), await server.connect()
        assert (await renewing.ask(type="auth", token=token, renew=True))["success"] is True
        assert (await plain.ask(type="auth", token=token))["success"] is True
        start = time.monotonic()
        server.hub.advance(start + 39)
        assert await server.settled(renewing, plain) == [[], []]
        server.hub.advance(start + 41)
        ((notice,), nothing) = await server.settled(renewing, plain)
        assert notice.keys() == {"type", "expires_in"}
        assert notice["type"] == "token_expiring"
        assert 58 <= notice["expires_in"] <= 60
        server.hub.advance(start + 90)
        assert [nothing, *await server.settled(renewing, plain)] == [[], [], []]
        # For the next token again, though this auth did not say that it renews.
        assert await renewed(renewing, server.token(seconds=200)) == []
        server.hub.advance(start + 150)
        assert [message["type"] for message in await renewing.settled()] == ["token_expiring"]


@pytest.mark.parametrize("renew", [False, 1, "true", None])
async def test_only_true_asks_for_notices(renew: object) -> None:
    async with Server(renewal_notice=60, clock=False, ping_interval=0) as server:
        client = await server.connect()
        await client.ask(type="auth", token=server.token(seconds=100), renew=renew)
        server.hub.advance(time.monotonic() + 90)
        assert await client.settled() == []


async def test_a_host_that_fails_is_told_on_both_sides() -> None:
    async with Server() as server:
        client = await subscribed(server, {"channel": "telemetry"}, token=server.token(publish=15))
        error = RuntimeError("broken")

        def publish(_: object) -> int:
            raise error

        server.host.publisher = publish
        answer = await client.ask(type="publish", message=telemetry(1, t=1))
        assert server.host.errors == [error]
        assert (answer["type"], answer["error"]) == ("error", "internal")
        assert "broken" not in answer["message"]
        assert (await client.ask(type="ping"))["type"] == "pong"
        assert server.hub.publish(telemetry(1, t=1)) == 1
        assert (await client.hear())["type"] == "telemetry_update"
        server.host.errors.clear()


async def test_the_third_internal_error_ends_the_connection() -> None:
    async with Server() as server:
        client, other = await server.login(server.token(publish=15)), await server.login()

        def publish(_: object) -> int:
            raise RuntimeError("broken")

        server.host.publisher = publish
        await client.write(text({"type": "publish", "message": telemetry(1, t=1)}) * 4)
        messages, code, reason = await client.closing()
        assert [message["error"] for message in messages] == ["internal"] * 2
        assert (code, reason) == (1011, "internal")
        assert (await other.ask(type="ping"))["type"] == "pong"
        assert len(server.host.errors) == 3
        server.host.errors.clear()
