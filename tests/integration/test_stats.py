"""What the server says of itself: figures after a known sequence, and its log lines."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from websockets.frames import Frame, Opcode

from documented import ALERT, TELEMETRY
from harness import TIMEOUT, Message, Site, http, more, running, text, until
from valtronics_fast._core.wire import CHANNELS, CloseCode
from valtronics_fast.logging import JsonFormatter

if TYPE_CHECKING:
    import pytest

PING = '{"type":"ping"}'
SUBSCRIBE = '{"type":"subscribe","channel":"telemetry"}'


def framed(message: str) -> int:
    """Return how many bytes a message of a client is on the wire."""
    return len(text(message).serialize(mask=True))


async def statistics(site: Site) -> Message:
    status, stats = await site.figures()
    assert status == 200
    return stats


async def all_gone(site: Site, count: int) -> None:
    """Wait until so many connections have come and gone."""

    def done() -> bool:
        stats = site.server.stats()
        return (stats["total_connections"], stats["active_connections"]) == (count, 0)

    await until(done)


async def test_the_figures_of_a_server_that_has_done_nothing() -> None:
    async with running() as site:
        stats = await statistics(site)
        assert stats.pop("uptime") >= 0
        assert stats.pop("event_loop").keys() == {"lag", "longest"}
        for name in ("average_connection_duration", "messages_per_connection"):
            assert stats.pop(name) == 0
        nothing = dict.fromkeys(
            ("publications", "matched", "deliveries", "conflated", "kept_back", "caught_up", "bytes", "received"), 0
        )
        assert stats.pop("channels") == dict.fromkeys(CHANNELS, nothing)
        assert set(stats.pop("index").values()) == {0}
        assert stats["slow_readers"].pop("limit") == 256 << 20
        assert set(stats.pop("slow_readers").values()) == {0}
        assert set(stats.pop("commands").values()) == set(stats.pop("errors").values()) == {0}
        assert stats.pop("turns") == {"flushes": 0, "writes": 0, "refused": 0}
        for name in ("fanout", "queues"):
            histogram = stats.pop(name)
            assert (histogram["count"], histogram["sum"], set(histogram["buckets"].values())) == (0, 0, {0})
        assert stats.pop("loop_lag")["count"] >= 0
        assert stats.pop("memory")["limit"] == 0
        assert stats.pop("build")["core"]
        assert stats.pop("cpu_seconds") > 0
        assert stats.pop("tokens") == {"cached_tokens": 1}  # the one that asks
        assert stats.pop("connections_limit") == 1000
        assert stats.pop("ready") is True
        latest = stats.pop("latest")
        assert list(latest) == ["telemetry", "devices", "system"]
        assert {figure for table in latest.values() for figure in table.values()} == {0}
        assert stats.pop("history") == {
            name: {"messages": 0, "bytes": 0, "first": 1, "last": 0} for name in CHANNELS
        }
        assert stats.pop("backplane") == {"name": "memory", "ready": True}
        suspicion = stats.pop("suspicion")
        assert suspicion.pop("failures") == dict.fromkeys(("authentication", "violation", "origin", "rate"), 0)
        assert suspicion == {"addresses": 0, "bans": 0, "banned": 0, "worst": []}
        for name in ("close_codes", "auth_failures", "http_auth_failures", "refused", "producers"):
            assert stats.pop(name) == {}
        assert set(stats.values()) == {0}


async def test_the_figures_after_a_known_sequence() -> None:
    async with running() as site:
        auth = json.dumps({"type": "auth", "token": site.token()})
        async with site.connect() as first, site.connect() as second:
            for client in (first, second):
                await client.connection.send(auth)
                await client.receive()
            await first.connection.send(SUBSCRIBE)
            await first.connection.send(PING)
            assert (await first.receive())["type"] == "pong"
            assert site.server.publish(TELEMETRY) == 1
            assert site.server.publish(ALERT) == 0
            assert await first.receive() == TELEMETRY

            stats = await statistics(site)
            assert (stats["total_connections"], stats["active_connections"]) == (2, 2)
            assert stats["messages_received"] == 4
            assert stats["messages_sent"] == 4  # two answers to auth, a pong, an update
            received = 2 * framed(auth) + framed(SUBSCRIBE) + framed(PING)
            assert stats["bytes_received"] == received
            telemetry = stats["channels"]["telemetry"]
            assert telemetry == {
                "publications": 1, "matched": 1, "deliveries": 1, "conflated": 0, "kept_back": 0,
                "caught_up": 0, "bytes": telemetry["bytes"], "received": 1,
            }  # fmt: skip
            assert len(json.dumps(TELEMETRY)) // 2 < telemetry["bytes"] < stats["bytes_sent"]
            assert {name: count for name, count in stats["commands"].items() if count} == {
                "auth": 2, "subscribe": 1, "ping": 1,
            }  # fmt: skip
            assert stats["fanout"]["count"] == 1
            assert 0 < stats["fanout"]["sum"] < TIMEOUT
            assert stats["queues"]["count"] == stats["queues"]["buckets"]["1024.0"] == 2
            assert stats["channels"]["alerts"]["publications"] == 1
            assert stats["channels"]["alerts"]["deliveries"] == 0
            assert stats["index"]["entries"] == 1
            assert stats["latest"]["telemetry"]["devices"] == 1
            assert {name: kept["messages"] for name, kept in stats["history"].items()} == {
                "telemetry": 1, "alerts": 1, "devices": 0, "system": 0,
            }  # fmt: skip
        await all_gone(site, 2)
        stats = await statistics(site)
        assert (stats["messages_received"], stats["messages_sent"]) == (4, 4)
        assert stats["bytes_received"] == received + 2 * 8  # two CLOSE frames
        assert stats["close_codes"] == {"1000": 2}
        assert stats["index"]["entries"] == 0
        assert stats["average_connection_duration"] > 0
        assert stats["messages_per_connection"] == 4


async def test_a_message_of_fragments_is_one_message() -> None:
    async with running() as site, site.connect() as client:
        client.write(text(PING[:3], fin=False), more(PING[3:9].encode()), more(PING[9:].encode(), fin=True))
        await client.receive()
        client.write(Frame(Opcode.PONG, b""))
        await client.nothing_more()
        assert (await statistics(site))["messages_received"] == 2


async def test_refusals_and_failures_are_counted_by_reason() -> None:
    async with running(limits={"connections": 1}) as site:
        await site.refusal("/nowhere")
        await site.refusal(additional_headers={"Authorization": "Bearer x"})
        async with site.connect() as client:
            await site.refusal()
            await client.ask(type="auth", token=7)
            stats = await statistics(site)
    assert stats["refused"] == {"not_found": 1, "invalid_token": 1, "server_full": 1}
    assert stats["auth_failures"] == {"malformed": 1, "not_a_string": 1}
    assert stats["total_connections"] == 1


async def test_refused_credentials_of_http_are_counted_apart() -> None:
    async with running(http={"api_key": "key-of-the-operator"}) as site:
        url = site.http_url("/api/v1/stats")
        for headers in ({}, {"X-API-Key": "x"}, {"Authorization": "Bearer x"}, {"Authorization": "Bearer y"}):
            assert (await http("GET", url, headers=headers))[0] == 401
        _, stats, _ = await http("GET", url, headers={"X-API-Key": "key-of-the-operator"})
    assert stats["http_auth_failures"] == {"no_credential": 1, "bad_api_key": 1, "malformed": 2}
    assert stats["auth_failures"] == {}
    assert stats["suspicion"]["failures"]["authentication"] == 3
    assert stats["suspicion"]["worst"] == [{"address": "127.0.0.1", "authentication": 3, "banned_for": 0.0}]


async def test_the_figures_need_a_credential_where_there_is_an_api_key() -> None:
    async with running(http={"api_key": "key-of-the-operator"}) as site:
        url = site.http_url("/api/v1/stats")
        assert (await http("GET", url))[0] == 401
        assert (await http("GET", url, headers={"X-API-Key": "key-of-the-operator"}))[0] == 200


async def test_health() -> None:
    async with running() as site:
        assert (await http("GET", site.http_url("/health/live")))[:2] == (200, {"status": "ok"})
        status, ready, _ = await http("GET", site.http_url("/health/ready"))
        assert (status, ready) == (200, {"status": "ready", "checks": {"backplane": "ok"}})


# The log


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return this package's log lines as the JSON form writes them."""
    formatter = JsonFormatter()
    mine = (record for record in caplog.records if record.name.startswith("valtronics_fast"))
    return [json.loads(formatter.format(record)) for record in mine]


