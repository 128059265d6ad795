"""How large, how deep and how many: the limits of a message and of what it asks for (protocol.md, section 4).

Each one with its default, on both sides of the bound.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from harness import Client, Message, more, padded, running, telemetry, text
from valtronics_fast._core.wire import CloseCode

if TYPE_CHECKING:
    from websockets.frames import Frame

PING = '{"type":"ping"}'


async def raw(client: Client, data: str) -> Message:
    """Send a text as it is and return the next message."""
    await client.connection.send(data)
    return await client.receive()


def nested(depth: int) -> str:
    """Return a ping whose JSON is this deep."""
    return '{"type":"ping","x":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


# Bytes


async def test_a_message_has_at_most_1024_bytes() -> None:
    async with running() as site, site.client() as client:
        assert (await raw(client, padded(1024, type="ping")))["type"] == "pong"
        error = await raw(client, padded(1025, type="ping"))
        assert (error["type"], error["error"]) == ("error", "message_too_large")
        await client.nothing_more()


async def test_bytes_are_counted_not_characters() -> None:
    async with running() as site, site.client() as client:
        message = json.dumps({"type": "ping", "pad": "é" * 600}, ensure_ascii=False)
        assert len(message) < 1024 < len(message.encode())
        assert (await raw(client, message))["error"] == "message_too_large"


async def test_fragments_are_counted_together() -> None:
    async with running() as site, site.client() as client:
        message = padded(1025, type="ping").encode()
        client.write(text(message[:1000], fin=False), more(message[1000:], fin=True))
        assert (await client.receive())["error"] == "message_too_large"
        client.write(text(message[:1000], fin=False), more(message[1001:], fin=True))
        assert (await client.receive())["type"] == "pong"


async def test_auth_has_at_most_8_kib() -> None:
    async with running() as site, site.connect() as client:
        auth = {"type": "auth", "token": site.token()}
        error = await raw(client, padded(8193, **auth))
        assert (error["type"], error["error"]) == ("error", "message_too_large")
        assert (await raw(client, padded(8192, **auth)))["success"] is True


async def test_only_what_is_auth_may_be_that_large() -> None:
    async with running() as site, site.client() as client:
        for message in ({"type": "ping", "x": {"type": "auth"}}, {"auth": 1, "type": "ping"}):
            assert (await raw(client, padded(2000, **message)))["error"] == "message_too_large"


async def test_a_frame_over_64_kib_ends_the_connection() -> None:
    async with running() as site, site.client() as client:
        assert (await raw(client, padded(65536, type="ping")))["error"] == "message_too_large"
        await client.connection.send(padded(65537, type="ping"))
        assert await client.closed() == (CloseCode.CLOSE_TOO_BIG, [])


async def test_so_does_a_message_that_grows_over_it_by_fragments() -> None:
    async with running() as site, site.client() as client:
        client.write(text(b"x" * 60_000, fin=False), more(b"x" * 5_537))
        assert await client.closed() == (CloseCode.CLOSE_TOO_BIG, [])


# Batches


async def test_a_batch_has_at_most_50_items() -> None:
    async with running(limits={"messages_per_second": 0}) as site, site.client() as client:
        await client.send(type="batch", messages=[{"type": "ping"}] * 50)
        assert [(await client.receive())["type"] for _ in range(50)] == ["pong"] * 50
        await client.fails("batch_too_large", type="batch", messages=[{"type": "ping"}] * 51)
        await client.nothing_more()


async def test_of_a_batch_within_a_batch_nothing_is_done() -> None:
    async with running() as site, site.client() as client:
        inner = {"type": "batch", "messages": []}
        subscribe = {"type": "subscribe", "channel": "telemetry"}
        await client.fails("batch_too_large", type="batch", id=5, messages=[subscribe, inner])
        await client.nothing_more()
        assert site.server.publish(telemetry()) == 0


async def test_each_item_is_measured_for_itself() -> None:
    async with running() as site, site.client() as client:
        largest = padded(1024, type="ping")
        items = [largest] * 49 + [padded(1025, type="ping")]
        await client.connection.send('{"type":"batch","id":1,"messages":[' + ",".join(items) + "]}")
        answers = [await client.receive() for _ in range(51)]
        assert [answer["type"] for answer in answers[:49]] == ["pong"] * 49
        assert answers[49]["error"] == "message_too_large"
        assert answers[50]["results"] == [{"success": True}] * 49 + [
            {"success": False, "error": "message_too_large"}
        ]


async def test_auth_within_a_batch_may_be_larger_too() -> None:
    async with running() as site, site.connect() as client:
        auth = padded(8192, type="auth", token=site.token())
        assert (await raw(client, f'{{"type":"batch","messages":[{auth}]}}'))["success"] is True


# Subscriptions


async def test_a_connection_has_at_most_1000_subscriptions() -> None:
    async with running(limits={"messages_per_second": 0}) as site, site.client() as client:
        commands = [
            {"type": "subscribe", "channel": "telemetry", "device_id": device} for device in range(1000)
        ]
        for start in range(0, 1000, 50):
            await client.send(type="batch", messages=commands[start : start + 50])
        await client.nothing_more()
        error = await client.fails("too_many_subscriptions", type="subscribe", channel="alerts", id="x")
        assert (error["id"], error["channel"]) == ("x", "alerts")
        assert site.server.publish(telemetry(999)) == 1
        assert (await client.receive())["device_id"] == 999
        await client.subscribe("telemetry", device_id=5, metrics="t")  # in place of another
        await client.send(type="unsubscribe", channel="telemetry", device_id=0)
        await client.subscribe("alerts")


async def test_a_connection_names_at_most_10000_devices() -> None:
    async with running() as site, site.client() as client:
        devices = list(range(1000, 11_000))
        for start in range(0, 10_000, 160):
            chosen = devices[start : start + 160]
            message = json.dumps({"type": "subscribe", "channel": "telemetry", "device_id": chosen})
            await client.connection.send(message.replace(" ", ""))
        await client.nothing_more()
        for channel in ("telemetry", "devices"):
            await client.fails("too_many_subscriptions", type="subscribe", channel=channel, device_id=1)
        assert site.server.publish(telemetry(10_999)) == 1
        await client.receive()
        await client.subscribe("alerts")
        await client.send(type="unsubscribe", channel="telemetry", device_id=[1000, 1001])
        await client.subscribe("telemetry", device_id=[1, 2])


# Depth and fragments


async def test_json_is_at_most_16_deep() -> None:
    async with running() as site, site.client() as client:
        assert (await raw(client, nested(16)))["type"] == "pong"
        assert (await raw(client, nested(17)))["error"] == "invalid_message"
        assert (await raw(client, '{"type":"ping","x":"' + "[" * 500 + '"}'))["type"] == "pong"


async def test_a_message_has_at_most_64_fragments() -> None:
    async with running() as site, site.client() as client:
        client.write(text(PING, fin=False), *[more()] * 62, more(fin=True))
        assert (await client.receive())["type"] == "pong"
    async with running(limits={"messages_per_second": 0}) as site, site.client() as client:
        client.write(text(PING, fin=False), *[more()] * 63, more(fin=True))
        assert await client.closed() == (CloseCode.CLOSE_TOO_BIG, [])


SUBSCRIBE = '{"type":"subscribe","channel":"telemetry","device_id":1,"id":1}'
UNLIMITED: dict[str, tuple[list[Frame], str]] = {
    "message_size": ([text(padded(3000, type="ping"))], "pong"),
    "auth_size": ([text(padded(9000, type="auth", token="x"))], "auth_response"),
    "frame_size": ([text(padded(100_000, type="ping"))], "error"),  # that it is too large for a message
    "json_depth": ([text(nested(100))], "pong"),
    "batch_items": ([text(f'{{"type":"batch","messages":[{",".join([PING] * 60)}]}}')], "pong"),
    "fragments": ([text(PING, fin=False), *[more()] * 70, more(fin=True)], "pong"),
    "subscriptions": ([text(SUBSCRIBE)], "subscribe_response"),
    "device_ids": ([text(SUBSCRIBE)], "subscribe_response"),
}
"""What crosses each limit, and the type of the answer when there is none."""


@pytest.mark.parametrize("limit", UNLIMITED)
async def test_zero_turns_a_limit_off(limit: str) -> None:
    frames, kind = UNLIMITED[limit]
    async with running(limits={limit: 0}) as site, site.client() as client:
        client.write(*frames)
        assert (await client.receive())["type"] == kind
