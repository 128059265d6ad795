"""Limits hold over all workers exactly: never one more than allowed, whoever dies at whatever moment."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from websockets.exceptions import ConnectionClosed, InvalidStatus

from harness import Client, until
from workers.processes import Processes, kill, processes


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
