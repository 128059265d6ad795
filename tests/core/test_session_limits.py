"""The limits of protocol.md, section 4, that a session keeps."""

from __future__ import annotations

import pytest

from core.harness import Message, Server, dumps, telemetry
from core.wire_client import CLOSE, CONTINUATION, TEXT, frame, text


def padded(message: Message, size: int) -> bytes:
    """Return the frame of a command of exactly that many bytes."""
    bare = len(dumps(message | {"pad": ""}))
    return text(message | {"pad": "x" * (size - bare)})


async def test_messages_of_exactly_the_size_and_one_byte_more() -> None:
    async with Server() as server:
        client = await server.login()
        await client.write(padded({"type": "ping"}, 1024))
        assert (await client.hear())["type"] == "pong"
        await client.write(padded({"type": "ping"}, 1025))
        answer = await client.hear()
        assert (answer["type"], answer["error"]) == ("error", "message_too_large")


async def test_auth_may_be_larger() -> None:
    async with Server() as server:
        client = await server.connect()
        token = server.token()
        await client.write(padded({"type": "auth", "token": token}, 8193))
        assert (await client.hear())["error"] == "message_too_large"
        await client.write(padded({"type": "auth", "token": token}, 8192))
        assert (await client.hear())["success"] is True


@pytest.mark.parametrize(
    "start",
    [
        b'{"type":"auth","t\\u0079pe":"subscribe","channel":"alerts","pad":"',
        b'{"type":"batch","t\\u0079pe":"subscribe","channel":"alerts","pad":"',
        b'{"type":"batch","type":"subscribe","channel":"alerts","pad":"',
        b'{"channel":"alerts","type":{"type":"auth"},"type":"subscribe","pad":"',
        b'{"channel":"alerts","x":[{"type":"batch"}],"type":"subscribe","pad":"',
        b'{"channel":"alerts","type":"subscribe","pad":"auth\\"type\\":\\"auth',
    ],
)
async def test_no_spelling_makes_another_command_larger(start: bytes) -> None:
    async with Server() as server:
        client = await server.login()
        await client.write(frame(TEXT, start + b"x" * 2000 + b'"}'))
        answer = await client.hear()
        assert answer["error"] == "message_too_large"
        assert client.session.subscription_count == 0


async def test_escaped_spellings_are_the_same_commands() -> None:
    async with Server() as server:
        client = await server.connect()
        token = server.token()
        escaped = f'{{"t\\u0079pe":"\\u0061uth","token":"{token}","pad":"{"x" * 2000}"}}'
        await client.write(frame(TEXT, escaped.encode()))
        assert (await client.hear())["success"] is True
        await client.write(frame(TEXT, b'{"type":"b\\u0061tch","m\\u0065ssages":[{"type":"ping","id":1}],"id":2}'))
        assert [(await client.hear())["id"] for _ in range(2)] == [1, 2]


async def test_all_sizes_may_be_off() -> None:
    async with Server(message_size=0, frame_size=0, json_depth=0) as server:
        client = await server.login()
        await client.write(padded({"type": "ping"}, 200_000))
        assert (await client.hear())["type"] == "pong"


async def test_subscriptions_are_counted() -> None:
    async with Server(subscriptions=3) as server:
        client = await server.login()
        for device in (1, 2, 3):
            assert (await client.ask(type="subscribe", id=1, channel="alerts", device_id=device))["success"] is True
        answer = await client.ask(type="subscribe", id=1, channel="system")
        assert (answer["error"], answer["id"], answer["channel"]) == ("too_many_subscriptions", 1, "system")
        # To replace one is no new one; and there is room again when one has ended.
        answer = await client.ask(type="subscribe", id=1, channel="alerts", device_id=3, severity="high")
        assert answer["success"] is True
        await client.ask(type="unsubscribe", id=1, channel="alerts", device_id=3)
        assert (await client.ask(type="subscribe", id=1, channel="system"))["success"] is True
        assert client.session.subscription_count == 3


async def test_device_ids_are_counted_over_all_subscriptions() -> None:
    async with Server(device_ids=5) as server:
        client = await server.login()
        assert (await client.ask(type="subscribe", id=1, channel="alerts", device_id=[1, 2, 3]))["success"] is True
        for devices, channel in (([1, 2, 3], "telemetry"), ([1, 2, 3, 4, 5, 6], "devices")):
            answer = await client.ask(type="subscribe", id=1, channel=channel, device_id=devices)
            assert answer["error"] == "too_many_subscriptions"
        for command in (
            {"type": "subscribe", "channel": "telemetry", "device_id": [1, "1", 2, 2]},
            {"type": "subscribe", "channel": "alerts", "device_id": [3, 2, 1]},
            {"type": "subscribe", "channel": "system"},
            {"type": "unsubscribe", "channel": "alerts", "device_id": [3]},
            {"type": "subscribe", "channel": "devices", "device_id": [9]},
        ):
            assert (await client.ask(**command, id=1))["success"] is True
        assert (await client.ask(type="subscribe", id=1, channel="devices", device_id=[8]))["error"]


async def test_the_endpoints_own_subscription_makes_room_for_the_first() -> None:
    async with Server(subscriptions=1) as server:
        client = await server.login(endpoint=0)
        assert (await client.ask(type="subscribe", id=1, device_id=1))["success"] is True
        assert (await client.ask(type="subscribe", id=1, device_id=2))["error"] == "too_many_subscriptions"


async def test_subscriptions_without_a_bound() -> None:
    async with Server(subscriptions=0, device_ids=0) as server:
        client = await server.login()
        for device in range(1100):
            await client.say(type="subscribe", channel="telemetry", device_id=[device, device + 1])
        assert await client.settled() == []
        assert client.session.subscription_count == 1100
        assert server.hub.publish(telemetry(1, t=1)) == 2


async def test_a_dropped_message_has_no_effect_and_is_told() -> None:
    async with Server(messages_per_second=5) as server:
        client = await server.login()
        subscribe: Message = {"type": "subscribe", "channel": "telemetry"}
        await client.write(b"".join(text(subscribe | {"device_id": i}) for i in range(20)))
        told = await client.hear()
        assert (told["type"], told["error"]) == ("error", "rate_limited")
        assert 0 < told["retry_after"] <= 0.2
        while client.session.messages_in < 21:
            await client.read_more()
        assert client.session.dropped + client.session.subscription_count == 20
        assert 4 <= client.session.subscription_count < 20


async def test_a_rate_of_nothing_is_no_limit() -> None:
    async with Server(messages_per_second=0) as server:
        client = await server.connect()
        await client.write(text({"type": "ping"}) * 3000)
        for _ in range(3000):
            assert (await client.hear())["type"] == "pong"


@pytest.mark.parametrize(
    ("name", "value", "data", "end"),
    [
        ("message_size", 20, text({"type": "ping", "id": "x" * 20}), "message_too_large"),
        ("json_depth", 2, text({"type": "ping", "x": [[]]}), "invalid_message"),
        ("batch_items", 1, text({"type": "batch", "messages": [1, 2]}), "batch_too_large"),
        ("frame_size", 20, text({"type": "ping", "id": "x" * 20}), 1009),
        ("fragments", 1, frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b"}"), 1009),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_limits_are_changed_in_place(name: str, value: int, data: bytes, end: object) -> None:
    """They are shared by all connections: a change counts for those that there are."""
    async with Server() as server:
        client = await server.login()
        setattr(server.limits, name, value)
        await client.write(data)
        received = await client.receive()
        if received.opcode == CLOSE:
            assert int.from_bytes(received.payload[:2], "big") == end
        else:
            assert client.decode(received).get("error") == end
