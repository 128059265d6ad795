"""A Python client in the shape that existing ones have, against a running server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from clients.python_client import AuthenticationError, DashboardClient
from documented import ALERT, BARE, MESSAGES, STATUS, SYSTEM, TELEMETRY, assert_documented_fields
from harness import TIMEOUT, Message, Site, running, until
from valtronics_fast._core.wire import CHANNELS, CloseCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def listening(client: DashboardClient) -> AsyncIterator[None]:
    """Connect and listen; at the end disconnect, and have nothing left that was not looked at."""
    await client.connect()
    task = asyncio.create_task(client.listen())
    try:
        yield
    finally:
        await client.disconnect()
        await task
    for queue in (*client.received.values(), client.pongs, client.unknown):
        assert queue.empty(), queue.get_nowait()


async def take(queue: asyncio.Queue[Message]) -> Message:
    async with asyncio.timeout(TIMEOUT):
        return await queue.get()


async def handled(client: DashboardClient) -> None:
    """Wait until the server has handled what was sent so far."""
    timestamp = await client.ping()
    assert (await take(client.pongs))["client_timestamp"] == timestamp


async def test_the_message_behind_auth_is_its_answer() -> None:
    async with running() as site:
        client = DashboardClient(site.url(), site.token("alice"))
        async with listening(client):
            assert client.answer["success"] is True
            assert client.answer["user"] == "alice"
            assert client.answer["channels"] == list(CHANNELS)
            assert client.answer.keys() == {
                "type", "success", "user", "expires_at", "expires_in", "channels",
            }  # fmt: skip


async def test_a_bad_token_is_answered_with_a_text_and_an_error_that_is_a_string() -> None:
    async with running() as site:
        client = DashboardClient(site.url(), "no.good.token")
        with pytest.raises(AuthenticationError):
            await client.connect()
        await client.disconnect()
    assert client.answer["error"] == "invalid_token"
    assert isinstance(client.answer["message"], str)
    assert client.answer.keys() == {"type", "success", "error", "message"}


async def test_each_kind_of_message_comes_with_exactly_its_documented_fields() -> None:
    async with running() as site:
        client = DashboardClient(site.url(), site.token())
        async with listening(client):
            for channel in CHANNELS:
                await client.subscribe(channel)
            await handled(client)
            for message in MESSAGES:
                assert site.server.publish(message) == 1
                assert await take(client.received[message["type"]]) == message
            for message in BARE:
                assert site.server.publish(message) == 1
                assert_documented_fields(await take(client.received[message["type"]]))


async def test_filters_in_an_object_choose_what_comes() -> None:
    async with running() as site:
        client = DashboardClient(site.url(), site.token())
        async with listening(client):
            await client.subscribe(
                "telemetry", {"device_id": 1, "metrics": ["humidity"], "frequency": "real-time"}
            )
            await client.subscribe("alerts", {"severity": ["critical", "warning"], "device_id": 1})
            await client.subscribe("devices", {"device_id": [1, 2, 3], "status_types": ["online", "offline"]})
            await client.subscribe("system", {"metrics": ["cpu_usage", "memory_usage"], "frequency": "30s"})
            await handled(client)

            site.server.publish(TELEMETRY | {"device_id": 2})
            site.server.publish(TELEMETRY)
            only = {"humidity": TELEMETRY["telemetry"]["humidity"]}
            assert await take(client.received["telemetry_update"]) == TELEMETRY | {"telemetry": only}

            site.server.publish(ALERT | {"severity": "info"})
            site.server.publish(ALERT | {"device_id": 2})
            site.server.publish(ALERT | {"severity": "warning"})
            assert await take(client.received["alert"]) == ALERT | {"severity": "warning"}

            site.server.publish(STATUS | {"new_status": "error"})
            site.server.publish(STATUS | {"device_id": 4})
            site.server.publish(STATUS | {"device_id": 3})
            assert await take(client.received["device_status_update"]) == STATUS | {"device_id": 3}

            site.server.publish(SYSTEM | {"metrics": {"disk_usage": 1.0}})
            site.server.publish(SYSTEM)
            chosen = {name: SYSTEM["metrics"][name] for name in ("cpu_usage", "memory_usage")}
            assert await take(client.received["system_status_update"]) == SYSTEM | {"metrics": chosen}
            await handled(client)


async def test_unsubscribing_ends_all_of_a_channel_and_nothing_else() -> None:
    async with running() as site:
        client = DashboardClient(site.url(), site.token())
        async with listening(client):
            await client.subscribe("telemetry")
            await client.subscribe("telemetry", {"device_id": 1})
            await client.subscribe("alerts")
            await client.unsubscribe("telemetry")
            await handled(client)
            assert site.server.publish(TELEMETRY) == 0
            assert site.server.publish(ALERT) == 1
            assert await take(client.received["alert"]) == ALERT


async def test_a_ping_gets_a_pong_with_its_own_timestamp() -> None:
    async with running() as site:
        client = DashboardClient(site.url(), site.token())
        async with listening(client):
            timestamp = await client.ping()
            pong = await take(client.pongs)
    assert pong.keys() == {"type", "timestamp", "client_timestamp"}
    assert pong["client_timestamp"] == timestamp
    assert pong["timestamp"].endswith("Z")


async def test_a_batch_is_done_in_order_and_not_answered_itself() -> None:
    async with running() as site:
        client = DashboardClient(site.url(), site.token())
        async with listening(client):
            await client.batch(
                [
                    {"type": "subscribe", "channel": "telemetry"},
                    {"type": "subscribe", "channel": "alerts", "filters": {"severity": "critical"}},
                    {"type": "unsubscribe", "channel": "telemetry"},
                    {"type": "ping", "timestamp": "2024-01-01T12:00:00Z"},
                ]
            )
            assert (await take(client.pongs))["client_timestamp"] == "2024-01-01T12:00:00Z"
            assert site.server.publish(TELEMETRY) == 0
            assert site.server.publish(ALERT) == 1
            assert await take(client.received["alert"]) == ALERT


async def test_an_error_reaches_the_client_as_one_message_and_ends_nothing() -> None:
    async with running() as site:
        client = DashboardClient(site.url(), site.token())
        async with listening(client):
            await client.subscribe("weather")
            error = await take(client.unknown)
            assert (error["type"], error["error"]) == ("error", "unknown_channel")
            await handled(client)


async def test_connecting_again_after_the_server_dropped_the_connection() -> None:
    async with running() as site:
        client = DashboardClient(site.url(), site.token())
        await client.connect()
        task = asyncio.create_task(client.listen())
        site.server.disconnect(CloseCode.CLOSE_REBALANCE)
        async with asyncio.timeout(TIMEOUT):
            await task
        await gone(site)
        async with listening(client):
            await client.subscribe("telemetry", {"device_id": 1})
            await handled(client)
            assert site.server.publish(TELEMETRY) == 1
            assert await take(client.received["telemetry_update"]) == TELEMETRY
        await gone(site)


async def gone(site: Site) -> None:
    """Wait until the server has noticed that nobody is connected."""
    await until(lambda: site.server.stats()["active_connections"] == 0)
