"""A JavaScript client in the shape that existing ones have, under Node, against a running server."""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from documented import ALERT, BARE, MESSAGES, STATUS, SYSTEM, TELEMETRY, assert_documented_fields
from harness import TIMEOUT, Site, running, until
from services import program
from valtronics_fast._core.wire import CHANNELS, CloseCode

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

SCRIPT = Path(__file__).parent.parent / "clients" / "javascript" / "client.mjs"
MODULES = "/usr/share/nodejs"  # where Debian's packages are; Node looks there by itself only in Debian's build


class Dashboard:
    """The client in its process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def order(self, method: str, *arguments: object) -> None:
        """Have a method called."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([method, *arguments]).encode() + b"\n")

    async def next(self, event: str) -> Any:
        """Return the details of the next event, which is of this kind."""
        assert self._process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            line = await self._process.stdout.readline()
        name, *details = json.loads(line)
        assert name == event, line
        return details[0] if details else None

    async def handled(self, mark: str = "2024-01-01T12:00:00Z") -> None:
        """Wait until the server has handled what was sent so far, and show that nothing came."""
        self.order("ping", mark)
        assert (await self.next("pong"))["client_timestamp"] == mark

    async def connected(self) -> None:
        """Connect and authenticate."""
        self.order("connect")
        await self.next("open")
        assert (await self.next("auth"))["success"] is True


@asynccontextmanager
async def dashboard(site: Site, path: str = "/ws", token: str | None = None) -> AsyncIterator[Dashboard]:
    """Run the client; at the end it must go by itself, with nothing more to say than that it is closed."""
    environment = os.environ | {
        "NODE_PATH": MODULES,
        "VALTRONICS_URL": site.url(path),
        "VALTRONICS_TOKEN": site.token() if token is None else token,
    }
    node = program("node", "nodejs")
    process = await asyncio.create_subprocess_exec(
        node, str(SCRIPT), stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
    )
    try:
        yield Dashboard(process)
        async with asyncio.timeout(TIMEOUT):
            output, errors = await process.communicate(b"")  # which also ends the input
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert [json.loads(line) for line in output.splitlines()] in ([["close", 1000]], [])


async def test_authentication_is_answered_with_the_documented_fields() -> None:
    async with running() as site, dashboard(site, token=site.token("alice")) as client:
        client.order("connect")
        await client.next("open")
        answer = await client.next("auth")
        assert (answer["type"], answer["success"], answer["user"]) == ("auth_response", True, "alice")
        assert answer["channels"] == list(CHANNELS)


async def test_a_bad_token_is_told_as_the_client_expects_it() -> None:
    async with running() as site, dashboard(site, token="no.good.token") as client:
        client.order("connect")
        await client.next("open")
        answer = await client.next("auth")
        assert (answer["success"], answer["error"]) == (False, "invalid_token")
        assert isinstance(answer["message"], str)


async def test_subscribing_without_waiting_for_the_answer_to_auth() -> None:
    """What is sent before the socket is open is lost; the client sends it in `onopen`, right behind `auth`."""
    async with running() as site, dashboard(site) as client:
        client.order("subscribe", "telemetry", {"device_id": 1})
        assert await client.next("lost") == "subscribe"
        client.order("subscribe", "alerts", {"severity": ["critical", "warning"]})
        assert await client.next("lost") == "subscribe"
        await client.connected()
        await client.handled()
        assert site.server.publish(TELEMETRY) == 1
        assert await client.next("data") == TELEMETRY
        assert site.server.publish(TELEMETRY | {"device_id": 2}) == 0
        assert site.server.publish(ALERT) == 1
        assert await client.next("data") == ALERT
        assert site.server.publish(ALERT | {"severity": "info"}) == 0
        await client.handled()


async def test_each_kind_of_message_comes_with_exactly_its_documented_fields() -> None:
    async with running() as site, dashboard(site) as client:
        await client.connected()
        for channel in CHANNELS:
            client.order("subscribe", channel)
        await client.handled()
        for message in MESSAGES:
            assert site.server.publish(message) == 1
            assert await client.next("data") == message
        for message in BARE:
            assert site.server.publish(message) == 1
            assert_documented_fields(await client.next("data"))


