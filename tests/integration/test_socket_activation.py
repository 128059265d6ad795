"""Sockets that outlive the server: whoever connects while one process follows another is not refused."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect

from harness import SECRET, TIMEOUT, UPGRADE, Client, Site, configuration, http, telemetry, until
from harness import running as serving
from http_served import bearer
from process import PROGRAM, Running, environment, running
from valtronics_fast import Server, reception
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.asyncio.client import ClientConnection

KEY = "a-key-of-the-backend"
SETTINGS = {
    "VFAST_AUTH__SECRET": SECRET,
    "VFAST_HTTP__API_KEY": KEY,
    "VFAST_LIMITS__CONNECTION_RATE": "0",
    "VFAST_LIMITS__CONNECTIONS_PER_USER": "0",
    "VFAST_SYSTEM__INTERVAL": "0",
    "VFAST_LOGGING__FORMAT": "json",
    "VFAST_SERVER__DRAIN_WINDOW": "1s",
}
CLIENTS = 200


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the two sockets that the service manager holds: WebSocket, HTTP."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024)) for _ in range(2))  # type: ignore[misc]


def numbers(sockets: tuple[socket.socket, socket.socket]) -> tuple[int, int]:
    return sockets[0].fileno(), sockets[1].fileno()


def passed(sockets: tuple[socket.socket, socket.socket]) -> tuple[str, ...]:
    """Return the flags that pass the sockets on."""
    websocket, http_socket = numbers(sockets)
    return "--fd", str(websocket), "--http-fd", str(http_socket)


class Resident:
    """A client that comes back at once whenever it is told to, and counts what became of its attempts."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection: ClientConnection | None = None
        self.codes: list[int] = []
        self.refused: list[BaseException] = []
        self.came = 0

    async def live(self) -> None:
        token = mint(configuration().auth, "alice")
        while True:
            try:
                async with connect(
                    self.url, additional_headers=bearer(token), proxy=None, open_timeout=TIMEOUT, ping_interval=None
                ) as self.connection:
                    self.came += 1
                    await self.connection.wait_closed()
            except Exception as error:  # noqa: BLE001 - nobody listens, a reset, an HTTP refusal
                self.refused.append(error)
            else:
                self.codes.append(self.connection.close_code or 0)


async def test_200_clients_change_over_to_the_next_process_and_none_is_refused(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    url = "ws://{}:{}/ws/telemetry".format(*sockets[0].getsockname())
    http_url = "http://{}:{}".format(*sockets[1].getsockname())
    residents = [Resident(url) for _ in range(CLIENTS)]
    arrived: list[None] = []

    async def arrive() -> None:
        """Have somebody come, and ask for health, again and again, whatever the servers are doing."""
        while True:
            async with connect(url, additional_headers=bearer(mint(configuration().auth, "bob")), proxy=None):
                pass
            assert (await http("GET", f"{http_url}/health/live"))[0] == 200
            arrived.append(None)

    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(*passed(sockets), descriptors=numbers(sockets), **SETTINGS))
        tasks = [asyncio.create_task(resident.live()) for resident in residents]
        await until(lambda: all(resident.came == 1 for resident in residents))
        second = await stack.enter_async_context(running(*passed(sockets), descriptors=numbers(sockets), **SETTINGS))
        arriving = asyncio.create_task(arrive())
        await until(lambda: arrived)
        first.tell(signal.SIGTERM)
        ended = asyncio.create_task(first.ended())
        await until(lambda: all(resident.came == 2 for resident in residents))
        assert await ended == 0
        count = len(arrived)
        await until(lambda: len(arrived) > count + 3 or arriving.done())
        assert not arriving.done(), arriving
        arriving.cancel()
        await asyncio.wait([arriving])
        message = telemetry(7, value=1)
        status, answer, _ = await http("POST", f"{http_url}/api/v1/publish", json=message, headers={"X-API-Key": KEY})
        assert (status, answer["matched"]) == (200, CLIENTS)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert [resident.refused for resident in residents] == [[]] * CLIENTS
        assert {tuple(resident.codes) for resident in residents} == {(CloseCode.CLOSE_RESTART,)}
        assert await second.end() == 0


