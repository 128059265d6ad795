"""Sockets that listen."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from valtronics_fast.inherited import public_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["ACCEPTED_A_TURN", "bind", "listen", "open_port", "serve"]

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


async def open_port(
    host: str, port: int, passed_on: Sequence[socket.socket], *, reuse_port: bool = False
) -> tuple[str, list[socket.socket]]:
    """Return the sockets to accept from: those that were passed on, or else what `listen` gives; and their address."""
    if not passed_on:
        return host, await listen(host, port, reuse_port=reuse_port)
    return public_host(passed_on), _multiply(passed_on)


async def listen(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Return listening sockets for each address of a host, all on one port.

    Args:
        host: a name or an address.
        port: 0 lets the system pick a free one.
        reuse_port: see `bind`.

    Raises:
        OSError: an address can't be resolved or listened on.
    """
    return _multiply(await bind(host, port, reuse_port=reuse_port))


def _multiply(sockets: Iterable[socket.socket]) -> list[socket.socket]:
    """Have bound sockets listen as clients of ours need it; return them and their duplicates.

    Raises:
        OSError: that is not possible; all of them are closed.
    """
    found = list(sockets)
    try:
        for sock in tuple(found):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            sock.setblocking(False)
            sock.listen(BACKLOG)
            found.extend(sock.dup() for _ in range(ACCEPTED_A_TURN - 1))
    except BaseException:
        for sock in found:
            sock.close()
        raise
    return found


async def bind(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Return sockets bound to each address of a host, all on one port, that do not listen.

    Args:
        host: a name or an address.
        port: 0 lets the system pick a free one.
        reuse_port: other sockets of the same user that say so, too, may be bound to it; connections are spread over
            those that listen.

    Raises:
        OSError: an address can't be resolved or bound to.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound = (address[0], port or _port_of(sockets[0]), *address[2:])
            try:
                sock.bind(bound)
            except OSError as error:
                text = f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
                raise OSError(error.errno, text) from None
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def serve(
    sockets: Iterable[socket.socket], protocol: Callable[[], asyncio.BaseProtocol], listeners: list[asyncio.Server]
) -> None:
    """Accept connections from these sockets, one after the other; `listeners` gets those that do."""
    for sock in sockets:
        listener = await asyncio.get_running_loop().create_server(protocol, sock=sock, backlog=BACKLOG)
        listeners.append(listener)


def _port_of(sock: socket.socket) -> int:
    """Return the port that a socket is bound to; 0 when it is not."""
    try:
        return int(sock.getsockname()[1])
    except OSError:
        return 0
