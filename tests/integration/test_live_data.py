"""Live data of a running server: frequencies, snapshots and recovery, with its settings and with tokens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from documented import TELEMETRY
from harness import running, telemetry

if TYPE_CHECKING:
    from harness import Client, Message

DEVICE = TELEMETRY["device_id"]


async def subscribed(client: Client, **command: object) -> Message:
    """Subscribe to telemetry; return the answer."""
    answer = await client.ask(type="subscribe", id=1, channel="telemetry", **command)
    assert answer["success"] is True
    return answer


@pytest.mark.parametrize(
    ("setting", "claims", "asked", "shown"),
    [
        ("0s", {}, "100ms", "100ms"),
        ("250ms", {}, "100ms", "250ms"),
        ("250ms", {}, "real-time", "250ms"),
        ("250ms", {}, "1s", "1s"),
        ("250ms", {"min_interval": 0.5}, "100ms", "500ms"),
        ("250ms", {"min_interval": 0.1}, "100ms", "250ms"),
    ],
)
async def test_the_operator_and_the_token_lower_the_rate(
    setting: str, claims: Message, asked: str, shown: str
) -> None:
    async with running(limits={"min_interval": setting}) as site, site.client(**claims) as client:
        assert (await subscribed(client, frequency=asked))["frequency"] == shown


async def test_a_renewal_slows_down_what_is_subscribed() -> None:
    async with running() as site, site.client() as client:
        await subscribed(client, device_id=DEVICE)
        await client.authenticate(site.token(min_interval=3600))
        for _ in range(3):
            site.server.publish(TELEMETRY)
        await client.receive()
        await client.nothing_more()


async def test_the_newest_value_comes_when_the_interval_is_over() -> None:
    async with running() as site, site.client() as client:
        await subscribed(client, frequency="50ms")
        for value in range(10):
            site.server.publish(telemetry(n=value))
        received = [await client.receive(), await client.receive()]
        assert [message["telemetry"]["n"]["value"] for message in received] == [0, 9]
        await client.nothing_more()


async def test_a_client_comes_back_to_where_it_was() -> None:
    async with running() as site:
        async with site.client() as client:
            position = (await subscribed(client, recover=True))["position"]
            site.server.publish(telemetry(n=1))
            position["offset"] = (await client.receive())["offset"]
        for value in (2, 3):
            site.server.publish(telemetry(n=value))
        async with site.client() as client:
            assert (await subscribed(client, since=position))["recovered"] is True
            received = [await client.receive(), await client.receive()]
            assert [message["telemetry"]["n"]["value"] for message in received] == [2, 3]
            assert [message["offset"] for message in received] == [position["offset"] + 1, position["offset"] + 2]


@pytest.mark.parametrize("history", [{"messages": 1}, {"size": 1000}, {"age": "1ms"}, {"messages": 0}])
async def test_what_the_history_does_not_reach_is_a_snapshot(history: dict[str, object]) -> None:
    async with running(history=history) as site:
        async with site.client() as client:
            position = (await subscribed(client, recover=True))["position"]
        for value in range(3):
            site.server.publish(telemetry(n=value))
            await asyncio.sleep(0.002)
        async with site.client() as client:
            assert (await subscribed(client, since=position))["recovered"] is False
            assert (await client.receive())["telemetry"]["n"]["value"] == 2
            await client.nothing_more()


async def test_another_server_is_another_epoch() -> None:
    async with running() as site, site.client() as client:
        position = (await subscribed(client, recover=True))["position"]
    async with running() as site, site.client() as client:
        site.server.publish(telemetry(n=1))
        answer = await subscribed(client, since=position)
        assert answer["recovered"] is False
        assert answer["position"]["epoch"] != position["epoch"]
        assert (await client.receive())["telemetry"]["n"]["value"] == 1


async def test_batches_and_notices_are_asked_for_in_auth() -> None:
    async with running() as site, site.connect() as client:
        await client.authenticate(site.token(), batch=True)
        await client.send(type="subscribe", channel="telemetry")
        await client.nothing_more()
        for value in (1, 2):
            site.server.publish(telemetry(n=value))
        batch = await client.receive()
        assert batch["type"] == "batch"
        assert [message["telemetry"]["n"]["value"] for message in batch["messages"]] == [1, 2]