async def test_a_line_when_a_client_connects_and_one_when_it_goes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "valtronics_fast")
    async with running() as site:
        async with site.client("/ws/alerts", user="alice") as client:
            await client.nothing_more()
        await all_gone(site, 1)
        connected, gone = [line for line in lines(caplog) if line["logger"] == "valtronics_fast.clients"]
        sent = site.server.stats()["bytes_sent"]
    assert (connected["message"], connected["address"], connected["endpoint"]) == (
        "connected", "127.0.0.1", "alerts",
    )  # fmt: skip
    assert (gone["message"], gone["address"], gone["user"]) == ("disconnected", "127.0.0.1", "alice")
    assert gone["connection"] == connected["connection"]
    assert gone["duration"] >= 0
    assert gone["messages_in"] == 2
    assert gone["messages_out"] == 2
    assert gone["bytes_in"] > 0
    assert gone["bytes_out"] == sent
    assert (gone["code"], gone["reason"]) == (1000, "normal")


async def test_the_line_says_why_the_server_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "valtronics_fast")
    async with running() as site:
        async with site.connect() as client:
            await client.nothing_more()
            site.server.disconnect(CloseCode.CLOSE_REBALANCE)
            await client.closed()
        await all_gone(site, 1)
    gone = next(line for line in lines(caplog) if line["message"] == "disconnected")
    assert (gone["code"], gone["reason"], gone["user"]) == (4200, "rebalance", None)


