"""TLS on the WebSocket port: much data both ways, and strangers that do not finish the TLS handshake."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from harness import TIMEOUT, Site, running, telemetry, until
from valtronics_fast.memory import TLS
from valtronics_fast.reception import SWEEP_INTERVAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

COUNT = 250
SIZE = 900
"""Messages of so many characters, so many of them: 225 kB, and more than any buffer on the way takes at once."""


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """Return the section `tls`."""
    issued = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    for number, pem in enumerate(issued.cert_chain_pems):
        pem.write_to_path(str(chain), append=number > 0)
    issued.private_key_pem.write_to_path(str(key))
    return {"certfile": str(chain), "keyfile": str(key)}


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return the settings of a client that trusts the certificate."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def client_hello() -> bytes:
    """Return the first bytes of a TLS client."""
    context = ssl.create_default_context()
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def converse(site: Site, trusting: ssl.SSLContext) -> None:
    """Connect, authenticate, subscribe, receive one message, close."""
    async with site.connect(ssl=trusting) as client:
        await client.authenticate(site.token())
        await client.subscribe("telemetry")
        assert site.server.publish(telemetry(7, t=1.5)) >= 1
        received = await client.receive()
        assert (received["device_id"], received["telemetry"]["t"]["value"]) == (7, 1.5)
    assert client.connection.close_code == 1000


@asynccontextmanager
async def stranger(site: Site, **options: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to the WebSocket port, and be gone at the end in any case."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port, **options)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await until(lambda: reader.at_eof() or reader.exception() is not None)


async def ends(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server closes."""
    async with asyncio.timeout(TIMEOUT):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_much_data_goes_both_ways_and_the_end_is_a_clean_one(
    tls: dict[str, str], trusting: ssl.SSLContext
) -> None:
    async with running(tls=tls, limits={"messages_per_second": 0}) as site:
        async with site.connect(ssl=trusting) as client:
            await client.authenticate(site.token())
            await client.subscribe("telemetry")
            for number in range(COUNT):
                assert site.server.publish(telemetry(number, text="x" * SIZE)) == 1
                if number % 50 == 0:
                    await asyncio.sleep(0)
            for number in range(COUNT):
                received = await client.receive()
                assert received["device_id"] == number
                assert received["telemetry"]["text"]["value"] == "x" * SIZE
            for number in range(COUNT):
                await client.send(type="ping", id=number, pad="x" * SIZE)
            for number in range(COUNT):
                pong = await client.receive()
                assert (pong["type"], pong["id"]) == ("pong", number)
            await client.nothing_more()
        assert client.connection.close_code == 1000
        await until(lambda: site.server.stats()["active_connections"] == 0)
        stats: Any = site.server.stats()
        assert stats["close_codes"] == {"1000": 1}
        assert stats["bytes_sent"] > COUNT * SIZE
        assert stats["bytes_received"] > COUNT * SIZE


@pytest.mark.parametrize("said", [b"", client_hello()[:40], client_hello()], ids=["nothing", "half", "hello"])
async def test_a_stranger_that_does_not_finish_the_tls_handshake_is_let_go(
    tls: dict[str, str], trusting: ssl.SSLContext, said: bytes
) -> None:
    async with running(tls=tls, server={"handshake_timeout": 0.3}) as site:
        async with stranger(site) as (reader, writer):
            writer.write(said)
            await ends(reader)
        await converse(site, trusting)
        assert site.server.stats()["total_connections"] == 1
        assert site.server.stats()["refused"] == {"tls_timeout": 1}


async def test_what_strangers_in_the_handshake_take_is_known_to_the_trimmer(tls: dict[str, str]) -> None:
    async with running(tls=tls, server={"handshake_timeout": 0}) as site:
        rest = site.server._upkeep.used()
        with contextlib.ExitStack() as strangers:
            for _ in range(20):
                one = strangers.enter_context(socket.create_connection(("127.0.0.1", site.server.port)))
                one.sendall(client_hello())
            await until(lambda: site.server._reception.half_open == 20)
            assert site.server._upkeep.used() == rest + 20 * TLS
        await until(lambda: site.server._upkeep.used() == rest)


async def test_a_stranger_that_says_nothing_behind_the_tls_handshake_is_let_go(
    tls: dict[str, str], trusting: ssl.SSLContext
) -> None:
    async with running(tls=tls, server={"handshake_timeout": 1.0}) as site:
        async with stranger(site, ssl=trusting) as (reader, _):
            assert await ends(reader) == b""
        assert site.server.stats()["refused"] == {"idle": 1}
        await converse(site, trusting)


async def test_without_a_limit_the_tls_handshake_may_begin_late(tls: dict[str, str], trusting: ssl.SSLContext) -> None:
    off = {"handshake_timeout": 0, "close_timeout": 0}
    async with running(tls=tls, server=off) as site, stranger(site) as (_, writer):
        await converse(site, trusting)
        await asyncio.sleep(2 * SWEEP_INTERVAL)
        await writer.start_tls(trusting, server_hostname="127.0.0.1")


@pytest.mark.parametrize(
    "said",
    [b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 70_000],
    ids=["http", "garbage"],
)
async def test_who_speaks_no_tls_does_no_harm(
    tls: dict[str, str], trusting: ssl.SSLContext, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tls=tls) as site, site.connect(ssl=trusting) as client:
        await client.authenticate(site.token())
        await client.subscribe("telemetry")
        for _ in range(3):
            async with stranger(site) as (reader, writer):
                writer.write(said)
                assert b"HTTP/1.1" not in await ends(reader)
        await converse(site, trusting)
        assert (await client.receive())["device_id"] == 7
        await client.nothing_more()
        assert site.server.stats()["total_connections"] == 2
        assert site.server.stats()["refused"] == {"tls_failed": 3}
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
