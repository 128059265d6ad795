"""Limits hold over all workers exactly: never one more than allowed, whoever dies at whatever moment."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trustme
from websockets.exceptions import ConnectionClosed, InvalidStatus

from certificates import trusting, write_certificate
from harness import Client, http, until
from workers.processes import Processes, kill, processes

if TYPE_CHECKING:
    from pathlib import Path


async def attempts(
    site: Processes, stack: AsyncExitStack, count: int, user: str = ""
) -> tuple[list[Client], list[int]]:
    """Connect many times at once; return those who are in, and the status that each other one was refused with.

    With a user's name they authenticate in band, and who is closed for it counts with the close code.
    """

    async def attempt(number: int) -> Client | int:
        try:
            client = await stack.enter_async_context(site.connect())
            answer = await client.ask(type="auth", token=site.token(user or f"user{number}"))
            return client if answer["success"] else (await client.closed())[0]
        except InvalidStatus as error:
            return error.response.status_code
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd is not None else 1006

    outcomes = await asyncio.gather(*[attempt(number) for number in range(count)])
    return (
        [one for one in outcomes if isinstance(one, Client)],
        [one for one in outcomes if isinstance(one, int)],
    )


async def spread(site: Processes) -> dict[str, int]:
    """Return how many connections each worker has."""
    return {name: one["connections"] for name, one in (await site.stats())["workers"].items()}


async def test_connections_in_all() -> None:
    async with processes(VFAST_LIMITS__CONNECTIONS="30") as site, AsyncExitStack() as stack:
        inside, refused = await attempts(site, stack, 100)
        assert (len(inside), refused) == (30, [503] * 70)
        assert all((await spread(site)).values())  # both have some
        await inside[0].connection.close()

        async def is_free() -> bool:
            return (await site.stats())["active_connections"] == 29

        async with asyncio.timeout(30):
            while not await is_free():
                await asyncio.sleep(0.01)
        inside, refused = await attempts(site, stack, 5)
        assert (len(inside), refused) == (1, [503] * 4)


async def test_connections_of_a_user() -> None:
    async with processes(VFAST_LIMITS__CONNECTIONS_PER_USER="7") as site, AsyncExitStack() as stack:
        inside, refused = await attempts(site, stack, 60, "alice")
        assert (len(inside), refused) == (7, [4005] * 53)
        inside, refused = await attempts(site, stack, 20, "bob")
        assert (len(inside), refused) == (7, [4005] * 13)


async def test_connections_of_an_address_in_a_while() -> None:
    async with processes(VFAST_LIMITS__CONNECTION_RATE="25/h") as site, AsyncExitStack() as stack:
        inside, refused = await attempts(site, stack, 80)
        assert (len(inside), refused) == (25, [429] * 55)


async def test_tls_handshakes_of_an_address_in_a_while(tmp_path: Path) -> None:
    authority = trustme.CA()
    files = {f"VFAST_TLS__{name.upper()}": str(file) for name, file in write_certificate(authority, tmp_path).items()}
    limits = {"VFAST_LIMITS__CONNECTION_RATE": "5/h", "VFAST_SERVER__HANDSHAKE_TIMEOUT": "0"}
    async with processes(**limits, **files) as site:
        context = trusting(authority)

        async def handshake() -> bool:
            try:
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", site.server.port, ssl=context, server_hostname="localhost"
                )
            except (OSError, EOFError):
                return False
            writer.close()
            return True

        done = await asyncio.gather(*[handshake() for _ in range(60)])
        assert sum(done) == 4 * 5
        assert (await site.stats())["refused"]["tls_rate"] == 40


async def test_who_fails_on_any_worker_is_banned_on_all() -> None:
    settings = {"BAN_AFTER": "9", "BAN_FOR": "1h", "TRUSTED_PROXIES": "127.0.0.1"}
    async with processes(**{f"VFAST_SECURITY__{name}": value for name, value in settings.items()}) as site:

        async def forge(address: str, url: str) -> int:
            headers = {"X-Forwarded-For": address, "X-API-Key": "wrong"}
            status, _, _ = await http("POST", url, json={}, headers=headers)
            return status

        async def look(address: str, times: int) -> set[int]:
            """Return what several requests are answered with, each of which may come to another worker."""
            url, headers = site.url("/health", scheme="http"), {"X-Forwarded-For": address}
            return {(await http("GET", url, headers=headers))[0] for _ in range(times)}

        publish = site.http_url("/api/v1/publish")
        assert [await forge("192.0.2.66", publish) for _ in range(12)] == [401] * 9 + [429] * 3
        assert await look("192.0.2.66", 20) == {429}
        assert await look("192.0.2.1", 20) == {200}
        suspicion = (await site.stats())["suspicion"]
        assert (suspicion["bans"], suspicion["banned"]) == (1, 1)
        pids = await site.workers()
        kill(pids["0"])
        await site.replaced(pids["0"])
        assert await look("192.0.2.66", 20) == {429}


async def test_what_a_worker_had_is_given_back_when_it_is_killed() -> None:
    limits = {"VFAST_LIMITS__CONNECTIONS": "40", "VFAST_LIMITS__CONNECTIONS_PER_USER": "40"}
    async with processes(**limits) as site, AsyncExitStack() as stack:
        inside, _ = await attempts(site, stack, 60, "alice")
        assert len(inside) == 40
        there = await spread(site)
        pids = await site.workers()
        kill(pids["0"])
        await site.replaced(pids["0"])
        inside, refused = await attempts(site, stack, 60, "alice")
        assert (len(inside), refused) == (there["0"], [503] * (60 - there["0"]))


async def test_killed_in_the_middle_of_a_storm_nothing_is_lost_and_nothing_exceeded() -> None:
    async with processes(VFAST_LIMITS__CONNECTIONS="25", VFAST_LIMITS__CONNECTIONS_PER_USER="25") as site:
        async with AsyncExitStack() as stack:
            pids = await site.workers()
            storm = [asyncio.ensure_future(attempts(site, stack, 40, "alice")) for _ in range(3)]
            await asyncio.sleep(0.05)
            kill(pids["1"])
            await asyncio.gather(*storm, return_exceptions=True)
            await site.replaced(pids["1"])
            await attempts(site, stack, 60, "alice")
            assert (await site.stats())["active_connections"] == 25

        async def is_empty() -> bool:
            return (await site.stats())["active_connections"] == 0

        async with asyncio.timeout(30):
            while not await is_empty():
                await asyncio.sleep(0.05)
        async with AsyncExitStack() as stack:
            inside, _ = await attempts(site, stack, 60, "alice")
            assert len(inside) == 25
    await until(lambda: site.supervisor.returncode is not None)
