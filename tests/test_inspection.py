"""Searches among connections beside everything else that goes on (what is found: tests/core/test_roster.py)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from core.harness import Server
from harness import TIMEOUT, running, until
from valtronics_fast import inspection
from valtronics_fast._core.roster import Roster, describe
from valtronics_fast.inspection import Inspector, Query

if TYPE_CHECKING:
    import pytest

    from valtronics_fast._core.hub import Hub

CLIENTS = 200


class Turns:
    """Counts the turns of the event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._on = True
        self._turn()

    def _turn(self) -> None:
        self.count += 1
        if self._on:
            asyncio.get_running_loop().call_soon(self._turn)

    def stop(self) -> int:
        self._on = False
        return self.count


async def test_others_get_their_turns_during_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "SLICE", 0.0)
    async with Server() as server:
        for _ in range(CLIENTS):
            await server.connect()
        inspector = Inspector(server.hub)
        turns = Turns()
        rows = await inspector.rows(Query(limit=1))
        assert turns.stop() >= CLIENTS // 64
        assert [number for _, number, _ in rows] == [1]


async def test_others_get_their_turns_while_many_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "TOLD_A_TURN", 10)
    monkeypatch.setattr(inspection, "SLICE", TIMEOUT)
    async with Server() as server:
        for _ in range(CLIENTS):
            await server.connect()
        inspector = Inspector(server.hub)
        turns = Turns()
        assert len(await inspector.rows(Query())) == CLIENTS
        assert turns.stop() >= CLIENTS // 10


async def test_others_get_their_turns_while_many_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "CLOSED_A_TURN", 10)
    monkeypatch.setattr(inspection, "SLICE", TIMEOUT)
    async with Server() as server:
        clients = [await server.login() for _ in range(50)]
        turns = Turns()
        assert await Inspector(server.hub).disconnect(Query(user="alice"), "go") == 50
        assert turns.stop() >= 5
        assert await Inspector(server.hub).disconnect(Query(user="alice"), "go") == 0  # they are being closed
        for client in clients:
            assert (await client.closing())[1:] == (4003, "go")


async def test_there_is_one_search_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    class Recorded:
        """A Roster that notes when it works, by its limit."""

        def __init__(self, hub: Hub, **query: Any) -> None:
            self._roster = Roster(hub, **query)
            self._name: int = query["limit"]
            self.page = self._roster.page

        def work(self, until: float) -> bool:
            calls.append(self._name)
            return self._roster.work(until)

    monkeypatch.setattr(inspection, "SLICE", 0.0)
    monkeypatch.setattr(inspection, "Roster", Recorded)
    async with Server() as server:
        for _ in range(CLIENTS):
            await server.connect()
        inspector = Inspector(server.hub)
        await asyncio.gather(*[inspector.rows(Query(limit=limit)) for limit in (1, 2, 3)])
    assert calls == sorted(calls)
    assert calls.count(1) > 1


async def test_rates_are_noted_where_somebody_may_ask_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "RATE_INTERVAL", 0.05)
    async with running(http={"admin_key": "the-operators-own-key-0123456789ab"}) as site, site.client():
        (session,) = site.server._clients.sessions()
        # The answer to `auth` was sent before the last sample; without any it would count for ever.
        await until(lambda: describe(session, time.monotonic())["messages_per_second"] == 0)


async def test_rates_are_not_noted_where_nobody_may(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []
    monkeypatch.setattr(Inspector, "tick", lambda _, now: ticks.append(now))
    async with running() as site:
        advanced = site.server._timer
        await until(lambda: site.server._timer is not advanced)
        assert ticks == []


async def test_the_reason_of_the_code_where_there_is_no_other() -> None:
    async with Server() as server:
        client = await server.login()
        assert await Inspector(server.hub).disconnect(Query(number=1, limit=1), None) == 1
        assert (await client.closing())[1:] == (4003, "forbidden")


async def test_a_long_reason_is_cut() -> None:
    async with Server() as server:
        client = await server.login()
        assert await Inspector(server.hub).disconnect(Query(), "ö" * 123) == 1
        assert (await client.closing())[1:] == (4003, "ö" * 61)