async def test_a_clients_garbage_is_not_worth_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running() as site:
        async with site.connect() as client:
            client.write(b"\x83\x80garbage" * 100)
            await client.closed()
        await all_gone(site, 1)
    written = [line["message"] for line in lines(caplog)]
    assert written == ["started", "connected", "disconnected", "stopped"]
    assert not [record for record in caplog.records if record.name == "picows"]


async def test_no_line_has_a_token_in_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "websockets")  # the client's own lines
    async with running(auth={"query_token": True, "attempts": 2}) as site:
        good = site.token()
        forged = good[:-5] + ("A" if good[-5] != "A" else "B") + good[-4:]
        secrets = [good, forged, site.token(user="mallory", expires=60, now=1.0)]
        for token in secrets:
            ways: list[dict[str, Any]] = [
                {"path": f"/ws?token={token}"},
                {"additional_headers": {"Authorization": f"Bearer {token}"}},
                {"subprotocols": ["valtronics.v1", f"bearer.{token}"]},
            ]
            for options in ways:
                if token == good:
                    async with site.connect(**options):
                        pass
                else:
                    assert (await site.refusal(**options)).status_code == 401
            assert (await site.refusal(f"/nowhere?token={token}")).status_code == 404
            async with site.connect() as client:
                for _ in range(2):
                    await client.send(type="auth", token=token)
                await client.send(type="error_report", error="wrong", data={"type": "auth", "token": token})
                await client.send(type="publish", message={"type": token})
                await client.connection.close()
        await until(lambda: site.server.stats()["active_connections"] == 0)
    written = [JsonFormatter().format(record) for record in caplog.records]
    assert any("authentication failed" in line and "127.0.0.1" in line for line in written)
    assert any("bad_signature" in line for line in written)
    for line in written:
        for token in secrets:
            for part in token.split(".")[1:]:
                assert part not in line
