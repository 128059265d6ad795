"""The conformance server as a program, and what it lets in."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest
from websockets.asyncio.client import connect

from valtronics_fast.testing.echo import EchoServer, main

TIMEOUT = 30


async def test_the_program_prints_its_url_and_serves_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "valtronics_fast.testing.echo", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT):
        url = (await process.stdout.readline()).decode().strip()
        async with connect(url, proxy=None, compression=None) as client:
            await client.send("text")
            assert await client.recv() == "text"
            await client.send(b"binary")
            assert await client.recv() == b"binary"
            process.send_signal(signal.SIGTERM)
            await client.wait_closed()
        assert await process.wait() == 0


async def test_any_page_may_come_and_there_are_no_limits_on_rates() -> None:
    async with EchoServer() as server:
        url = f"ws://127.0.0.1:{server.port}/ws"
        async with connect(url, proxy=None, origin="https://anywhere.example") as client:  # type: ignore[arg-type]
            for number in range(300):
                await client.send(str(number))
            assert [await client.recv() for _ in range(300)] == [str(number) for number in range(300)]
        for _ in range(20):
            async with connect(url, proxy=None):
                pass


async def test_compression_is_accepted_as_the_server_does() -> None:
    async with EchoServer() as server, connect(f"ws://127.0.0.1:{server.port}/ws", proxy=None) as client:
        assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]
        for size in (0, 1, 127, 128, 65_536, 1 << 20):
            for message in ("text " * (size // 5), bytes(size)):
                await client.send(message)
                assert await client.recv() == message


def test_a_port_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "port" in capsys.readouterr().err
