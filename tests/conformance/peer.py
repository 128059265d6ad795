"""A client of the conformance server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from core.wire_client import HANDSHAKE, Client
from valtronics_fast.testing.echo import EchoServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def connect(port: int, *, then: bytes = b"") -> Client:
    """Return a client that has done the handshake; then: bytes that it sends right behind its request."""
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    client = Client(sock)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    await client.write(HANDSHAKE.format("/ws").encode() + then)
    assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return client


@contextlib.asynccontextmanager
async def connected(server: EchoServer | None = None) -> AsyncIterator[Client]:
    """Run an echo server, unless there is one, and connect to it."""
    async with contextlib.AsyncExitStack() as stack:
        if server is None:
            server = await stack.enter_async_context(EchoServer())
        client = await connect(server.port)
        stack.callback(client.close)
        yield client
