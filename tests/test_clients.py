"""The Python side of the sessions: what the integration tests do not reach.

Most of it is about tokens whose verification takes its time: their key has to be fetched from a real HTTP server,
which answers when the test lets it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness import TIMEOUT, Client, Site, configuration, running, telemetry, text, until
from tokens import OTHER_RSA_KEY, RSA_KEY, KeyServer, claims, jwk, jwk_set, key_server, token
from valtronics_fast._core.connection import Limits
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.clients import MAX_REPORT, limits_of
from valtronics_fast.logging import ROUTINE_LINES, JsonFormatter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

PING = {"type": "ping"}


class Keys:
    """A key server that knows the key "one" at first; further requests wait for `release`."""

    def __init__(self, server: KeyServer) -> None:
        self.server = server
        self._let_go = asyncio.Event()
        server.answer = self._answer

    async def _answer(self, _request: web.Request) -> web.Response:
        if self.server.requests > 1:
            async with asyncio.timeout(TIMEOUT):
                await self._let_go.wait()
        return web.Response(body=self.server.body, content_type="application/json")

    async def asked(self) -> None:
        """Wait until the server asks for a key that it does not know."""
        await until(lambda: self.server.requests == 2)

    def release(self, *, known: bool = True) -> None:
        """Answer, with the key "two" or without it."""
        if known:
            self.server.body = jwk_set(jwk(RSA_KEY, kid="one"), jwk(OTHER_RSA_KEY, kid="two"))
        self._let_go.set()


@asynccontextmanager
async def waiting_for_keys(**sections: Any) -> AsyncIterator[tuple[Site, Keys]]:
    """Run a server that has to fetch the key of `LATE`."""
    async with key_server(jwk(RSA_KEY, kid="one")) as server:
        keys = Keys(server)
        auth = {"secret": "", "algorithms": ["RS256"], "jwks_url": server.url, **sections.pop("auth", {})}
        async with running(auth=auth, **sections) as site:
            yield site, keys


def late() -> str:
    """Return a good token whose key is not known at first."""
    return token(claims(exp=time.time() + 3600), alg="RS256", key=OTHER_RSA_KEY, header={"kid": "two"})


async def send_all(client: Client, *commands: dict[str, Any]) -> None:
    for command in commands:
        await client.send(**command)


AUTH = {"type": "auth"}
SUBSCRIBE = {"type": "subscribe", "channel": "telemetry", "id": 1}


async def test_commands_behind_auth_wait_for_its_verification() -> None:
    async with waiting_for_keys() as (site, keys), site.connect() as client:
        await send_all(client, AUTH | {"token": late(), "id": 0}, SUBSCRIBE, PING | {"id": 2})
        await keys.asked()
        keys.release()
        answer = await client.receive()
        assert (answer["type"], answer["success"], answer["id"]) == ("auth_response", True, 0)
        assert [(await client.receive())["id"] for _ in range(2)] == [1, 2]
        assert site.server.publish(telemetry()) == 1


async def test_when_it_fails_they_are_refused() -> None:
    async with waiting_for_keys() as (site, keys), site.connect() as client:
        await send_all(client, AUTH | {"token": late()}, SUBSCRIBE)
        await keys.asked()
        keys.release(known=False)
        answer = await client.receive()
        assert (answer["success"], answer["error"]) == (False, "invalid_token")
        assert (await client.receive())["error"] == "not_authenticated"
        assert site.server.stats()["auth_failures"] == {"unknown_key": 1}


async def test_a_batch_is_interrupted_and_goes_on() -> None:
    async with waiting_for_keys() as (site, keys), site.connect() as client:
        batch = [PING | {"id": 0}, AUTH | {"token": late(), "id": 1}, SUBSCRIBE | {"id": 2}]
        await send_all(client, {"type": "batch", "id": "b", "messages": batch}, PING | {"id": 3})
        assert (await client.receive())["id"] == 0
        await keys.asked()
        keys.release()
        assert [(await client.receive())["id"] for _ in range(4)] == [1, 2, "b", 3]


async def test_only_so_many_messages_may_wait() -> None:
    async with waiting_for_keys(limits={"messages_per_second": 0}) as (site, keys), site.connect() as client:
        await send_all(client, AUTH | {"token": late()}, *[PING] * 70)
        await keys.asked()
        await until(lambda: site.server.stats()["messages_received"] == 71)
        keys.release()
        assert (await client.receive())["type"] == "auth_response"  # before which nothing is sent
        assert (await client.receive())["error"] == "rate_limited"
        assert [(await client.receive())["type"] for _ in range(64)] == ["pong"] * 64
        assert site.server.stats()["messages_dropped"] == 6
        await client.nothing_more()


async def test_the_time_for_authentication_goes_on() -> None:
    async with waiting_for_keys(auth={"timeout": 0.05}) as (site, keys), site.connect() as client:
        client.write(text(json.dumps(AUTH | {"token": late()})))
        assert (await client.closed())[0] == CloseCode.CLOSE_AUTH_TIMEOUT
        keys.release()


async def test_a_client_may_go_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    async with waiting_for_keys() as (site, keys):
        async with site.connect() as client:
            await client.send(**AUTH, token=late())
            await keys.asked()
        await until(lambda: site.server.stats()["active_connections"] == 0)
        keys.release()
        await until(lambda: not site.server._clients._tasks)
        assert not site.server._clients.room.users
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_stopping_does_not_wait_for_keys() -> None:
    async with waiting_for_keys() as (site, keys), site.connect() as client:
        await client.send(**AUTH, token=late())
        await keys.asked()
        (verification,) = site.server._clients._tasks
        await site.server.stop()
        assert await client.closed() == (CloseCode.CLOSE_GOING_AWAY, [])
        assert verification.cancelled()
        assert not site.server._clients._tasks
        keys.release()


async def test_who_does_not_go_is_cut_when_the_patience_is_over() -> None:
    async with running(server={"close_timeout": 600.0}) as site, site.client() as deaf:
        deaf.connection.transport.pause_reading()
        async with asyncio.timeout(TIMEOUT):
            await site.server._clients.close(CloseCode.CLOSE_GOING_AWAY, 0.05)
            await until(lambda: not site.server._clients.active)
        deaf.connection.transport.abort()


async def test_a_token_of_the_handshake_is_waited_for() -> None:
    async with waiting_for_keys() as (site, keys):
        headers = {"Authorization": f"Bearer {late()}"}

        async def connect() -> None:
            async with site.connect("/ws/telemetry", additional_headers=headers) as client:
                assert site.server.publish(telemetry()) == 1
                await client.receive()

        connecting = asyncio.create_task(connect())
        await keys.asked()
        assert site.server.stats()["total_connections"] == 0
        keys.release()
        async with asyncio.timeout(TIMEOUT):
            await connecting


async def test_a_user_takes_no_memory_when_all_of_its_connections_are_gone() -> None:
    async with running(limits={"connections_per_user": 2}) as site:
        clients = site.server._clients
        async with site.client(user="alice"), site.client(user="bob"), site.client(user="bob"):
            assert clients.room.users == {"alice": 1, "bob": 2}
            assert (clients.has_room("alice"), clients.has_room("bob")) == (True, False)
        await until(lambda: clients.active == 0)
        assert not clients.room.users


def test_every_bound_of_a_connection_comes_from_its_setting() -> None:
    settings: dict[str, Any] = {
        "limits": {
            name: 1000 + number
            for number, name in enumerate(
                (
                    "messages_per_second", "message_size", "auth_size", "frame_size", "fragments",
                    "batch_items", "subscriptions", "device_ids", "json_depth", "queue_mark",
                    "queue_size", "queue_time", "queue_limit",
                )
            )
        },
        "auth": {"attempts": 71, "timeout": 72, "grace": 73, "renewal_notice": 74},
        "server": {"ping_interval": 81, "ping_timeout": 82, "close_timeout": 83},
    }  # fmt: skip
    limits = Limits(**limits_of(configuration(**settings)))
    renamed = {"attempts": "auth_attempts", "timeout": "auth_timeout"}
    for section in settings.values():
        for name, value in section.items():
            assert getattr(limits, renamed.get(name, name)) == value, name


async def test_what_clients_report_is_logged_in_part_and_not_without_end(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as site, site.client() as client:
        for number in range(30):
            report = {"type": "error_report", "error": f"no {number}\n", "data": "x" * 900}
            await client.send(**report)
        await client.nothing_more()
    lines = [JsonFormatter().format(record) for record in caplog.records if "reports" in record.message]
    assert len(lines) == 10
    line = json.loads(lines[0])
    assert (line["level"], line["user"]) == ("warning", "alice")
    assert line["report"].startswith('{"type":"error_report","error":"no 0\\n"')
    assert len(line["report"]) <= MAX_REPORT


async def test_no_token_that_a_client_reports_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    sent = token(claims())
    async with running() as site, site.client() as client:
        await client.send(type="error_report", error="bad_message", message={"type": "auth", "token": sent})
        await client.nothing_more()
    (record,) = [record for record in caplog.records if "reports" in record.message]
    line = JsonFormatter().format(record)
    assert r'\"token\":\"***\"' in line
    assert not any(part in line for part in sent.split("."))


async def test_a_fault_is_logged_with_its_traceback_and_told_without(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as site, site.client(publish=True) as client:
        await site.server._backplane.stop()
        error = await client.fails("internal", type="publish", message=telemetry())
        assert error["message"] == "the server failed to do this"
    line = json.loads(JsonFormatter().format(caplog.records[0]))
    assert (line["level"], line["user"]) == ("error", "alice")
    assert "RuntimeError: the server is not running" in line["traceback"]


async def test_who_comes_and_goes_is_logged_up_to_a_limit_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "valtronics_fast.clients")
    crowd = ROUTINE_LINES + 20
    async with running(limits={"connection_rate": 0}, auth={"attempts": 1}) as site:
        for _ in range(crowd):
            async with site.connect():
                pass
        async with site.connect() as client:
            await client.send(type="auth", token="x")
            await client.receive()
            await client.connection.wait_closed()
        await until(lambda: site.server.stats()["active_connections"] == 0)
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    lines = [line for line in lines if line["logger"] == "valtronics_fast.clients"]
    told = Counter((line["message"], line.get("reason")) for line in lines)
    assert told["connected", None] == told["disconnected", "normal"] == ROUTINE_LINES
    assert told["disconnected", "invalid_token"] == 1
    suppressed = {line["like"]: line["suppressed"] for line in lines if line["message"] == "lines suppressed"}
    assert suppressed["connected"] == crowd + 1 - ROUTINE_LINES
    assert suppressed["disconnected: normal"] == crowd - ROUTINE_LINES
