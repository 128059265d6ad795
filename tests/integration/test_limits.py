"""What one client, and what all together may use: connections and messages (protocol.md, section 4).

The limits of a message's own shape are in test_message_limits.
"""

from __future__ import annotations

import asyncio
import resource
import time
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

from websockets.frames import Frame, Opcode

from harness import TIMEOUT, UPGRADE, Client, Message, Site, running, text, until
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.config import LimitsConfig
from valtronics_fast.units import Rate

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULTS = LimitsConfig()
PING = text('{"type":"ping"}')


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """Let this process have so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def open_socket(site: Site) -> asyncio.StreamWriter:
    """Open a connection with as little as it takes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    lines = ["GET /ws HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in UPGRADE.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(TIMEOUT):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return writer


# Connections


async def test_1000_connections_in_all() -> None:
    assert DEFAULTS.connections == 1000
    with descriptors(4096):
        async with running() as site:
            writers = []
            for _ in range(20):
                writers += await asyncio.gather(*(open_socket(site) for _ in range(50)))
            assert site.server.stats()["active_connections"] == 1000
            refused = await site.refusal()
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) >= 1
            writers.pop().close()
            await until(lambda: site.server.stats()["active_connections"] == 999)
            async with site.client():
                assert (await site.refusal()).status_code == 503
            for writer in writers:
                writer.close()


async def test_100_connections_of_a_user() -> None:
    assert DEFAULTS.connections_per_user == 100
    async with running() as site, AsyncExitStack() as stack:
        for _ in range(100):
            await stack.enter_async_context(site.client(user="alice"))
        async with site.connect() as client:
            answer = await client.ask(type="auth", token=site.token("alice"))
            assert (answer["success"], answer["error"]) == (False, "too_many_connections")
            assert await client.closed() == (CloseCode.CLOSE_TOO_MANY_CONNECTIONS, [])
        refused = await site.refusal(additional_headers={"Authorization": f"Bearer {site.token('alice')}"})
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1


async def test_10_new_connections_a_minute_from_an_address() -> None:
    assert DEFAULTS.connection_rate == Rate(10, 60)
    async with running(limits={"connection_rate": "10/min"}) as site:
        for _ in range(10):
            async with site.connect():
                pass
        refused = await site.refusal()
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 6


async def test_the_client_behind_a_trusted_proxy_is_who_counts() -> None:
    trusted = {"trusted_proxies": ["127.0.0.1"]}
    async with running(limits={"connection_rate": "1/h"}, security=trusted) as site:
        for address in ("192.0.2.1", "192.0.2.2"):
            headers = {"X-Forwarded-For": address}
            async with site.connect(additional_headers=headers):
                pass
            assert (await site.refusal(additional_headers=headers)).status_code == 429


# Messages


async def answers(client: Client, total: int, site: Site) -> tuple[int, list[Message]]:
    """Wait until so many messages are handled, close, and return pongs (a count) and what else came."""
    await until(lambda: site.server.stats()["messages_received"] == total)
    await client.connection.close()
    _, messages = await client.closed()
    others = [message for message in messages if message["type"] != "pong"]
    return len(messages) - len(others), others


async def test_100_messages_may_come_at_once() -> None:
    assert DEFAULTS.messages_per_second == 100
    async with running() as site, site.client() as client:
        client.write(*[PING] * 99)
        assert await answers(client, 100, site) == (99, [])
        assert site.server.stats()["messages_dropped"] == 0


async def test_more_are_dropped_and_the_client_is_told_at_most_once_a_second() -> None:
    async with running() as site:
        started = time.monotonic()
        async with site.client() as client:
            client.write(*[PING] * 999)
            pongs, errors = await answers(client, 1000, site)
        seconds = time.monotonic() - started
        dropped = site.server.stats()["messages_dropped"]
        assert pongs >= 99
        assert dropped == 999 - pongs > 0
        assert 1 <= len(errors) <= 1 + seconds
        for error in errors:
            assert error.keys() == {"type", "error", "message", "retry_after"}
            assert (error["type"], error["error"]) == ("error", "rate_limited")
            assert 0 < error["retry_after"] <= 0.01


async def test_who_was_limited_is_served_again_later() -> None:
    async with running(limits={"messages_per_second": 20}) as site, site.client() as client:
        client.write(*[PING] * 100)
        await until(lambda: site.server.stats()["messages_received"] == 101)
        await client.served_again()


async def test_1000_dropped_messages_end_the_connection() -> None:
    async with running() as site, site.client() as client:
        client.write(*[PING] * 5000)
        assert (await client.closed())[0] == CloseCode.CLOSE_RATE_LIMITED
        assert site.server.stats()["messages_dropped"] == 1000


async def test_each_item_of_a_batch_counts() -> None:
    async with running(limits={"messages_per_second": 2}) as site:
        header = {"Authorization": f"Bearer {site.token()}"}
        async with site.connect(additional_headers=header) as client:
            await client.send(type="batch", id=1, messages=[{"type": "ping"}] * 50)
            messages = [await client.receive()]
            while messages[-1]["type"] != "batch_response":
                messages.append(await client.receive())
    results = messages.pop()["results"]
    limited = results.count({"success": False, "error": "rate_limited"})
    pongs = [message for message in messages if message["type"] == "pong"]
    assert 2 <= len(pongs) < 50
    assert (len(results), results.count({"success": True}), limited) == (50, len(pongs), 50 - len(pongs))
    assert site.server.stats()["messages_dropped"] == limited


async def test_websocket_pings_count_as_messages() -> None:
    async with running() as site, site.client() as client:
        client.write(*[Frame(Opcode.PING, b"")] * 5000)
        code, messages = await client.closed()
        assert code == CloseCode.CLOSE_RATE_LIMITED
        assert {message["error"] for message in messages} == {"rate_limited"}
        assert site.server.stats()["messages_dropped"] == 1000


async def test_one_clients_limit_is_not_anothers() -> None:
    async with running() as site, site.client() as flooding, site.client() as quiet:
        flooding.write(*[PING] * 5000)
        assert (await flooding.closed())[0] == CloseCode.CLOSE_RATE_LIMITED
        await quiet.nothing_more()


async def test_zero_turns_these_limits_off() -> None:
    off = {"connections": 0, "connections_per_user": 0, "messages_per_second": 0}
    async with running(limits=off) as site, site.client() as client, site.client():
        client.write(*[PING] * 2000)
        for _ in range(2000):
            assert (await client.receive())["type"] == "pong"
