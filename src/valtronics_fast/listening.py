"""Sockets that listen."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from valtronics_fast.inherited import public_host

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ACCEPTED_A_TURN", "BACKLOG", "listen", "open_port"]

BACKLOG = 1024
"""Connections that the kernel holds for us until we accept them: a storm of reconnecting clients."""

ACCEPTED_A_TURN = 8
"""Connections that are accepted from one listening socket in one turn of the event loop.

libuv accepts one a turn for each handle that listens, which is too slow for a storm of reconnecting clients where
turns are long; so a socket listens through that many duplicates of its descriptor.
"""

RECEIVE_BUFFER = 16 * 1024
"""Bytes that the kernel takes from a client that we have not read yet.

It bounds what one connection can make us work off in one turn of the event loop, and with that how long a
client that floods us holds up the others (bench/fairness.py).
"""


async def listen(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for each address of a host, ACCEPTED_A_TURN for each, all on one port.

    Args:
        host: a name or an address.
        port: 0 lets the system pick a free one.

    Raises:
        OSError: an address can't be resolved or listened on.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound = (address[0], port or _port_of(sockets[0]), *address[2:])
            try:
                sock.bind(bound)
            except OSError as error:
                text = f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
                raise OSError(error.errno, text) from None
            sockets.extend(_multiply(sock)[1:])
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def open_port(host: str, port: int, passed_on: Sequence[socket.socket]) -> tuple[str, list[socket.socket]]:
    """Return the sockets to accept from: those that were passed on, or else what `listen` gives; and their address."""
    if not passed_on:
        return host, await listen(host, port)
    return public_host(passed_on), [each for sock in passed_on for each in _multiply(sock)]


def _multiply(sock: socket.socket) -> list[socket.socket]:
    """Have a bound socket listen as clients of ours need it; return it and its duplicates, all to be accepted from."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.setblocking(False)
    sock.listen(BACKLOG)
    return [sock, *(sock.dup() for _ in range(ACCEPTED_A_TURN - 1))]


def _port_of(sock: socket.socket) -> int:
    """Return the port that a socket is bound to; 0 when it is not."""
    try:
        return int(sock.getsockname()[1])
    except OSError:
        return 0
