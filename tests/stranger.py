"""One who does what nobody should, to a whole server, and what that may cost."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from conformance.peer import connect
from core.wire_client import CLOSE, HANDSHAKE, Frame
from core.wire_client import Client as Peer
from harness import Site, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness import Client
    from valtronics_fast._core.session import Session

Log = pytest.LogCaptureFixture
SILENT = {"ping_interval": 0}


def code(number: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", number) + reason


class Stranger:
    """The one who does it.

    Attributes:
        site: the server.
        peer: speaks by hand.
        session: the other end.
        other: somebody else, who does nothing wrong.
        peers: sockets to be closed when all has been looked at.
    """

    def __init__(self, site: Site, peer: Peer, session: Session, other: Client) -> None:
        self.site, self.peer, self.session, self.other = site, peer, session, other
        self.peers = [peer]

    async def ends(self, number: int) -> list[Frame]:
        """Read to the end, which is a CLOSE with this code; return what came before it."""
        frames: list[Frame] = []
        while not frames or frames[-1].opcode != CLOSE:
            frames.append(await self.peer.receive())
        assert frames[-1].payload[:2] == code(number)
        return frames[:-1]

    async def authenticate(self) -> None:
        assert (await self.peer.ask(type="auth", token=self.site.token("eve")))["success"] is True


@asynccontextmanager
async def stranger(
    caplog: pytest.LogCaptureFixture, counted: int, *, receive_buffer: int = 0, **settings: Any
) -> AsyncIterator[Stranger]:
    """Let a stranger in, and look at the end what it has cost.

    Args:
        counted: the code that its connection must end with; 0: it must still be there.
        receive_buffer: of its socket, in bytes; 0: the system's.
        settings: of the server, by section.
    """
    caplog.set_level(logging.INFO)
    async with running(**settings) as site, site.client(user="bob") as other:
        (bob,) = site.server._clients.sessions()
        peer = await (small(site, receive_buffer) if receive_buffer else connect(site.server.port))
        (session,) = [each for each in site.server._clients.sessions() if each is not bob]
        caplog.clear()
        one = Stranger(site, peer, session, other)
        try:
            yield one
            expected = {str(counted): 1} if counted else {}
            await until(lambda: site.server.stats()["close_codes"] == expected)
            await other.nothing_more()
            lines = [(record.getMessage(), record.__dict__.get("fields", {}).get("code")) for record in caplog.records]
            assert len(lines) == (1 if counted else 0), lines
            assert session.close_code == counted
        finally:
            for each in one.peers:
                each.close()


async def small(site: Site, receive_buffer: int) -> Peer:
    """Connect with a socket that takes little."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    peer = Peer(sock)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", site.server.port))
    await peer.write(HANDSHAKE.format("/ws").encode())
    await peer.read_until(b"\r\n\r\n")
    return peer


async def subscribed(one: Stranger, channel: str) -> None:
    await one.authenticate()
    assert (await one.peer.ask(type="subscribe", id=1, channel=channel))["success"] is True