async def test_filters_at_the_top_level_choose_what_comes() -> None:
    async with running() as site, dashboard(site) as client:
        await client.connected()
        client.order("subscribe", "telemetry", {"device_id": 1, "metrics": ["humidity"]})
        client.order("subscribe", "alerts", {"severity": "critical", "device_id": [1, 2]})
        client.order("subscribe", "devices", {"status_types": ["online", "offline"]})
        client.order("subscribe", "system", {"metrics": ["cpu_usage"], "frequency": "30s"})
        await client.handled()

        site.server.publish(TELEMETRY | {"device_id": 2})
        site.server.publish(TELEMETRY)
        only = {"humidity": TELEMETRY["telemetry"]["humidity"]}
        assert await client.next("data") == TELEMETRY | {"telemetry": only}

        site.server.publish(ALERT | {"severity": "warning"})
        site.server.publish(ALERT | {"device_id": 3})
        site.server.publish(ALERT | {"device_id": 2})
        assert await client.next("data") == ALERT | {"device_id": 2}

        site.server.publish(STATUS | {"new_status": "error"})
        site.server.publish(STATUS)
        assert await client.next("data") == STATUS

        site.server.publish(SYSTEM)
        assert await client.next("data") == SYSTEM | {"metrics": {"cpu_usage": 12.5}}
        await client.handled()


async def test_filters_in_an_object_work_as_well_and_go_before() -> None:
    async with running() as site, dashboard(site) as client:
        await client.connected()
        client.order("subscribe", "telemetry", {"device_id": 1, "filters": {"device_id": 2}})
        await client.handled()
        assert site.server.publish(TELEMETRY) == 0
        assert site.server.publish(TELEMETRY | {"device_id": 2}) == 1
        assert await client.next("data") == TELEMETRY | {"device_id": 2}


async def test_unsubscribing_from_a_channel() -> None:
    async with running() as site, dashboard(site) as client:
        await client.connected()
        client.order("subscribe", "telemetry", {"device_id": 1})
        client.order("subscribe", "devices")
        client.order("unsubscribe", "telemetry")
        await client.handled()
        assert site.server.publish(TELEMETRY) == 0
        assert site.server.publish(STATUS) == 1
        assert await client.next("data") == STATUS


async def test_a_ping_gets_a_pong() -> None:
    async with running() as site, dashboard(site) as client:
        await client.connected()
        client.order("ping", "2024-01-01T12:00:00Z")
        pong = await client.next("pong")
        assert pong.keys() == {"type", "timestamp", "client_timestamp"}
        assert pong["client_timestamp"] == "2024-01-01T12:00:00Z"


async def test_a_batch_is_done_in_order() -> None:
    async with running() as site, dashboard(site) as client:
        await client.connected()
        subscriptions = [
            {"type": "subscribe", "channel": "telemetry", "device_id": 1},
            {"type": "subscribe", "channel": "alerts", "severity": ["critical"]},
        ]
        client.order("batch", [*subscriptions, {"type": "ping", "timestamp": "last"}])
        assert (await client.next("pong"))["client_timestamp"] == "last"
        assert site.server.publish(TELEMETRY) == 1
        assert await client.next("data") == TELEMETRY
        assert site.server.publish(ALERT) == 1
        assert await client.next("data") == ALERT


async def test_an_endpoint_of_one_channel_needs_no_subscription() -> None:
    async with running() as site, dashboard(site, "/ws/alerts") as client:
        await client.connected()
        await client.handled()
        assert site.server.publish(ALERT) == 1
        assert await client.next("data") == ALERT


async def test_connecting_again_after_a_drop_with_the_subscriptions() -> None:
    async with running() as site, dashboard(site) as client:
        await client.connected()
        client.order("subscribe", "telemetry", {"device_id": 1})
        await client.handled()
        assert site.server.disconnect(CloseCode.CLOSE_RESTART) == 1
        assert await client.next("close") == CloseCode.CLOSE_RESTART
        await client.next("open")
        assert (await client.next("auth"))["success"] is True
        await client.handled()
        assert site.server.publish(TELEMETRY) == 1
        assert await client.next("data") == TELEMETRY
        client.order("disconnect")
        assert await client.next("close") == CloseCode.CLOSE_NORMAL
        await until(lambda: site.server.stats()["active_connections"] == 0)
