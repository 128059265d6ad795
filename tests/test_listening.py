from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from harness import needs_ipv6
from services import free_port
from valtronics_fast.listening import ACCEPTED_A_TURN, RECEIVE_BUFFER, listen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def closing_all(sockets: Sequence[socket.socket]) -> Iterator[Sequence[socket.socket]]:
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


async def test_a_free_port_is_picked_for_0() -> None:
    with closing_all(await listen("127.0.0.1", 0)) as sockets:
        ((host, port),) = {sock.getsockname() for sock in sockets}
        assert host == "127.0.0.1"
        assert port > 0
        socket.create_connection((host, port)).close()


async def test_a_given_port_is_taken() -> None:
    port = free_port()
    with closing_all(await listen("127.0.0.1", port)) as sockets:
        assert sockets[0].getsockname()[1] == port


async def test_what_one_client_can_send_at_once_is_bounded() -> None:
    with closing_all(await listen("127.0.0.1", 0)) as sockets:
        # The kernel doubles it, for its own needs; a connection inherits it from the socket that listens.
        assert sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * RECEIVE_BUFFER


async def test_several_connections_are_accepted_in_one_turn() -> None:
    loop = asyncio.get_running_loop()
    accepted: list[asyncio.BaseTransport] = []

    class Counter(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.append(transport)

    with ExitStack() as clients:
        servers = [await loop.create_server(Counter, sock=sock) for sock in await listen("127.0.0.1", 0)]
        address = servers[0].sockets[0].getsockname()
        await asyncio.sleep(0)
        for _ in range(3 * ACCEPTED_A_TURN):
            clients.enter_context(socket.create_connection(address))
        turns = 0
        while len(accepted) < 3 * ACCEPTED_A_TURN:
            await asyncio.sleep(0)
            turns += 1
        assert turns <= 3 + 3  # until the first is polled for, and until the last one's call_soon
        for transport in accepted:
            transport.abort()
        for server in servers:
            server.close()
            await server.wait_closed()


async def test_accepting_does_not_block_the_event_loop() -> None:
    with closing_all(await listen("127.0.0.1", 0)) as sockets, pytest.raises(BlockingIOError):
        sockets[0].accept()


@pytest.mark.parametrize("host", [pytest.param("::1", marks=needs_ipv6), "localhost"])
async def test_every_address_of_a_host_is_listened_on_with_one_port(host: str) -> None:
    addresses = {info[4][0] for info in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)}
    with closing_all(await listen(host, 0)) as sockets:
        assert {sock.getsockname()[0] for sock in sockets} == addresses
        assert len({sock.getsockname()[1] for sock in sockets}) == 1


@needs_ipv6
async def test_ipv6_does_not_take_ipv4_along() -> None:
    with closing_all(await listen("0.0.0.0", 0)) as sockets:  # of the two the one that more ports are taken of
        port = sockets[0].getsockname()[1]
        with closing_all(await listen("::", port)):
            socket.create_connection(("::1", port)).close()
            socket.create_connection(("127.0.0.1", port)).close()


async def test_a_port_that_is_taken_is_named() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"^\[Errno \d+\] cannot listen on 127\.0\.0\.1:{port}: ") as caught:
            await listen("127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE


@needs_ipv6
async def test_when_one_address_is_taken_the_others_are_let_go() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="cannot listen"):
            await listen("localhost", port)
        with closing_all(await listen("::1", port)):
            pass


async def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(socket.gaierror):
        await listen("no-such-host.invalid", 0)


async def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: ") as caught:
        await listen("192.0.2.1", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL
