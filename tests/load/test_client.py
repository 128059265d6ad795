"""A client of a load test, with real servers and with some that are none."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection, serve

from harness import Site, running, telemetry, until
from services import free_port
from valtronics_fast.load import client as module
from valtronics_fast.load.client import Client, Decoder, connect
from valtronics_fast.load.tally import Tally

if TYPE_CHECKING:
    import pytest

METRIC = "bench_1"


async def entered(url: str, token: str, tally: Tally, *subscriptions: dict[str, Any]) -> Client:
    client = Client(tally, Decoder(tally.metric), token, subscriptions)
    await connect(client, url, tally)
    return client


def site_tally(site: Site) -> Tally:
    tally = Tally(METRIC)
    tally.timing = tally.measuring = True
    return tally


async def test_it_is_ready_when_it_is_subscribed_and_counts_what_comes() -> None:
    async with running() as site:
        tally = site_tally(site)
        subscription = {"channel": "telemetry", "filters": {"device_id": ["7"]}}
        client = await entered(site.url(), site.token(), tally, subscription)
        assert (tally.ready, client.failed, tally.errors.total()) == (1, False, 0)
        assert (tally.connecting.count, tally.authenticating.count) == (1, 1)
        site.server.publish(telemetry(8))
        site.server.publish(telemetry(7))
        site.server.publish(telemetry(7, **{METRIC: int(time.monotonic() * 1e6) - 5_000_000}))
        await until(lambda: tally.messages == 2)
        assert tally.delivering.count == 1
        assert 5 <= tally.delivering.least < 60
        tally.ending = True
        client.close()
        await until(lambda: site.server.stats()["active_connections"] == 0)
        assert (tally.ready, tally.errors.total()) == (1, 0)


async def test_what_the_server_refuses_is_told_by_its_name() -> None:
    async with running(limits={"connections_per_user": 1}) as site:
        tally = Tally(METRIC)
        for token in ("a.b.c", site.token(), site.token()):
            await entered(site.url(), token, tally, {"channel": "telemetry"}, {"channel": "weather"})
        await entered(site.url("/nothing"), site.token(), tally)
        assert tally.ready == 1
        assert tally.errors == {
            "not authenticated: invalid_token": 1,
            "error unknown_channel": 1,
            "not authenticated: too_many_connections": 1,
            "HTTP 404": 1,
        }


async def test_a_connection_that_ends_before_the_test_is_an_error() -> None:
    async with running() as site:
        tally = Tally(METRIC)
        await entered(site.url(), site.token(), tally)
        site.server.disconnect(4200)
        await until(lambda: tally.errors)
        assert (dict(tally.errors), tally.ready) == ({"closed 4200 rebalance": 1}, 0)


async def test_what_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally(METRIC)
    await entered(f"ws://127.0.0.1:{free_port()}/ws", "a.b.c", tally)
    async with running() as site:
        await entered(f"ws://127.0.0.1:{site.server.http_port}/ws", "a.b.c", tally)
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        await entered(f"ws://127.0.0.1:{silent.getsockname()[1]}/ws", "a.b.c", tally)
    assert tally.ready == 0
    assert tally.errors == {"Connection refused": 1, "HTTP 404": 1, "not ready within 0.2 s": 1}


async def test_odd_messages_and_messages_in_parts_do_no_harm() -> None:
    async def answer(connection: ServerConnection) -> None:
        await connection.recv()
        for text in ("[]", "{", '{"type": 7}', '{"type":"error","error":{"\\u001b":1}}', "\x00", '{"telemetry":[1]}'):
            await connection.send(text)
        await connection.send(b"\xff\xfe")
        await connection.send(['{"type":"auth_response",', '"success":true}'])
        await connection.recv()
        await connection.send('{"type":"pong"}')
        await connection.send(['{"type":"telemetry_update","telemetry":{"bench_1":', "5}}"])
        await connection.wait_closed()

    async with serve(answer, "127.0.0.1", 0) as server:
        tally = Tally(METRIC)
        tally.timing = tally.measuring = True
        client = await entered(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", "a.b.c", tally)
        await until(lambda: tally.messages == 1)
        assert tally.ready == tally.delivering.count == 1
        assert all(what.isprintable() for what in tally.errors)
        tally.ending = True
        client.close()


def test_the_decoder_knows_whose_message_it_is() -> None:
    decoder = Decoder(METRIC)
    text = b'{"type":"telemetry_update","telemetry":{"bench_1":{"value":17,"unit":null}}}'
    for _ in range(2):
        assert decoder.decode(text)[:2] == ("telemetry_update", 17)
    assert decoder.decode(text.replace(b"bench_1", b"bench_2"))[:2] == ("telemetry_update", None)
    assert decoder.decode(b"{}")[:2] == ("", None)
