"""Authentication in band and at the handshake, and how it fails (protocol.md, section 2)."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest

from harness import Client, Site, running, telemetry, text
from valtronics_fast._core.wire import CHANNELS, CloseCode

BAD_TOKENS: dict[str, Any] = {
    "no token": "x",
    "empty": "",
    "a number": 5,
    "null": None,
    "a list": [],
    "not ASCII": "é",
}


def bearer(token: str) -> dict[str, Any]:
    """Return the options that send a token in the header."""
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


def pair(token: str) -> dict[str, Any]:
    """Return the options that send a token as browsers can, in a pair of subprotocols."""
    return {"subprotocols": ["valtronics.v1", f"bearer.{token}"]}


def old_token(site: Site, seconds: float) -> str:
    """Return a token that expired so many seconds ago."""
    return site.token(expires=60, now=time.time() - 60 - seconds)


async def is_authenticated(client: Client) -> bool:
    """Say whether an unknown channel is more of a problem than who asks for it."""
    answer = await client.ask(type="unsubscribe", channel="weather")
    return bool(answer["error"] == "unknown_channel")


# In band


async def test_the_answer_says_who_for_how_long_and_for_what() -> None:
    async with running() as site, site.connect() as client:
        before = int(time.time())
        answer = await client.authenticate(site.token("alice", channels=["alerts", "telemetry"], expires=3600))
        expires_at = datetime.fromisoformat(answer.pop("expires_at")).timestamp()
        assert before + 3600 <= expires_at <= time.time() + 3600
        assert answer.pop("expires_in") in range(3500, 3601)
        assert answer == {
            "type": "auth_response", "success": True, "user": "alice", "channels": ["telemetry", "alerts"],
        }  # fmt: skip


async def test_the_answer_echoes_the_id() -> None:
    async with running() as site, site.connect() as client:
        assert (await client.authenticate(site.token(), id="me"))["id"] == "me"
        assert (await client.ask(type="auth", token="x", id=7))["id"] == 7


@pytest.mark.parametrize("path", ["/ws", "/ws/telemetry"])
async def test_nothing_is_sent_before_the_answer(path: str) -> None:
    async with running() as site, site.connect(path) as client:
        await client.nothing_more()
        site.server.publish(telemetry())
        await client.send(type="auth", token=site.token())
        await client.send(type="subscribe", channel="telemetry")
        assert (await client.receive())["type"] == "auth_response"
        await client.nothing_more()


async def test_commands_right_behind_auth_are_done_in_order() -> None:
    async with running() as site, site.connect() as client:
        await client.send(type="auth", token=site.token())
        await client.send(type="subscribe", channel="telemetry", id=1)
        await client.send(type="unsubscribe", channel="telemetry", id=2)
        kinds = [(await client.receive())["type"] for _ in range(3)]
        assert kinds == ["auth_response", "subscribe_response", "unsubscribe_response"]


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe", "publish", "error_report"])
async def test_before_it_commands_are_refused(kind: str) -> None:
    async with running() as site, site.connect() as client:
        await client.fails("not_authenticated", type=kind, channel="telemetry", message=telemetry())
        await client.nothing_more()


async def test_a_batch_may_begin_with_auth() -> None:
    async with running() as site, site.connect() as client:
        early = {"type": "subscribe", "channel": "alerts", "id": 1}
        commands = [early, {"type": "auth", "token": site.token()}, early | {"id": 2}]
        await client.send(type="batch", messages=commands)
        assert (await client.receive())["error"] == "not_authenticated"
        assert (await client.receive())["success"] is True
        assert (await client.receive())["id"] == 2


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_a_bad_token_is_answered_with_a_constant_text(token: object) -> None:
    async with running() as site, site.connect() as client:
        answer = await client.ask(type="auth", token=token)
        assert answer == {
            "type": "auth_response",
            "success": False,
            "error": "invalid_token",
            "message": "the token is not valid",
        }
        await client.authenticate(site.token())


async def test_a_token_that_is_missing_or_signed_with_another_secret_is_bad() -> None:
    async with (
        running() as site,
        running(auth={"secret": site.server.config.auth.secret[::-1]}) as other,
        site.connect() as client,
    ):
        assert (await client.ask(type="auth"))["error"] == "invalid_token"
        assert (await client.ask(type="auth", token=other.token()))["error"] == "invalid_token"


async def test_three_failures_end_the_connection() -> None:
    async with running() as site, site.connect() as client:
        for _ in range(3):
            await client.send(type="auth", token="x")
        code, messages = await client.closed()
        assert (code, len(messages)) == (CloseCode.CLOSE_INVALID_TOKEN, 3)
        assert site.server.stats()["auth_failures"] == {"malformed": 3}


async def test_failures_of_renewals_count_as_well() -> None:
    async with running(auth={"attempts": 2}) as site, site.client() as client:
        for _ in range(2):
            await client.send(type="auth", token="x")
        assert (await client.closed())[0] == CloseCode.CLOSE_INVALID_TOKEN


async def test_who_does_not_authenticate_in_time_is_closed() -> None:
    async with running(auth={"timeout": 0.05}) as site, site.connect() as client:
        assert await client.closed() == (CloseCode.CLOSE_AUTH_TIMEOUT, [])


async def test_failed_attempts_and_pings_do_not_stop_that_clock() -> None:
    async with running(auth={"timeout": 0.1}) as site, site.connect() as client:
        client.write(text('{"type":"auth","token":"x"}'), text('{"type":"ping"}'))
        assert (await client.closed())[0] == CloseCode.CLOSE_AUTH_TIMEOUT


async def test_who_authenticates_in_time_stays() -> None:
    async with running(auth={"timeout": 1.5}) as site, site.client() as client, site.connect() as silent:
        assert (await silent.closed())[0] == CloseCode.CLOSE_AUTH_TIMEOUT
        await client.nothing_more()


# At the handshake


@pytest.mark.parametrize("options", [bearer, pair], ids=["header", "subprotocols"])
async def test_a_token_at_the_handshake_needs_no_auth_message(options: Any) -> None:
    async with running() as site, site.connect(**options(site.token())) as client:
        await client.nothing_more()
        assert await is_authenticated(client)
        assert (await client.authenticate(site.token()))["channels"] == list(CHANNELS)


async def test_the_token_among_the_subprotocols_is_never_echoed() -> None:
    async with running() as site, site.connect(**pair(site.token())) as client:
        assert client.connection.subprotocol == "valtronics.v1"
        response = client.connection.response
        assert response is not None
        assert "bearer" not in str(response.headers)


async def test_an_endpoint_of_one_channel_is_subscribed_to_at_once() -> None:
    async with running() as site, site.connect("/ws/telemetry", **bearer(site.token())) as client:
        assert site.server.publish(telemetry()) == 1
        assert (await client.receive())["type"] == "telemetry_update"


@pytest.mark.parametrize("options", [bearer, pair], ids=["header", "subprotocols"])
async def test_a_bad_token_at_the_handshake_is_refused_before_the_upgrade(options: Any) -> None:
    async with running() as site:
        answer = await site.refusal(**options("x.y.z"))
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await site.refusal(**options(old_token(site, 3600)))).status_code == 401
        assert site.server.stats()["total_connections"] == 0


async def test_two_different_tokens_at_the_handshake_are_refused() -> None:
    async with running() as site:
        both = bearer(site.token("alice")) | pair(site.token("bob"))
        assert (await site.refusal(**both)).status_code == 400


async def test_a_token_in_the_query_is_off_unless_configured() -> None:
    async with running() as site:
        assert (await site.refusal(f"/ws?token={site.token()}")).status_code == 401
    async with running(auth={"query_token": True}) as site:
        async with site.connect(f"/ws?token={site.token()}") as client:
            assert await is_authenticated(client)
        assert (await site.refusal("/ws?token=x.y.z")).status_code == 401


# How many, and for which endpoint


async def test_an_endpoint_that_the_token_does_not_permit() -> None:
    async with running() as site:
        token = site.token(channels=["alerts"])
        assert (await site.refusal("/ws/telemetry", **bearer(token))).status_code == 403
        async with site.connect("/ws/telemetry") as client:
            answer = await client.ask(type="auth", token=token)
            assert (answer["success"], answer["error"]) == (False, "forbidden")
            assert await client.closed() == (CloseCode.CLOSE_FORBIDDEN, [])
        async with site.connect("/ws/alerts", **bearer(token)) as client:
            assert await is_authenticated(client)


async def test_a_user_may_have_so_many_connections() -> None:
    async with running(limits={"connections_per_user": 2}) as site:
        async with site.client(user="alice"), site.connect(**bearer(site.token("alice"))):
            async with site.connect() as third:
                answer = await third.ask(type="auth", token=site.token("alice"))
                assert (answer["success"], answer["error"]) == (False, "too_many_connections")
                assert await third.closed() == (CloseCode.CLOSE_TOO_MANY_CONNECTIONS, [])
            refused = await site.refusal(**bearer(site.token("alice")))
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) >= 1
            async with site.client(user="bob"):
                pass
        async with site.client(user="alice"), site.client(user="alice"):
            pass


async def test_a_renewal_is_not_one_more_connection() -> None:
    async with running(limits={"connections_per_user": 1}) as site:
        async with site.client() as client:
            await client.authenticate(site.token())
            await client.authenticate(site.token())
        async with site.client():
            pass
