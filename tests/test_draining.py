from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from harness import running
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.draining import close_evenly, let_go

if TYPE_CHECKING:
    from harness import Client, Site

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

        await let_go(site.server._clients, CloseCode.CLOSE_RESTART, window=window, patience=1, end_input=end_input)
        assert left == [1 if window else 4]
        assert [(await client.closed())[0] for client in there] == [CloseCode.CLOSE_RESTART] * 4
