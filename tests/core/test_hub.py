from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from core.harness import Message, Server, telemetry, until
from core.wire_client import PING, frame
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.errors import PublicationError

if TYPE_CHECKING:
    from core.wire_client import Client


async def subscribe(client: Client, channel: str = "telemetry", **filters: object) -> None:
    answer = await client.ask(type="subscribe", id=1, channel=channel, **filters)
    assert answer["type"] == "subscribe_response", answer


async def leave(server: Server, client: Client) -> None:
    client.close()
    await until(lambda: client.session in server.host.closed_sessions)


def test_a_new_hub_has_nobody_and_has_counted_nothing() -> None:
    hub = Hub(lambda flush: None, 0.0)
    assert hub.connections() == []
    assert set(hub.stats()) == {"telemetry", "alerts", "devices", "system"}
    assert all(set(counters.values()) == {0} for counters in hub.stats().values())
    assert hub.publish(telemetry(1, t=1)) == 0


async def test_publish_returns_subscriptions_not_connections() -> None:
    async with Server() as server:
        alice, bob = await server.login(), await server.login()
        await subscribe(alice)
        await subscribe(alice, device_id=1)
        await subscribe(alice, device_id=[1, 2], metrics=["t"])
        await subscribe(bob, metrics=["h"])
        assert server.hub.publish(telemetry(1, t=1)) == 3
        assert server.hub.publish(telemetry(1, h=1)) == 3
        assert server.hub.publish(telemetry(2, t=1)) == 2
        assert server.hub.publish(telemetry(3, h=1)) == 2
        assert [len(messages) for messages in await server.settled(alice, bob)] == [4, 2]


async def test_more_projections_of_one_message_than_are_looked_through() -> None:
    """Sixty clients with forty different projections: each gets its own."""
    async with Server() as server:
        names = [f"m{i}" for i in range(41)]
        wanted = [names[i % 40 : i % 40 + 2] for i in range(60)]
        clients = [await server.login() for _ in wanted]
        for client, metrics in zip(clients, wanted, strict=True):
            await subscribe(client, metrics=metrics)
        for turn in range(2):
            assert server.hub.publish(telemetry(1, **{name: f"{name} {turn}" for name in names})) == 60
        for messages, metrics in zip(await server.settled(*clients), wanted, strict=True):
            for turn, message in enumerate(messages):
                values = {name: metric["value"] for name, metric in message["telemetry"].items()}
                assert values == {name: f"{name} {turn}" for name in metrics}
            assert len(messages) == 2


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (7, ErrorCode.INVALID_MESSAGE),
        ({}, ErrorCode.MISSING_TYPE),
        ({"type": "telemetry"}, ErrorCode.UNKNOWN_TYPE),
        ({"type": "telemetry_update", "device_id": 1}, ErrorCode.INVALID_MESSAGE),
        ({"type": "telemetry_update", "device_id": 1, "telemetry": {}}, ErrorCode.INVALID_MESSAGE),
        ({"type": "telemetry_update", "telemetry": {"t": 1}}, ErrorCode.INVALID_MESSAGE),
        ({"type": "telemetry_update", "device_id": 1.5, "telemetry": {"t": 1}}, ErrorCode.INVALID_MESSAGE),
        ({"type": "alert", "device_id": 1}, ErrorCode.INVALID_MESSAGE),
        ({"type": "alert", "severity": "high", "channel": "devices"}, ErrorCode.UNKNOWN_CHANNEL),
        ({"type": "device_status_update", "new_status": "on"}, ErrorCode.INVALID_MESSAGE),
        ({"type": "system_status_update", "metrics": 5}, ErrorCode.INVALID_MESSAGE),
    ],
)
async def test_what_is_no_data_message_is_refused(message: Message, code: ErrorCode) -> None:
    async with Server() as server:
        client = await server.login()
        for channel in ("telemetry", "alerts", "devices", "system"):
            await subscribe(client, channel)
        with pytest.raises(PublicationError) as caught:
            server.hub.publish(message)
        assert caught.value.code == code
        assert await client.settled() == []
        assert all(counters["publications"] == 0 for counters in server.hub.stats().values())


@pytest.mark.parametrize("value", [object(), 1 << 64, {"deep": object()}, "\ud800"])
async def test_what_is_not_json_reaches_nobody(value: object) -> None:
    """A refused message is refused whole, though one of the clients would not have seen what is wrong with it."""
    async with Server() as server:
        clients = [await server.login() for _ in range(3)]
        await subscribe(clients[0], metrics=["good"])
        await subscribe(clients[1], device_id=1, metrics=["good"])
        await subscribe(clients[2])
        with pytest.raises(PublicationError) as caught:
            server.hub.publish(telemetry(1, good=1, bad=value))
        assert caught.value.code == ErrorCode.INVALID_MESSAGE
        assert await server.settled(*clients) == [[], [], []]
        assert server.hub.publish(telemetry(1, good=1)) == 3


async def test_the_bound_on_a_publications_size() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client)
        message = telemetry(1, t="x" * 500)
        server.hub.publish(message)
        size = len((await client.receive()).payload)
        server.hub.max_payload = size
        assert server.hub.publish(message) == 1
        server.hub.max_payload = size - 1
        with pytest.raises(PublicationError) as caught:
            server.hub.publish(message)
        assert caught.value.code == ErrorCode.MESSAGE_TOO_LARGE
        assert len(await client.settled()) == 1


