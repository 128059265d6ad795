"""The end of a server: nothing that came in before is lost, and not all come back at the same moment."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from harness import SECRET, TIMEOUT, UPGRADE, Client, Site, alert, http, telemetry, until
from harness import running as serving
from http_served import NDJSON, bearer
from mqtt_harness import send
from mqtt_site import figures, subscribed
from process import Running, running
from services import Mosquitto
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.config import Config
from valtronics_fast.logging import ROUTINE_LINES
from valtronics_fast.tokens import mint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

KEY = "a-key-of-the-backend"
SETTINGS = {
    "VFAST_AUTH__SECRET": SECRET,
    "VFAST_HTTP__API_KEY": KEY,
    "VFAST_LIMITS__CONNECTION_RATE": "0",
    "VFAST_LIMITS__CONNECTIONS_PER_USER": "0",
    "VFAST_SYSTEM__INTERVAL": "0",
    "VFAST_LOGGING__FORMAT": "json",
}
TOKEN = mint(Config.load({"auth": {"secret": SECRET}}, environ={}).auth, "alice", publish=True)
RESTART = CloseCode.CLOSE_RESTART


async def connected(stack: AsyncExitStack, url: str, count: int) -> list[Client]:
    """Connect so many clients that are subscribed to telemetry, some at a time."""
    room = asyncio.Semaphore(50)
    headers = bearer(TOKEN)

    async def one() -> Client:
        async with room:
            connection: ClientConnection = await connect(
                f"{url}/telemetry", additional_headers=headers, proxy=None, open_timeout=TIMEOUT, ping_interval=None
            )
            stack.push_async_callback(connection.close)
            return Client(connection)

    return await asyncio.gather(*[one() for _ in range(count)])


async def publish(server: Running, value: int) -> dict[str, Any]:
    status, answer, _ = await http(
        "POST", f"{server.http}/api/v1/publish", json=telemetry(1, value=value), headers={"X-API-Key": KEY}
    )
    assert status == 200
    return answer


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process have as many sockets as the test needs; the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
async def test_row_48_sigterm_with_1000_clients() -> None:
    """Row 48: readiness off, upgrades refused, 1012 spread over the window with data going on until then, exit 0."""
    async with running(VFAST_SERVER__DRAIN_WINDOW="4s", **SETTINGS) as server, AsyncExitStack() as stack:
        clients = await connected(stack, server.url, 1000)
        assert (await publish(server, 0))["matched"] == 1000
        ends = [asyncio.create_task(client.closed()) for client in clients]
        server.tell(signal.SIGTERM)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED, timeout=TIMEOUT)
        answer = await publish(server, 1)
        assert 0 < answer["matched"] < 1000  # the clients go one after the other, and who is there gets data
        status, ready, _ = await http("GET", f"{server.http}/health/ready")
        assert (status, ready["status"]) == (503, "draining")
        status, health, _ = await http("GET", server.url.replace("ws://", "http://").replace("/ws", "/health"))
        assert (status, health) == (503, {"status": "draining"})
        status, _, headers = await http("GET", server.url.replace("ws://", "http://"), headers=UPGRADE)
        assert (status, headers["Retry-After"]) == (503, "5")
        results = await asyncio.gather(*ends)
        assert {code for code, _ in results} == {RESTART}
        got = [[message["telemetry"]["value"]["value"] for message in messages] for _, messages in results]
        assert all(values in ([0], [0, 1]) for values in got)
        # Who has got its CLOSE and has not answered it yet is matched, and gets nothing more.
        assert 0 < sum(values == [0, 1] for values in got) <= answer["matched"]
        assert await server.ended() == 0
        codes = [line["code"] for line in server.lines() if line["message"] == "disconnected"]  # as far as told
        assert codes == [int(RESTART)] * ROUTINE_LINES


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
async def test_row_48_a_second_signal_ends_it_at_once(first: int, second: int) -> None:
    settings = {**SETTINGS, "VFAST_SERVER__DRAIN_WINDOW": "1h"}
    async with running(**settings) as server, AsyncExitStack() as stack:
        await connected(stack, server.url, 3)
        server.tell(first)
        await server.logs("draining")
        assert await server.end(second) == -second  # what shells show as 130 or 143
        assert "Traceback" not in server.log


async def test_without_clients_it_ends_whatever_the_window() -> None:
    async with running(**{**SETTINGS, "VFAST_SERVER__DRAIN_WINDOW": "1h"}) as server:
        assert await server.end() == 0


async def test_without_a_window_all_go_at_once() -> None:
    async with serving(server={"drain_window": 0}) as site, site.client() as one, site.client() as other:
        await site.server.drain()
        assert [await client.closed() for client in (one, other)] == [(RESTART, [])] * 2


async def test_who_has_begun_a_handshake_before_does_not_get_in_behind_it() -> None:
    async with serving(server={"close_timeout": 0.2}) as site, site.client() as deaf:
        deaf.connection.transport.pause_reading()
        reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
        writer.write(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
        await until(lambda: site.server._reception.half_open == 1)
        draining = asyncio.create_task(site.server.drain())
        await until(lambda: not site.server._gate.open)
        writer.write("".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items()).encode() + b"\r\n")
        assert b" 503 " in await reader.readline()
        writer.close()
        await draining
        deaf.connection.transport.abort()


async def test_what_waits_for_a_slow_reader_goes_out_ahead_of_its_close() -> None:
    async with serving(server={"close_timeout": TIMEOUT, "drain_window": 0}) as site, site.client() as client:
        await client.subscribe("alerts")
        client.connection.transport.pause_reading()
        session = site.server._clients.sessions()[0]
        sent = 0
        while session.queued_bytes < 500_000:
            site.server.publish(alert(alert_id=sent, message="x" * 60_000))
            sent += 1
            await asyncio.sleep(0)
        draining = asyncio.create_task(site.server.drain())
        await until(lambda: not site.server._gate.open)
        assert session.close_code == 0
        client.connection.transport.resume_reading()
        code, messages = await client.closed()
        assert (code, [message["alert_id"] for message in messages]) == (RESTART, list(range(sent)))
        await draining


async def test_a_reader_that_does_not_go_on_is_not_waited_for() -> None:
    async with serving(server={"close_timeout": 0.1, "drain_window": 0}) as site, site.client() as client:
        await client.subscribe("alerts")
        client.connection.transport.pause_reading()
        session = site.server._clients.sessions()[0]
        while session.queued_bytes < 500_000:
            site.server.publish(alert(message="x" * 60_000))
            await asyncio.sleep(0)
        async with asyncio.timeout(TIMEOUT):
            await site.server.drain()
        assert site.server.stats()["close_codes"] == {str(int(RESTART)): 1}
        client.connection.transport.abort()


async def test_a_stop_during_a_drain_waits_for_its_end() -> None:
    async with serving(server={"drain_window": 0.2}) as site, site.client() as one, site.client() as other:
        draining = asyncio.create_task(site.server.drain())
        await until(lambda: site.server._stopping is not None)
        await site.server.stop()
        assert draining.done() or await draining is None
        assert {(await client.closed())[0] for client in (one, other)} == {RESTART}


# What comes in


async def stream(site: Site, *lines: object) -> AsyncIterator[bytes]:
    """Send lines, and then nothing more without ever ending."""
    for line in lines:
        yield json.dumps(line).encode() + b"\n"
    yield b'{"type": "telem'
    await asyncio.sleep(3600)


async def test_a_stream_is_told_where_to_go_on() -> None:
    async with serving(http={"api_key": KEY}) as site, site.client("/ws/telemetry") as client:
        url = site.http_url("/api/v1/publish")
        lines = [telemetry(1, value=0), {"type": "?"}, telemetry(1, value=1)]
        headers = NDJSON | {"X-API-Key": KEY}
        posting = asyncio.create_task(http("POST", url, data=stream(site, *lines), headers=headers))
        assert [(await client.receive())["telemetry"]["value"]["value"] for _ in range(2)] == [0, 1]
        await site.server.drain()
        status, answer, headers_back = await posting
        assert (status, answer["error"], answer["accepted"], answer["rejected_total"]) == (503, "shutting_down", 2, 1)
        assert headers_back["Retry-After"] == "5"
        assert await client.closed() == (RESTART, [])


async def test_a_request_that_has_begun_is_finished_and_its_messages_are_delivered() -> None:
    async with serving(http={"api_key": KEY}) as site, site.client("/ws/telemetry") as client:
        body = json.dumps(telemetry(1, value=7)).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", site.server.http_port)
        head = (
            f"POST /api/v1/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        )
        writer.write(head.encode())
        assert b" 100 " in await reader.readline()
        draining = asyncio.create_task(site.server.drain())
        http_api = site.server._http
        assert http_api is not None
        await until(lambda: not http_api._in_flight._open)
        status, answer, _ = await http(
            "POST", site.http_url("/api/v1/publish"), json=telemetry(), headers={"X-API-Key": KEY}
        )
        assert (status, answer["error"]) == (503, "shutting_down")
        writer.write(body)
        await reader.readline()
        answered = await reader.read()
        assert answered.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in answered
        assert answered.endswith(b'{"accepted":1,"matched":1,"rejected":[],"rejected_total":0}\n')
        code, (message,) = await client.closed()
        assert (code, message["telemetry"]["value"]["value"]) == (RESTART, 7)
        await draining
        writer.close()


async def test_mqtt_what_was_taken_is_delivered_and_what_was_not_waits_for_the_next_process(tmp_path: Path) -> None:
    """Numbers come with QoS 1 all the time, through two servers one after the other that share a client id."""
    topic, settings = "valtronics/devices/1/telemetry/n", {"server": {"drain_window": 0}}
    stopped = asyncio.Event()

    async def publish_on() -> int:
        number = 0
        while not stopped.is_set():
            await send(broker, topic, number)
            number += 1
        return number

    with Mosquitto(tmp_path) as broker:
        mqtt = {"url": broker.url, "client_id": "valtronics"}
        async with serving(mqtt=mqtt, **settings) as site, site.client("/ws/telemetry") as client:
            await subscribed(site)
            publishing = asyncio.create_task(publish_on())
            await until(lambda: figures(site).get("messages", 0) >= 20)
            await site.server.drain()
            code, messages = await client.closed()
            taken = figures(site)["messages"]
            assert (code, [message["telemetry"]["n"]["value"] for message in messages]) == (RESTART, list(range(taken)))
        async with serving(mqtt=mqtt, **settings) as site:
            await until(lambda: figures(site).get("messages", 0) >= 20)
            stopped.set()
            total = await publishing
            await until(lambda: figures(site)["messages"] >= total - taken)
            # Had one been taken without being acknowledged, it would come here again.
            await send(broker, topic, total)
            await until(lambda: figures(site)["messages"] > total - taken)
            assert figures(site)["messages"] == total - taken + 1
