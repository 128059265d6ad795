"""Publishing: from a WebSocket client, over HTTP, and in process, up to a subscriber (protocol.md, section 3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from documented import ALERT, BARE, MESSAGES, STATUS, SYSTEM, TELEMETRY, assert_documented_fields
from harness import Message, Site, alert, configuration, http, padded, running, telemetry
from valtronics_fast import PublicationError, Server
from valtronics_fast._core.wire import ErrorCode

KEY = "an-api-key-of-the-backend"
PLATFORM_ALERT = {name: value for name, value in ALERT.items() if name != "device_id"}

INVALID: dict[str, tuple[Any, ErrorCode]] = {
    "no type": ({}, ErrorCode.MISSING_TYPE),
    "another type": ({"type": "ping"}, ErrorCode.UNKNOWN_TYPE),
    "another channel": (TELEMETRY | {"channel": "alerts"}, ErrorCode.UNKNOWN_CHANNEL),
    "no device": ({"type": "telemetry_update", "telemetry": {"t": 1}}, ErrorCode.INVALID_MESSAGE),
    "a device that is none": (telemetry(1.5), ErrorCode.INVALID_MESSAGE),
    "no metrics": ({"type": "telemetry_update", "device_id": 1, "telemetry": {}}, ErrorCode.INVALID_MESSAGE),
    "no value": (telemetry(t={"unit": "s"}), ErrorCode.INVALID_MESSAGE),
    "no severity": ({"type": "alert", "device_id": 1}, ErrorCode.INVALID_MESSAGE),
    "no new status": ({"type": "device_status_update", "device_id": 1}, ErrorCode.INVALID_MESSAGE),
}

parametrize_invalid = pytest.mark.parametrize(("message", "code"), INVALID.values(), ids=INVALID.keys())


# The command


async def test_what_a_client_publishes_reaches_every_subscriber() -> None:
    async with running() as site, site.client(publish=True) as publisher, site.client() as reader:
        for message in (*MESSAGES, *BARE):
            await reader.subscribe(str(message.get("channel", "system")))
        await publisher.subscribe("alerts")
        for number, message in enumerate(MESSAGES):
            await publisher.send(type="publish", id=number, message=message)
            assert await reader.receive() == message
            if message == ALERT:
                assert await publisher.receive() == ALERT
            assert await publisher.receive() == {"type": "publish_response", "id": number, "success": True}
        for message in BARE:
            await publisher.send(type="publish", message=message)
            assert_documented_fields(await reader.receive())
        assert (await publisher.receive())["type"] == "alert"
        await publisher.nothing_more()


async def test_without_the_right_to_it_nothing_is_published() -> None:
    async with running() as site, site.client() as client:
        await client.subscribe("telemetry")
        await client.fails("forbidden", type="publish", message=TELEMETRY)
        await client.nothing_more()


async def test_the_right_may_be_for_some_channels() -> None:
    async with running() as site, site.client(publish=["alerts"], channels=["telemetry"]) as client:
        answer = await client.ask(type="publish", id=1, message=ALERT)
        assert answer["success"] is True
        error = await client.fails("forbidden", type="publish", id=2, message=TELEMETRY)
        assert (error["id"], error["channel"]) == (2, "telemetry")


async def test_the_right_is_for_the_devices_of_the_token() -> None:
    async with running() as site, site.client(publish=True, devices=[1]) as client:
        for message in (TELEMETRY, ALERT, STATUS, SYSTEM):
            assert (await client.ask(type="publish", id=1, message=message))["success"] is True
        for message in (telemetry(2), alert(device_id="x"), STATUS | {"device_id": 3}, PLATFORM_ALERT):
            await client.fails("forbidden", type="publish", message=message)


async def test_an_endpoint_of_one_channel_takes_nothing_else() -> None:
    async with running() as site, site.client("/ws/alerts", publish=True) as client:
        await client.fails("channel_not_allowed", type="publish", message=TELEMETRY)
        await client.send(type="publish", message=ALERT)
        assert await client.receive() == ALERT


@parametrize_invalid
async def test_an_invalid_message_of_a_client_is_answered_with_its_code(
    message: Message, code: ErrorCode
) -> None:
    async with running() as site, site.client(publish=True) as client:
        error = await client.fails(code.name.lower(), type="publish", id="p", message=message)
        assert error["id"] == "p"


async def test_a_publication_is_a_message_like_any_other() -> None:
    async with running() as site, site.client(publish=True) as client:
        await client.fails("invalid_message", type="publish")
        await client.fails("invalid_message", type="publish", message=[TELEMETRY])
        await client.connection.send(padded(1025, type="publish", message=BARE[0]))
        assert (await client.receive())["error"] == "message_too_large"
        batch = [{"type": "publish", "message": message} for message in (*BARE, {})]
        await client.send(type="batch", id=1, messages=batch)
        assert (await client.receive())["error"] == "missing_type"
        results = (await client.receive())["results"]
        assert results == [{"success": True}] * 4 + [{"success": False, "error": "missing_type"}]


# HTTP


async def post(site: Site, body: object, **headers: str) -> tuple[int, Message]:
    """Publish over HTTP, with the API key unless another credential is given."""
    kind = "application/x-ndjson" if isinstance(body, str) else "application/json"
    data = body if isinstance(body, str) else json.dumps(body)
    headers = headers or {"X-API-Key": KEY}
    url = site.http_url("/api/v1/publish")
    status, answer, _ = await http("POST", url, data=data.encode(), headers={"Content-Type": kind} | headers)
    return status, answer


async def test_over_http_one_message_or_several_reach_a_subscriber() -> None:
    async with running(http={"api_key": KEY}) as site, site.client() as client:
        for message in MESSAGES:
            await client.subscribe(message["channel"])
        bodies = [
            TELEMETRY,
            {"messages": [ALERT, STATUS]},
            json.dumps(SYSTEM) + "\n\n" + json.dumps(TELEMETRY) + "\n",
        ]
        for body, count in zip(bodies, (1, 2, 2), strict=True):
            status, answer = await post(site, body)
            assert (status, answer["accepted"], answer["rejected"]) == (200, count, [])
            assert answer["matched"] == count
        assert [await client.receive() for _ in range(5)] == [*MESSAGES, TELEMETRY]
        await client.nothing_more()


async def test_over_http_each_refused_message_is_named_with_its_code() -> None:
    async with running(http={"api_key": KEY}) as site, site.client() as client:
        await client.subscribe("alerts")
        status, answer = await post(site, {"messages": [{}, ALERT, telemetry(1.5), {"type": "x"}]})
        assert (status, answer["accepted"], answer["matched"]) == (200, 1, 1)
        refused = [(each["index"], each["error"]) for each in answer["rejected"]]
        assert refused == [(0, "missing_type"), (2, "invalid_message"), (3, "unknown_type")]
        assert await client.receive() == ALERT


async def test_over_http_a_token_may_publish_what_it_permits() -> None:
    async with running() as site, site.client() as client:
        await client.subscribe("telemetry")
        token = site.token(publish=["telemetry"], devices=[1])
        bearer = {"Authorization": f"Bearer {token}"}
        status, answer = await post(
            site, {"messages": [TELEMETRY, telemetry(2), ALERT, PLATFORM_ALERT]}, **bearer
        )
        assert (status, answer["accepted"], answer["matched"]) == (200, 1, 1)
        assert {each["error"] for each in answer["rejected"]} == {"forbidden"}
        assert await client.receive() == TELEMETRY
        assert (await post(site, TELEMETRY, Authorization=f"Bearer {site.token()}"))[0] == 403


async def test_over_http_nothing_goes_without_a_credential() -> None:
    async with running(http={"api_key": KEY}) as site:
        for headers in ({"X-API-Key": "x"}, {"Authorization": "Bearer x.y.z"}, {"X-Other": "x"}):
            assert (await post(site, TELEMETRY, **headers))[0] == 401
        assert site.server.publish(TELEMETRY) == 0
        channels: Any = site.server.stats()["channels"]
        assert channels["telemetry"]["publications"] == 1


# In process


async def test_in_process_it_returns_how_many_subscriptions_matched() -> None:
    async with running() as site, site.client() as one, site.client() as other:
        assert site.server.publish(TELEMETRY) == 0
        await one.subscribe("telemetry")
        await one.subscribe("telemetry", device_id=[1, 2], metrics="humidity")
        await other.subscribe("telemetry", device_id=2)
        await other.subscribe("telemetry", metrics="pressure")
        assert site.server.publish(TELEMETRY) == 2
        assert await one.receive() == TELEMETRY  # once, whatever matched
        await one.nothing_more()
        await other.nothing_more()
        assert site.server.publish(TELEMETRY | {"device_id": 2}) == 3


@parametrize_invalid
async def test_in_process_an_invalid_message_raises(message: Message, code: ErrorCode) -> None:
    async with running() as site, site.client() as client:
        await client.subscribe("telemetry")
        with pytest.raises(PublicationError) as caught:
            site.server.publish(message)
        assert caught.value.code == code
        assert isinstance(caught.value, ValueError)
        await client.nothing_more()


async def test_what_is_not_json_is_refused_before_anybody_gets_it() -> None:
    async with running() as site, site.client() as client:
        for channel in ("telemetry", "alerts"):
            await client.subscribe(channel)
        for message in (telemetry(t=object()), alert(metadata={"x": {1, 2}})):
            with pytest.raises(PublicationError, match="JSON"):
                site.server.publish(message)
        await client.nothing_more()


async def test_a_server_that_does_not_run_publishes_nothing() -> None:
    server = Server(configuration())
    with pytest.raises(RuntimeError, match="not running"):
        server.publish(TELEMETRY)
    async with server:
        assert server.publish(TELEMETRY) == 0
    with pytest.raises(RuntimeError, match="not running"):
        server.publish(TELEMETRY)
