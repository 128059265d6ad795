from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from harness import TIMEOUT, http, running, until
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.draining import close_evenly, let_go
from valtronics_fast.errors import BusyError

if TYPE_CHECKING:
    from harness import Client, Site

KEY = "a-key-of-the-operators-4f1e8b07c2d9"
REBALANCE = CloseCode.CLOSE_REBALANCE


async def clients(stack: AsyncExitStack, site: Site, count: int) -> list[Client]:
    """Return clients in the order in which they came."""
    return [await stack.enter_async_context(site.client()) for _ in range(count)]


class Recorded:
    """A session that notes when it was closed."""

    queued_bytes = 0

    def __init__(self) -> None:
        self.closed_at = 0.0

    def disconnect(self, code: int) -> None:
        assert code == REBALANCE
        self.closed_at = asyncio.get_running_loop().time()


async def test_they_are_closed_one_after_the_other_none_before_its_time() -> None:
    sessions = [Recorded() for _ in range(50)]
    start = asyncio.get_running_loop().time()
    await close_evenly(sessions, REBALANCE, seconds=0.5, patience=1)  # type: ignore[arg-type]
    times = [session.closed_at - start for session in sessions]
    assert times == sorted(times)
    assert all(at >= 0.01 * number - 0.001 for number, at in enumerate(times))


async def test_the_loop_goes_on_while_many_are_closed_at_once() -> None:
    sessions = [Recorded() for _ in range(1000)]
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await close_evenly(sessions, REBALANCE, seconds=0, patience=1)  # type: ignore[arg-type]
    assert turns >= 3
    assert all(session.closed_at for session in sessions)
    counting.cancel()


@pytest.mark.parametrize("window", [0.0, 0.2])
async def test_input_ends_before_the_last_one_is_closed(window: float) -> None:
    async with running() as site, AsyncExitStack() as stack:
        there = await clients(stack, site, 4)
        left = []

        async def end_input() -> None:
            left.append(sum(not session.close_code for session in site.server._clients.sessions()))

        all_clients, code = site.server._clients, CloseCode.CLOSE_RESTART
        await let_go(all_clients, code, window=window, patience=1, others=lambda: False, end_input=end_input)
        assert left == [1 if window else 4]
        assert [(await client.closed())[0] for client in there] == [CloseCode.CLOSE_RESTART] * 4


async def test_who_does_not_go_is_cut() -> None:
    async with running(server={"close_timeout": 600.0}) as site, site.client() as deaf:
        deaf.connection.transport.pause_reading()

        async def end_input() -> None:
            pass

        async with asyncio.timeout(TIMEOUT):
            clients = site.server._clients
            code = CloseCode.CLOSE_RESTART
            await let_go(clients, code, window=0, patience=0.05, others=lambda: True, end_input=end_input)
        await until(lambda: not clients.active)
        deaf.connection.transport.abort()


@pytest.mark.parametrize("window", [0.3, 3600.0])
async def test_input_goes_on_for_clients_of_others_until_the_time_is_over(window: float) -> None:
    async with running() as site:
        left, ended = 3, asyncio.Event()

        def others() -> bool:
            nonlocal left
            left -= window > 1
            return left > 0

        async def end_input() -> None:
            assert left == (3 if window < 1 else 0)
            ended.set()

        async with asyncio.timeout(TIMEOUT):
            clients, code = site.server._clients, CloseCode.CLOSE_RESTART
            await let_go(clients, code, window=window, patience=0, others=others, end_input=end_input)
        assert ended.is_set()


# Rebalancing


async def test_those_that_are_there_longest_are_moved() -> None:
    async with running() as site, AsyncExitStack() as stack:
        there = await clients(stack, site, 5)
        assert site.server.rebalance(fraction=0.5, over=0) == 3  # rounded up
        assert [(await client.closed())[0] for client in there[:3]] == [REBALANCE] * 3
        for client in there[3:]:
            await client.nothing_more()
        assert site.server.rebalance(count=10, over=0) == 2
        assert [(await client.closed())[0] for client in there[3:]] == [REBALANCE] * 2
        await until(lambda: site.server.stats()["active_connections"] == 0)
        assert site.server.rebalance(fraction=1.0, over=0) == 0


async def test_one_at_a_time_and_none_during_a_drain() -> None:
    async with running() as site, AsyncExitStack() as stack:
        there = await clients(stack, site, 3)
        assert site.server.rebalance(count=2, over=3600) == 2
        with pytest.raises(BusyError):
            site.server.rebalance(count=1)
        await until(lambda: site.server.stats()["close_codes"] == {"4200": 1})
        closing = site.server.rebalancer._closing
        await site.server.stop()  # does not wait for the hour
        assert closing is not None
        assert closing.cancelled()
        codes = sorted([(await client.closed())[0] for client in there])
        assert codes == [CloseCode.CLOSE_GOING_AWAY] * 2 + [REBALANCE]
        with pytest.raises(BusyError):
            site.server.rebalance(count=1)


async def test_over_http() -> None:
    async with running(http={"admin_key": KEY}, server={"drain_window": 0}) as site, AsyncExitStack() as stack:
        there = await clients(stack, site, 5)
        url, key = site.http_url("/api/v1/rebalance"), {"X-API-Key": KEY}

        async def order(body: dict[str, float], headers: dict[str, str] = key) -> tuple[int, object]:
            status, answer, _ = await http("POST", url, json=body, headers=headers)
            return status, answer.get("error", answer.get("connections"))

        assert await order({"fraction": 0.2}, {}) == (401, "not_authenticated")
        publisher = {"Authorization": f"Bearer {site.token(publish=True)}"}
        assert await order({"fraction": 0.2}, publisher) == (403, "forbidden")
        assert await order({}) == (400, "invalid_message")
        assert await order({"fraction": 0.2}) == (202, 1)
        assert (await there[0].closed())[0] == REBALANCE
        assert await order({"count": 3, "over": 3600}) == (202, 3)
        assert await order({"count": 1}) == (409, "busy")
        await until(lambda: site.server.stats()["close_codes"] == {"4200": 2})


async def test_without_a_key_nobody_may_even_on_loopback() -> None:
    async with running() as site, site.client() as client:
        status, answer, _ = await http("POST", site.http_url("/api/v1/rebalance"), json={"fraction": 1})
        assert (status, answer["error"]) == (403, "forbidden")
        await client.nothing_more()
