"""Publishers that treat their connection strangely; through real sockets, against a whole server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import orjson
import pytest

from harness import TIMEOUT, Site, http, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "a-key-of-the-backend"
HEAD = f"POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Type: application/"


def message(device: int) -> bytes:
    return orjson.dumps({"type": "telemetry_update", "device_id": device, "telemetry": {"t": 1.5}})


def request(body: bytes, kind: str = "json") -> bytes:
    return f"{HEAD}{kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


CHUNKED = f"{HEAD}x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def chunks(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running(http={"api_key": KEY}) as site:
        yield site


@asynccontextmanager
async def connected(site: Site) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, and break the connection off at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.http_port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, object]]:
    """Read one answer."""
    async with asyncio.timeout(TIMEOUT):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = next(int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length"))
        return int(head.split()[1]), orjson.loads(await reader.readexactly(size))


async def test_requests_one_behind_the_other_are_answered_in_order(site: Site) -> None:
    sizes = [number % 7 + 1 for number in range(100)]
    async with connected(site) as (reader, writer):
        for size in sizes:
            writer.write(request(b"\n".join(message(device) for device in range(size)), "x-ndjson"))
        answers = [await answer(reader) for _ in sizes]
    assert [(status, found["accepted"]) for status, found in answers] == [(200, size) for size in sizes]


@pytest.mark.parametrize("size", [1, 3, 50])
async def test_tiny_chunks(site: Site, size: int) -> None:
    async with connected(site) as (reader, writer):
        writer.write(CHUNKED + chunks((message(1) + b"\n") * 2000, size) + b"0\r\n\r\n")
        assert (await answer(reader))[1]["accepted"] == 2000
        writer.write(request(message(1)))  # the connection is good for more
        assert (await answer(reader))[1]["accepted"] == 1


async def test_who_closes_its_half_does_without_the_answer(site: Site) -> None:
    """What it has sent is published."""
    async with site.client() as client:
        await client.subscribe("telemetry")
        async with connected(site) as (reader, writer):
            writer.write(CHUNKED + chunks((message(1) + b"\n") * 3, 1000) + b"0\r\n\r\n")
            writer.write_eof()
            for _ in range(3):
                assert (await client.receive())["device_id"] == 1
            assert await asyncio.wait_for(reader.read(), TIMEOUT) == b""


async def test_what_came_before_a_sender_went_away_is_published(site: Site) -> None:
    async with site.client() as client:
        await client.subscribe("telemetry")
        async with connected(site) as (_, writer):
            writer.write(CHUNKED + chunks(message(7) + b"\n" + message(8)[:9], 1000))
            assert (await client.receive())["device_id"] == 7
            writer.write_eof()
        assert (await http("GET", site.http_url("/health/live")))[0] == 200
        await client.nothing_more()


async def test_a_sender_that_never_reads_is_stopped(site: Site) -> None:
    """Its answers fill the sockets; then it is read no further, and the others do not notice."""
    block, sent = request(message(1)) * 1000, 0
    async with connected(site) as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        while writer.transport.get_write_buffer_size() < 4 * len(block):
            writer.write(block)
            sent += 1000
            await asyncio.sleep(0.01)
            assert sent < 1_000_000, "it takes everything"
        _, stats, _ = await http("GET", site.http_url("/api/v1/stats"), headers={"X-API-Key": KEY})
        assert stats["channels"]["telemetry"]["publications"] < sent
        async with connected(site) as (reader, other):
            other.write(request(message(2)))
            assert (await answer(reader))[1]["accepted"] == 1
