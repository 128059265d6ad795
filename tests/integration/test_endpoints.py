"""The five endpoints, and what is answered elsewhere on the WebSocket port (protocol.md, section 1)."""

from __future__ import annotations

import asyncio

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from documented import ALERT, MESSAGES, STATUS, SYSTEM, TELEMETRY
from harness import TIMEOUT, UPGRADE, Message, Site, http, running, text
from valtronics_fast._core.wire import CHANNELS

ENDPOINTS = {"telemetry": TELEMETRY, "alerts": ALERT, "devices": STATUS, "system": SYSTEM}
"""The channels that have an endpoint of their own, with a message of each."""

parametrize_endpoints = pytest.mark.parametrize(("channel", "message"), ENDPOINTS.items(), ids=list(ENDPOINTS))


def publish_all(site: Site) -> int:
    return sum(site.server.publish(message) for message in MESSAGES)


def test_every_channel_has_an_endpoint() -> None:
    assert set(ENDPOINTS) == set(CHANNELS)


async def test_the_primary_endpoint_serves_every_channel_to_who_subscribes() -> None:
    async with running() as site, site.client("/ws") as client:
        assert publish_all(site) == 0
        for channel in ENDPOINTS:
            await client.subscribe(channel)
        assert publish_all(site) == 4
        assert [await client.receive() for _ in MESSAGES] == list(MESSAGES)
        await client.nothing_more()


async def test_the_primary_endpoint_asks_for_the_channel() -> None:
    async with running() as site, site.client("/ws") as client:
        await client.fails("invalid_message", type="subscribe")


@parametrize_endpoints
async def test_an_endpoint_of_one_channel_subscribes_by_itself(channel: str, message: Message) -> None:
    async with running() as site, site.client(f"/ws/{channel}") as client:
        assert publish_all(site) == 1
        assert await client.receive() == message
        await client.nothing_more()


async def test_it_does_so_only_after_authentication() -> None:
    async with running() as site, site.connect("/ws/telemetry") as client:
        await client.nothing_more()
        assert site.server.publish(TELEMETRY) == 0
        await client.authenticate(site.token())
        assert site.server.publish(TELEMETRY) == 1


@parametrize_endpoints
async def test_it_does_not_when_it_is_asked_not_to(channel: str, message: Message) -> None:
    async with running() as site, site.client(f"/ws/{channel}?subscribe=none") as client:
        assert publish_all(site) == 0
        await client.nothing_more()
        await client.ask(type="subscribe", id=1)
        assert site.server.publish(message) == 1


async def test_another_value_of_that_parameter_changes_nothing() -> None:
    async with running() as site, site.client("/ws/telemetry?subscribe=all&x=none"):
        assert site.server.publish(TELEMETRY) == 1


async def test_the_parameter_means_nothing_at_the_primary_endpoint() -> None:
    async with running() as site, site.client("/ws?subscribe=none") as client:
        await client.subscribe("telemetry")
        assert site.server.publish(TELEMETRY) == 1


async def test_the_first_own_subscription_replaces_the_implicit_one() -> None:
    async with running() as site, site.client("/ws/telemetry") as client:
        await client.subscribe("telemetry", device_id=2)
        assert site.server.publish(TELEMETRY) == 0
        await client.subscribe("telemetry", device_id=3)
        assert site.server.publish(TELEMETRY | {"device_id": 2}) == 1
        assert site.server.publish(TELEMETRY | {"device_id": 3}) == 1


async def test_a_subscription_that_fails_replaces_nothing() -> None:
    async with running() as site, site.client("/ws/telemetry") as client:
        await client.fails("invalid_filter", type="subscribe", filters={"device": 2})
        assert site.server.publish(TELEMETRY) == 1


async def test_unsubscribing_ends_the_implicit_subscription() -> None:
    async with running() as site, site.client("/ws/alerts") as client:
        await client.send(type="unsubscribe", channel="alerts")
        await client.nothing_more()
        assert site.server.publish(ALERT) == 0