async def test_who_connects_between_two_processes_waits_for_the_next(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    url = "ws://{}:{}/ws".format(*sockets[0].getsockname())
    async with running(*passed(sockets), descriptors=numbers(sockets), **SETTINGS) as first:
        assert await first.end() == 0
    async with AsyncExitStack() as stack:
        connecting = [asyncio.create_task(_connected(stack, url)) for _ in range(5)]
        _, pending = await asyncio.wait(connecting, timeout=0.2)
        assert len(pending) == 5
        async with running(*passed(sockets), descriptors=numbers(sockets), **SETTINGS) as second:
            for client in await asyncio.gather(*connecting):
                await client.nothing_more()
            assert await second.end() == 0


async def _connected(stack: AsyncExitStack, url: str) -> Client:
    connection = await stack.enter_async_context(connect(url, proxy=None, open_timeout=TIMEOUT))
    return Client(connection)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_as_systemd_passes_them(workers: str, sockets: tuple[socket.socket, socket.socket]) -> None:
    """The process id has to be known before the program starts: a shell has it, and then becomes the program."""
    os.set_inheritable(sockets[0].fileno(), True)
    os.set_inheritable(sockets[1].fileno(), True)
    http_number, number = sockets[1].fileno(), sockets[0].fileno()
    shell = f'exec env LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=http:ws "$@" 3<&{http_number} 4<&{number}'
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", shell, "-", *PROGRAM, "--port", "1", "--http-port", "2", "--workers", workers,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment(**SETTINGS), pass_fds=numbers(sockets),
    )  # fmt: skip
    server = Running(process)
    try:
        await server.read_banner()
        assert server.url == "ws://{}:{}/ws".format(*sockets[0].getsockname())
        assert server.http == "http://{}:{}".format(*sockets[1].getsockname())
        assert (await http("GET", f"{server.http}/health/ready"))[0] == 200
        async with connect(server.url, proxy=None) as connection:
            await Client(connection).nothing_more()
        assert await server.end() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_descriptor_that_is_no_socket_ends_it_with_2() -> None:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "--fd", "0", "--http-fd", "77",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    async with asyncio.timeout(TIMEOUT):
        out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert b"http.fd must be a listening TCP socket; descriptor 77: " in err
    assert b"Traceback" not in err


async def test_an_http_socket_that_others_can_reach_hides_the_figures() -> None:
    """The configured address is loopback, where the figures would be open; the socket's own is not."""
    for host, status in (("127.0.0.1", 200), ("0.0.0.0", 401)):
        with socket.create_server((host, 0)) as sock:
            async with Server(configuration(demo=True, http={"fd": os.dup(sock.fileno())})) as server:
                assert server.http_host == host
                url = f"http://127.0.0.1:{server.http_port}/api/v1/stats"
                assert (await http("GET", url))[0] == status
                await server.reload(configuration(demo=True))  # where it listens is not read again
                assert (await http("GET", url))[0] == status
                assert server.http_port == sock.getsockname()[1]


async def test_a_handshake_that_has_begun_on_a_passed_socket_is_finished_before_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with serving(server={"fd": os.dup(sock.fileno()), "drain_window": 0}) as site:
            reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
            writer.write(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
            await until(lambda: site.server._reception.half_open == 1)
            draining = asyncio.create_task(site.server.drain())
            await until(lambda: site.server.health()["ready"] is False)
            writer.write("".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items()).encode() + b"\r\n")
            assert b" 101 " in await reader.readline()
            assert (await reader.read()).endswith(b"\x88\x09\x03\xf4restart")
            writer.close()
            await draining
            with pytest.raises(TimeoutError):  # it is connected, and waits for somebody who accepts it
                async with asyncio.timeout(0.2), Site(site.server).connect():
                    pass


async def test_a_stranger_on_a_passed_socket_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "SETTLE_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with serving(server={"fd": os.dup(sock.fileno()), "handshake_timeout": 0}) as site:
            _, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
            await until(lambda: site.server._reception.half_open == 1)
            async with asyncio.timeout(TIMEOUT):
                await site.server.drain()
            assert site.server._reception.half_open == 0
            writer.close()