async def test_the_given_message_is_not_changed() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client)
        await subscribe(client, "alerts")
        bare = {"type": "telemetry_update", "device_id": 1, "telemetry": {"t": 1, "h": {"value": 2}}}
        alert = {"type": "alert", "severity": "high"}
        for message in (bare, alert):
            server.hub.publish(message)
        assert bare == {"type": "telemetry_update", "device_id": 1, "telemetry": {"t": 1, "h": {"value": 2}}}
        assert alert == {"type": "alert", "severity": "high"}
        values, event = await client.settled()
        assert set(values["telemetry"]["t"]) == {"value", "unit", "timestamp"}
        assert {"alert_id", "device_id", "title", "message", "timestamp", "metadata"} <= set(event)


async def test_counters() -> None:
    async with Server() as server:
        alice, bob = await server.login(), await server.login()
        await subscribe(alice)
        await subscribe(alice, device_id=1, metrics=["t"])
        await subscribe(bob, metrics=["t"])
        await alice.ask(type="subscribe", id=1, channel="alerts", filters={"no": 1})
        before = alice.session.bytes_out + bob.session.bytes_out
        server.hub.publish(telemetry(1, t=1))
        server.hub.publish(telemetry(1, h=1))
        size = alice.session.bytes_out + bob.session.bytes_out - before
        stats = server.hub.stats()
        counted = {
            "publications": 2, "matched": 4, "deliveries": 3, "conflated": 0, "kept_back": 0, "caught_up": 0,
            "bytes": size, "received": 3,
        }  # fmt: skip
        assert stats["telemetry"] == counted
        assert stats["alerts"] == dict.fromkeys(counted, 0) | {"received": 1}
        assert [len(messages) for messages in await server.settled(alice, bob)] == [2, 1]


async def test_what_is_not_queued_is_no_delivery() -> None:
    """A connection that is closing still has its subscriptions, but takes nothing more."""
    async with Server() as server:
        client = await server.login()
        await subscribe(client)
        client.session.disconnect(1001)
        server.hub.publish(telemetry(1, t=1))
        assert (await client.closing())[:2] == ([], 1001)
        stats = server.hub.stats()["telemetry"]
        assert (stats["deliveries"], stats["bytes"]) == (0, 0)


async def test_every_client_sees_the_order_of_publishing() -> None:
    async with Server() as server:
        clients = [await server.login() for _ in range(3)]
        await subscribe(clients[0])
        await subscribe(clients[1], device_id=[1, 2])
        await subscribe(clients[2], metrics=["t"])
        for turn in range(5):
            for i in range(10):
                server.hub.publish(telemetry(i % 2 + 1, t=turn * 10 + i))
            await asyncio.sleep(0)
        for messages in await server.settled(*clients):
            assert [message["telemetry"]["t"]["value"] for message in messages] == list(range(50))


async def test_a_slot_that_is_used_again_inherits_nothing() -> None:
    async with Server() as server:
        alice = await server.login()
        await subscribe(alice)
        await subscribe(alice, "alerts", device_id=1)
        await leave(server, alice)
        bob = await server.login()
        assert server.hub.publish(telemetry(1, t=1)) == 0
        assert await bob.settled() == []
        # And nothing of what the last owner of the slot was sent within the same turn.
        await subscribe(bob)
        server.hub.publish(telemetry(1, t=1))
        bob.session.abort()
        carol = await server.login()
        assert await carol.settled() == []
        assert len(await bob.rest()) <= 1  # it may have been written before the end


async def test_connections_are_numbered_from_the_hubs_start() -> None:
    async with Server() as server:
        clients = [await server.connect() for _ in range(3)]
        assert [client.session.number for client in clients] == [1, 2, 3]
        assert server.hub.connections() == [client.session for client in clients]
        for i in (0, 2):
            await leave(server, clients[i])
        assert server.hub.connections() == [clients[1].session]
        newer = [await server.connect() for _ in range(3)]
        assert [client.session.number for client in newer] == [4, 5, 6]
        assert set(server.hub.connections()) == {clients[1].session, *[client.session for client in newer]}


async def test_timers_fire_when_their_time_has_come_and_not_before() -> None:
    async with Server(clock=False, auth_timeout=10, ping_interval=25, ping_timeout=8) as server:
        silent, patient = await server.connect(), await server.login()
        start = time.monotonic()
        server.hub.advance(start + 9)
        assert await silent.settled() == []
        server.hub.advance(start + 11)
        assert await silent.close_code() == 4002
        server.hub.advance(start + 20)
        assert await patient.settled() == []
        server.hub.advance(start + 60)
        assert (await patient.receive()).opcode == PING
        server.hub.advance(start + 67)
        assert patient.session in server.hub.connections()
        server.hub.advance(start + 69)
        assert await patient.close_code() == 4103


async def test_publishing_while_connections_come_and_go() -> None:
    """Those that stay miss nothing, whatever happens beside them."""
    async with Server() as server:
        steady = [await server.login() for _ in range(3)]
        for client in steady:
            await subscribe(client, metrics=["n"])
        for n in range(60):
            guest = await server.login()
            await guest.write(frame(1, b'{"type":"subscribe","channel":"telemetry"}'))
            server.hub.publish(telemetry(n % 3, n=n))
            if n % 3 == 0:
                guest.reset()
            elif n % 3 == 1:
                guest.session.abort()
            server.hub.publish(telemetry(n % 3, n=-n))
        for messages in await server.settled(*steady):
            values = [message["telemetry"]["n"]["value"] for message in messages]
            assert values == [value for n in range(60) for value in (n, -n)]
