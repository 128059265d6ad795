"""The sentences of protocol.md, section 3, one by one; test_subscriptions_model.py goes through their mixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.harness import Message, Server, metrics_of, telemetry

if TYPE_CHECKING:
    from core.wire_client import Client


async def subscribe(client: Client, channel: str = "telemetry", **filters: object) -> Message:
    answer = await client.ask(type="subscribe", id=1, channel=channel, **filters)
    assert answer["type"] == "subscribe_response", answer
    return answer


async def unsubscribe(client: Client, channel: str = "telemetry", **filters: object) -> Message:
    return await client.ask(type="unsubscribe", id=1, channel=channel, **filters)


async def metrics(server: Server, client: Client, device: int | str = 1) -> list[str]:
    """Return which of a, b, c and d a client gets of a message with all of them; it gets it once."""
    server.hub.publish(telemetry(device, a=1, b=2, c=3, d=4))
    received = metrics_of(await client.settled())
    assert len(received) <= 1
    return received[0] if received else []


async def test_the_same_channel_and_set_again_replaces() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client, device_id=[1, 2], metrics=["a"])
        await subscribe(client, device_id=["2", 1, 1], metrics=["b"])
        assert client.session.subscription_count == 1
        assert await metrics(server, client) == ["b"]
        await subscribe(client, metrics=["c"])
        await subscribe(client, metrics=["d"])
        assert client.session.subscription_count == 2
        assert await metrics(server, client) == ["b", "d"]
        assert await metrics(server, client, 3) == ["d"]


async def test_another_set_of_the_channel_is_one_more() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client, device_id=[1, 2], metrics=["a"])
        await subscribe(client, device_id=[1], metrics=["b"])
        await subscribe(client, device_id=[2, 3], metrics=["c"])
        assert client.session.subscription_count == 3
        assert await metrics(server, client, 1) == ["a", "b"]
        assert await metrics(server, client, 2) == ["a", "c"]
        assert await metrics(server, client, 3) == ["c"]
        assert server.hub.publish(telemetry(2, a=1, c=1)) == 2


async def test_unsubscribe_without_devices_ends_all_of_its_channel_only() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client, device_id=[1])
        await subscribe(client)
        await subscribe(client, "alerts")
        assert (await unsubscribe(client))["success"] is True
        assert client.session.subscription_count == 1
        assert await metrics(server, client) == []
        assert (await unsubscribe(client))["error"] == "not_subscribed"


async def test_unsubscribe_takes_devices_out_of_every_set() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client, device_id=[1, 2], metrics=["a"])
        await subscribe(client, device_id=[2, 3], metrics=["b"])
        await subscribe(client, metrics=["c"])
        assert (await unsubscribe(client, device_id="2"))["success"] is True
        assert client.session.subscription_count == 3
        assert await metrics(server, client, 1) == ["a", "c"]
        assert await metrics(server, client, 2) == ["c"]
        assert await metrics(server, client, 3) == ["b", "c"]
        # A set that is left empty ends, what covers all devices stays.
        assert (await unsubscribe(client, filters={"device_id": [1, 9]}))["success"] is True
        assert client.session.subscription_count == 2
        assert (await unsubscribe(client, device_id=[1, 2]))["error"] == "not_subscribed"
        assert await metrics(server, client, 1) == ["c"]


async def test_sets_that_become_equal_go_on_side_by_side() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client, device_id=[1, 2], metrics=["a"])
        await subscribe(client, device_id=[1, 3], metrics=["b"])
        await unsubscribe(client, device_id=[2, 3])
        assert client.session.subscription_count == 2
        assert server.hub.publish(telemetry(1, a=1, b=1)) == 2
        assert metrics_of(await client.settled()) == [["a", "b"]]


async def test_overlapping_subscriptions_deliver_once_with_the_union() -> None:
    async with Server() as server:
        client, other = await server.login(), await server.login()
        await subscribe(client, device_id=[1], metrics=["d", "a"])
        await subscribe(client, device_id=[1, 2], metrics=["b"])
        await subscribe(client, metrics=["a", "x"])
        await subscribe(other, metrics=["c"])
        assert server.hub.publish(telemetry(1, a=1, b=2, c=3, d=4)) == 4
        assert metrics_of(await client.settled()) == [["a", "b", "d"]]
        assert metrics_of(await other.settled()) == [["c"]]
        # One of them suffices, and one without a filter brings everything.
        assert server.hub.publish(telemetry(1, b=2)) == 1
        assert metrics_of(await client.settled()) == [["b"]]
        await subscribe(client, device_id=[1])
        assert await metrics(server, client) == ["a", "b", "c", "d"]


async def test_events_that_several_subscriptions_match_come_once_and_whole() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client, "alerts", severity=["high"])
        await subscribe(client, "alerts", device_id=1, alert_type=["heat"])
        alert = {"type": "alert", "device_id": 1, "severity": "high", "alert_type": "heat", "extra": [1]}
        assert server.hub.publish(alert) == 2
        (received,) = await client.settled()
        assert received.items() >= alert.items()
        assert server.hub.publish(alert | {"severity": "low"}) == 1
        assert server.hub.publish(alert | {"severity": "low", "device_id": 2}) == 0


async def test_filters_within_a_subscription_must_all_match() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client, "alerts", severity=["high", "low"], alert_type="heat")
        alert = {"type": "alert", "device_id": 1, "severity": "high"}
        assert server.hub.publish(alert) == 0
        assert server.hub.publish(alert | {"alert_type": "smoke"}) == 0
        assert server.hub.publish(alert | {"alert_type": "heat"}) == 1
        assert server.hub.publish(alert | {"alert_type": "heat", "severity": "info"}) == 0


async def test_a_status_filter_looks_at_the_new_status() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client, "devices", status_types=["offline"])
        status = {"type": "device_status_update", "device_id": 1}
        assert server.hub.publish(status | {"old_status": "offline", "new_status": "online"}) == 0
        assert server.hub.publish(status | {"old_status": "online", "new_status": "offline"}) == 1


async def test_the_device_id_is_shown_as_the_producer_gave_it() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client, device_id=["1", "01"])
        for given in (1, "1", "01"):
            assert server.hub.publish(telemetry(given, a=1)) == 1
            (message,) = await client.settled()
            assert message["device_id"] == given
            assert type(message["device_id"]) is type(given)


async def test_a_token_of_some_devices_narrows_every_subscription() -> None:
    async with Server() as server:
        client = await server.login(server.token(devices=frozenset({1, "a"})))
        assert "denied" not in await subscribe(client)
        assert await metrics(server, client, 1)
        assert await metrics(server, client, "a")
        assert await metrics(server, client, 2) == []
        await unsubscribe(client)
        answer = await subscribe(client, device_id=[2, 1, "b", "7"])
        assert answer["denied"] == {"device_id": [2, "b", 7]}
        assert answer["filters"] == {"device_id": [1]}
        assert await metrics(server, client, 1)
        assert await metrics(server, client, 2) == []
        answer = await client.ask(type="subscribe", channel="telemetry", device_id=[2, 3])
        assert answer["error"] == "forbidden"
        assert client.session.subscription_count == 1


@pytest.mark.parametrize("endpoint", [-1, 0])
async def test_a_token_of_no_devices_subscribes_to_nothing(endpoint: int) -> None:
    async with Server() as server:
        client = await server.login(server.token(devices=frozenset()), endpoint=endpoint)
        for devices in ({}, {"device_id": [1]}):
            answer = await client.ask(type="subscribe", id=1, channel="telemetry", **devices)
            assert (answer["error"], answer["channel"]) == ("forbidden", "telemetry")
        assert client.session.subscription_count == 0


async def test_alerts_without_a_device_need_a_token_of_all_devices() -> None:
    async with Server() as server:
        everything, some, named = [
            await server.login(server.token(devices=devices)) for devices in (None, frozenset({1}), None)
        ]
        await subscribe(everything, "alerts")
        await subscribe(some, "alerts")
        await subscribe(named, "alerts", device_id=[1])
        assert server.hub.publish({"type": "alert", "severity": "high"}) == 1
        assert [len(messages) for messages in await server.settled(everything, some, named)] == [1, 0, 0]


@pytest.mark.parametrize("devices", [None, frozenset({1}), frozenset()])
async def test_the_system_channel_has_no_devices(devices: frozenset[int | str] | None) -> None:
    async with Server() as server:
        client = await server.login(server.token(devices=devices))
        await subscribe(client, "system", metrics="cpu")
        message = {"type": "system_status_update", "metrics": {"cpu": 1, "ram": 2}, "timestamp": "now"}
        assert server.hub.publish(message) == 1
        expected = message | {"channel": "system", "metrics": {"cpu": 1}}
        assert await client.settled() == [expected]


async def test_the_scope_is_applied_anew_at_every_renewal() -> None:
    async with Server() as server:
        client = await server.login(server.token(devices=frozenset({1})))
        await subscribe(client, device_id=[1, 2], metrics=["a"])
        await subscribe(client, metrics=["b"])
        assert await metrics(server, client, 2) == []
        for scope, expected in [
            (frozenset({2}), [[], ["a", "b"], []]),
            (None, [["a", "b"], ["a", "b"], ["b"]]),
            (frozenset({1, 2, 3}), [["a", "b"], ["a", "b"], ["b"]]),
        ]:
            await client.ask(type="auth", token=server.token(devices=scope))
            assert [await metrics(server, client, device) for device in (1, 2, 3)] == expected


async def test_an_endpoints_own_subscription_goes_with_the_first_of_the_clients() -> None:
    async with Server() as server:
        client = await server.login(endpoint=0)
        assert await metrics(server, client) == ["a", "b", "c", "d"]
        answer = await client.ask(type="subscribe", id=1, filters={"nonsense": 1})
        assert answer["error"] == "invalid_filter"
        assert await metrics(server, client) == ["a", "b", "c", "d"]
        await client.ask(type="subscribe", id=1, device_id=1, metrics="a")
        assert client.session.subscription_count == 1
        assert await metrics(server, client) == ["a"]
        assert await metrics(server, client, 2) == []
        await client.ask(type="subscribe", id=1, metrics="b")
        assert await metrics(server, client) == ["a", "b"]


async def test_an_endpoint_may_start_without_its_subscription() -> None:
    async with Server() as server:
        client = await server.login(endpoint=0, implicit=False)
        assert await metrics(server, client) == []
        assert client.session.subscription_count == 0