@parametrize_endpoints
async def test_the_channel_may_be_left_out(channel: str, message: Message) -> None:
    async with running() as site, site.client(f"/ws/{channel}") as client:
        answer = await client.ask(type="subscribe", id=1)
        assert (answer["type"], answer["channel"]) == ("subscribe_response", channel)
        assert site.server.publish(message) == 1
        assert await client.receive() == message
        answer = await client.ask(type="unsubscribe", id=2)
        assert (answer["type"], answer["channel"]) == ("unsubscribe_response", channel)
        assert site.server.publish(message) == 0


async def test_another_channel_is_not_allowed_and_the_connection_stays() -> None:
    async with running() as site, site.client("/ws/telemetry") as client:
        for kind in ("subscribe", "unsubscribe"):
            await client.fails("channel_not_allowed", type=kind, channel="alerts")
        assert site.server.publish(ALERT) == 0
        assert site.server.publish(TELEMETRY) == 1
        assert await client.receive() == TELEMETRY


@pytest.mark.parametrize("path", ["/ws/", *(f"/ws/{channel}/" for channel in ENDPOINTS)])
async def test_a_trailing_slash_is_the_same_path(path: str) -> None:
    async with running() as site, site.client(path) as client:
        assert publish_all(site) == (path != "/ws/")
        if path == "/ws/":
            await client.subscribe("system")
            assert publish_all(site) == 1


@pytest.mark.parametrize("path", ["/", "/wss", "/ws/metrics", "/ws//", "/ws/telemetry/1", "/WS", "/api/v1/stats"])
async def test_another_path_is_not_found(path: str) -> None:
    async with running() as site:
        assert (await site.refusal(path)).status_code == 404
        assert (await http("GET", site.url(path, scheme="http")))[0] == 404
        assert site.server.stats()["total_connections"] == 0


@pytest.mark.parametrize("path", ["/ws", "/ws/telemetry/"])
async def test_a_request_that_is_no_upgrade_is_told_what_to_do(path: str) -> None:
    async with running() as site:
        status, _, headers = await http("GET", site.url(path, scheme="http"))
        assert (status, headers["Upgrade"]) == (426, "websocket")
        assert site.server.stats()["total_connections"] == 0


async def test_another_version_of_the_protocol_is_told_which_one_is_spoken() -> None:
    async with running() as site:
        old = UPGRADE | {"Sec-WebSocket-Version": "8"}
        status, _, headers = await http("GET", site.url(scheme="http"), headers=old)
        assert (status, headers["Sec-WebSocket-Version"]) == (426, "13")


async def test_the_websocket_port_answers_health() -> None:
    async with running() as site:
        status, body, _ = await http("GET", site.url("/health", scheme="http"))
        assert (status, body) == (200, {"status": "ok"})


async def test_firefox_keeps_the_connection_alive_and_upgrades_it() -> None:
    """Its header is `Connection: keep-alive, Upgrade`; the protocol is driven by hand to send that."""
    async with running() as site:
        protocol = ClientProtocol(parse_uri(site.url()))
        request = protocol.connect()
        del request.headers["Connection"]
        request.headers["Connection"] = "keep-alive, Upgrade"
        protocol.send_request(request)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
        writer.write(b"".join(protocol.data_to_send()))

        async def next_event() -> object:
            async with asyncio.timeout(TIMEOUT):
                while not (events := protocol.events_received()):
                    protocol.receive_data(await reader.read(4096))
            assert len(events) == 1
            return events[0]

        assert getattr(await next_event(), "status_code", None) == 101
        writer.write(text('{"type":"ping"}').serialize(mask=True))
        pong = await next_event()
        assert getattr(pong, "opcode", None) == Opcode.TEXT
        assert getattr(pong, "data", b"").startswith(b'{"type":"pong"')
        writer.close()
        await writer.wait_closed()


async def test_extensions_that_a_client_offers_are_not_taken() -> None:
    async with running() as site, site.connect(compression="deflate") as client:
        response = client.connection.response
        assert response is not None
        assert "Sec-WebSocket-Extensions" not in response.headers
        assert client.connection.subprotocol is None
        await client.authenticate(site.token())
