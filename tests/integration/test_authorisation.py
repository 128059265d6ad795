"""What a token permits, how that changes on a live connection, and how it ends (protocol.md, section 2)."""

from __future__ import annotations

import asyncio
import time

import pytest

from documented import ALERT, MESSAGES, STATUS, SYSTEM, TELEMETRY
from harness import TIMEOUT, Client, Message, Site, running
from valtronics_fast._core.wire import CloseCode


def expired_token(site: Site, seconds: float = 1.0, user: str = "alice") -> str:
    """Return a token that expired so many seconds ago."""
    return site.token(user, expires=60, now=time.time() - 60 - seconds)


async def until_expired(client: Client) -> Message:
    """Ask until the server has noticed that the token is over; return the error."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            answer = await client.ask(type="unsubscribe", channel="system", id=1)
            if answer["error"] != "not_subscribed":
                return answer
            await asyncio.sleep(0.02)  # within the rate limit


# Scopes


async def test_without_scopes_a_token_permits_everything_but_publishing() -> None:
    async with running() as site, site.client() as client:
        for message in MESSAGES:
            await client.subscribe(message["channel"])
            assert site.server.publish(message) == 1
            assert await client.receive() == message
        await client.fails("forbidden", type="publish", message=TELEMETRY)


async def test_with_the_other_default_it_permits_nothing() -> None:
    async with running(auth={"default_scope": "none"}) as site:
        async with site.client() as client:
            for message in MESSAGES:
                await client.fails("forbidden", type="subscribe", channel=message["channel"])
        async with site.client(channels=["alerts", "system"]) as client:
            await client.fails("forbidden", type="subscribe", channel="alerts")
            await client.subscribe("system")
        async with site.client(channels=["alerts"], devices="*") as client:
            await client.subscribe("alerts")
            assert site.server.publish(ALERT) == 1


async def test_channels_outside_the_scope_are_forbidden() -> None:
    async with running() as site, site.client(channels=["alerts"]) as client:
        await client.subscribe("alerts")
        error = await client.fails("forbidden", type="subscribe", channel="telemetry")
        assert error["channel"] == "telemetry"
        assert site.server.publish(TELEMETRY) == 0


@pytest.mark.parametrize("message", [TELEMETRY, ALERT, STATUS], ids=lambda message: str(message["channel"]))
async def test_a_device_outside_the_scope_never_comes(message: Message) -> None:
    async with running() as site, site.client(devices=[1, "pump"]) as client:
        await client.subscribe(message["channel"])
        for device, times in ((1, 1), ("1", 1), ("pump", 1), (2, 0), ("Pump", 0)):
            assert site.server.publish(message | {"device_id": device}) == times
            if times:
                assert (await client.receive())["device_id"] == device
        await client.nothing_more()


async def test_an_alert_about_no_device_comes_to_those_who_may_see_all_of_them() -> None:
    platform = {name: value for name, value in ALERT.items() if name != "device_id"}
    async with running() as site, site.client(devices=[1]) as scoped, site.client() as free:
        await scoped.subscribe("alerts")
        await free.subscribe("alerts")
        assert site.server.publish(platform) == 1
        assert (await free.receive())["alert_id"] == ALERT["alert_id"]
        await scoped.nothing_more()


async def test_figures_of_the_system_are_about_no_device() -> None:
    async with running() as site, site.client(devices=[1]) as client:
        await client.subscribe("system")
        assert site.server.publish(SYSTEM) == 1


async def test_devices_that_are_asked_for_beyond_the_scope_are_denied() -> None:
    async with running() as site, site.client(devices=[1, 2]) as client:
        answer = await client.subscribe("telemetry", device_id=[7, 1, 8])
        assert answer["denied"] == {"device_id": [7, 8]}
        assert answer["filters"] == {"device_id": [1]}
        assert site.server.publish(TELEMETRY) == 1
        assert site.server.publish(TELEMETRY | {"device_id": 7}) == 0


async def test_asking_for_nothing_but_denied_devices_is_forbidden() -> None:
    async with running() as site, site.client(devices=[1]) as client:
        await client.fails("forbidden", type="subscribe", channel="telemetry", device_id=[7, 8])
        await client.fails("not_subscribed", type="unsubscribe", channel="telemetry")


async def test_the_implicit_subscription_is_within_the_scope() -> None:
    async with running() as site, site.client("/ws/telemetry", devices=[2]):
        assert site.server.publish(TELEMETRY) == 0
        assert site.server.publish(TELEMETRY | {"device_id": 2}) == 1


# Renewal


async def test_a_renewal_with_less_takes_away_and_says_what() -> None:
    async with running() as site, site.client() as client:
        for channel in ("telemetry", "alerts"):
            await client.subscribe(channel)
        await client.authenticate(site.token(channels=["alerts"]))
        assert await client.receive() == {
            "type": "unsubscribed", "channel": "telemetry", "reason": "permission_revoked",
        }  # fmt: skip
        await client.nothing_more()
        assert site.server.publish(TELEMETRY) == 0
        assert site.server.publish(ALERT) == 1


async def test_a_renewal_narrows_running_subscriptions_to_its_devices() -> None:
    async with running() as site, site.client() as client:
        await client.subscribe("telemetry", device_id=[1, 2])
        await client.subscribe("telemetry", device_id=1)
        await client.subscribe("alerts")
        await client.authenticate(site.token(devices=[2, 3]))
        lost = await client.receive()
        assert lost == {
            "type": "unsubscribed", "channel": "telemetry", "reason": "permission_revoked", "device_id": [1],
        }  # fmt: skip
        await client.nothing_more()
        assert site.server.publish(TELEMETRY) == 0
        assert site.server.publish(TELEMETRY | {"device_id": 2}) == 1
        assert site.server.publish(ALERT) == 0
        assert site.server.publish(ALERT | {"device_id": 3}) == 1


async def test_a_renewal_with_more_widens_what_was_asked_for() -> None:
    async with running() as site, site.client(devices=[1]) as client:
        await client.subscribe("telemetry")
        await client.subscribe("devices", device_id=[1, 2])
        await client.authenticate(site.token())
        await client.nothing_more()
        assert site.server.publish(TELEMETRY | {"device_id": 9}) == 1
        assert site.server.publish(STATUS | {"device_id": 2}) == 1


async def test_a_renewal_is_for_the_same_user() -> None:
    async with running() as site, site.client(user="alice") as client:
        answer = await client.ask(type="auth", token=site.token("bob"))
        assert (answer["success"], answer["error"]) == (False, "invalid_token")
        assert await client.closed() == (CloseCode.CLOSE_PROTOCOL_ERROR, [])


async def test_a_renewal_that_does_not_permit_the_endpoint_ends_the_connection() -> None:
    async with running() as site, site.client("/ws/telemetry") as client:
        answer = await client.ask(type="auth", token=site.token(channels=["alerts"]))
        assert (answer["success"], answer["error"]) == (False, "forbidden")
        assert (await client.closed())[0] == CloseCode.CLOSE_FORBIDDEN


async def test_a_bad_renewal_leaves_what_there_is() -> None:
    async with running() as site, site.client() as client:
        await client.subscribe("telemetry")
        assert (await client.ask(type="auth", token="x"))["success"] is False
        assert site.server.publish(TELEMETRY) == 1


# Expiry


async def test_clients_that_asked_for_it_are_told_once_that_the_token_expires() -> None:
    async with running() as site, site.connect() as client:
        await client.authenticate(site.token(expires=30), renew=True)
        notice = await client.receive()
        assert notice.keys() == {"type", "expires_in"}
        assert notice["type"] == "token_expiring"
        assert notice["expires_in"] in range(1, 31)
        await client.nothing_more()
        await client.authenticate(site.token(expires=31))
        assert (await client.receive())["type"] == "token_expiring"


async def test_others_are_told_nothing() -> None:
    async with running() as site, site.client(expires=30) as client, site.connect() as renewing:
        await renewing.authenticate(site.token(expires=30), renew=True)
        assert (await renewing.receive())["type"] == "token_expiring"
        await client.nothing_more()


async def test_a_token_that_is_over_may_be_renewed_for_a_while() -> None:
    async with running() as site, site.connect() as client:
        answer = await client.authenticate(expired_token(site))
        assert answer["expires_in"] == 0
        error = await until_expired(client)
        assert (error["error"], error["id"]) == ("token_expired", 1)
        assert (await client.ask(type="ping"))["type"] == "pong"
        await client.authenticate(site.token())
        await client.subscribe("telemetry")


async def test_a_token_that_is_not_renewed_ends_the_connection() -> None:
    async with running(auth={"grace": 0}) as site, site.connect() as client:
        await client.authenticate(expired_token(site))
        assert await client.closed() == (CloseCode.CLOSE_TOKEN_EXPIRED, [])


async def test_the_default_grace_ends_25_seconds_after_the_expiry() -> None:
    async with running() as site, site.connect() as late, site.connect() as early:
        await early.authenticate(expired_token(site, 5))
        await late.authenticate(expired_token(site, 27))
        assert await late.closed() == (CloseCode.CLOSE_TOKEN_EXPIRED, [])
        assert (await until_expired(early))["error"] == "token_expired"


async def test_a_token_that_expires_on_a_live_connection() -> None:
    async with running(auth={"leeway": 0, "grace": 0}) as site:
        async with site.client("/ws/telemetry", expires=2) as client:  # at least one second is left of it
            assert await client.closed() == (CloseCode.CLOSE_TOKEN_EXPIRED, [])
        assert site.server.publish(TELEMETRY) == 0


async def test_beyond_the_leeway_a_token_is_not_taken_at_all() -> None:
    async with running(auth={"leeway": 10}) as site, site.connect() as client:
        assert (await client.ask(type="auth", token=expired_token(site, 11)))["success"] is False
        await client.authenticate(expired_token(site, 5))
