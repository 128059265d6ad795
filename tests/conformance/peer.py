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


async def connect(port: int, *, then: bytes = b"", offer: str = "") -> Client:
    """Return a client that has done the handshake.

    Args:
        then: bytes that it sends right behind its request.
        offer: the extensions that it offers; one of them has to be accepted.
    """
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    client = Client(sock)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    request = HANDSHAKE.format("/ws").encode()
    if offer:
        request = request[:-2] + f"Sec-WebSocket-Extensions: {offer}\r\n\r\n".encode()
    await client.write(request + then)
    head = await client.read_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    client.inflates = b"\r\nSec-WebSocket-Extensions: permessage-deflate;" in head
    assert client.inflates == bool(offer)
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
