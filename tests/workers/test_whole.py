from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from harness import Site, http, running, until
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.workers import questions
from valtronics_fast.workers.whole import Whole
from workers.machine import sites

if TYPE_CHECKING:
    import pytest


KEY = "the-operators-own-key-0123456789ab"
WITH_KEY = {"X-API-Key": KEY}


async def stats(site: Site) -> dict[str, Any]:
    status, answer = await site.figures()
    assert status == 200
    return answer


async def test_the_figures_of_all_workers_are_told_by_each() -> None:
    async with sites(3) as (_, all_sites), all_sites[0].client(), all_sites[2].client(), all_sites[2].client():
        for site in all_sites:
            found = await stats(site)
            assert (found["active_connections"], found["total_connections"]) == (3, 3)
            workers = found["workers"]
            assert {name: one["connections"] for name, one in workers.items()} == {"0": 1, "1": 0, "2": 2}
            assert all(one["answered"] and one["cpu_seconds"] > 0 for one in workers.values())
            assert found["supervisor"]["cpu_seconds"] > 0


async def test_a_worker_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 0.1)
    async with sites() as (_, (one, two)), one.client():
        two.server._worker.link.transport.pause_reading()  # type: ignore[union-attr]
        found = await stats(one)
        assert found["active_connections"] == 1
        assert found["workers"]["1"] == {"answered": False}
        status, answer, _ = await http("GET", one.http_url("/health/ready"))
        assert (status, answer["status"], answer["checks"]["workers"]) == (200, "degraded", "degraded")


async def test_a_worker_whose_answer_fails_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async with sites() as (_, (one, two)):
        two.server._whole._local = None  # type: ignore[assignment]
        found = await stats(one)
        assert found["workers"].keys() == {"0"}
        assert "could not be answered" in caplog.text


async def test_health_is_that_of_the_worst() -> None:
    async with sites() as (_, (one, two)):
        status, answer, _ = await http("GET", one.http_url("/health/ready"))
        assert (status, answer["status"]) == (200, "ready")
        two.server._stopping = asyncio.ensure_future(asyncio.sleep(0))
        assert (await http("GET", one.http_url("/health/ready")))[0] == 503
        two.server._stopping = None
        two.server._backplane.ready = lambda: False  # type: ignore[method-assign]
        _, answer, _ = await http("GET", one.http_url("/health/ready"))
        assert answer["checks"]["backplane"] == "degraded"


async def test_explain_finds_the_connections_of_every_worker() -> None:
    async with sites(http={"admin_key": KEY}) as (_, (one, two)), two.client(user="bob") as client:
        await client.subscribe("telemetry")
        (session,) = two.server._clients.sessions()
        for site in (one, two):
            url = site.http_url(f"/api/v1/explain?connection={session.number}&device=1")
            status, answer, _ = await http("GET", url, headers=WITH_KEY)
            assert (status, answer["user"]) == (200, "bob")
            assert answer["channels"]["telemetry"]["verdict"] == "no_input"
        assert (await http("GET", one.http_url("/api/v1/explain?connection=12345"), headers=WITH_KEY))[0] == 404


async def rebalance(site: Site, **order: float) -> tuple[int, Any]:
    status, answer, _ = await http("POST", site.http_url("/api/v1/rebalance"), json=order, headers=WITH_KEY)
    return status, answer.get("connections", answer.get("error"))


async def test_the_oldest_of_all_are_moved() -> None:
    async with (
        sites(3, http={"admin_key": KEY}) as (_, (one, two, _third)),
        one.client() as first,
        two.client() as second,
        one.client() as third,
        two.client() as fourth,
    ):
        assert await rebalance(two, fraction=0.3, over=0) == (202, 2)  # rounded up, once for all
        assert (await first.closed())[0] == (await second.closed())[0] == 4200
        await third.nothing_more()
        await fourth.nothing_more()
        assert await rebalance(two, count=9, over=0) == (202, 2)
        assert (await third.closed())[0] == (await fourth.closed())[0] == 4200


async def test_one_worker_that_is_busy_keeps_all_from_moving_more() -> None:
    async with sites(http={"admin_key": KEY}) as (_, (one, two)), one.client() as first, two.client(), two.client():
        assert two.server.rebalance(count=2, over=3600) == 2
        assert (await rebalance(one, count=3))[0] == 409
        await first.nothing_more()


async def ask(site: Site, method: str, path: str, **more: Any) -> Any:
    status, answer, _ = await http(method, site.http_url(path), headers=WITH_KEY, **more)
    assert status == 200, answer
    return answer


async def test_lists_are_of_all_connections_whichever_worker_is_asked() -> None:
    async with sites(3, http={"admin_key": KEY}) as (_, all_sites), AsyncExitStack() as stack:
        for number in range(7):
            await stack.enter_async_context(all_sites[number % 2].client(user=f"u{number}"))
        path = "/api/v1/connections?limit=3"
        users: list[str] = []
        cursor: str | None = ""
        while cursor is not None:  # the next page from another worker than the one before
            site = all_sites[len(users) % 3]
            answer = await ask(site, "GET", path + (f"&cursor={cursor}" if cursor else ""))
            assert answer["silent_workers"] == []
            users += [each["user"] for each in answer["connections"]]
            cursor = answer["next"]
        assert users == [f"u{number}" for number in range(7)]
        (found,) = (await ask(all_sites[2], "GET", "/api/v1/connections?user=u4"))["connections"]
        assert await ask(all_sites[1], "GET", f"/api/v1/connections/{found['id']}") == found | {
            "age": ANY, "messages_per_second": ANY,
        }  # fmt: skip


async def test_orders_reach_the_worker_that_has_the_connection() -> None:
    async with (
        sites(http={"admin_key": KEY}) as (_, (one, two)),
        one.client(user="bob") as first,
        two.client(user="bob") as second,
        two.client(user="eve") as third,
    ):
        (eve,) = two.server._clients.sessions()[1:]
        told = {"connections": 1, "silent_workers": []}
        assert await ask(one, "DELETE", f"/api/v1/connections/{eve.number}") == told
        assert (await third.closed())[0] == 4003
        answer = await ask(two, "POST", "/api/v1/disconnect", json={"user": "bob"})
        assert answer == {"connections": 2, "silent_workers": []}
        assert (await first.closed())[0] == (await second.closed())[0] == 4003


async def test_workers_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 0.1)
    async with sites(3, http={"admin_key": KEY}) as (_, (one, two, three)), one.client(user="bob"):
        two.server._worker.link.transport.pause_reading()  # type: ignore[union-attr]
        three.server._whole._local = None  # type: ignore[assignment]
        answer = await ask(one, "GET", "/api/v1/connections")
        assert (len(answer["connections"]), answer["silent_workers"]) == (1, ["1", "2"])
        answer = await ask(one, "POST", "/api/v1/disconnect", json={"user": "bob"})
        assert answer == {"connections": 1, "silent_workers": ["1", "2"]}


async def test_a_drain_is_for_all() -> None:
    async with sites(http={"admin_key": KEY}) as (machine, (one, _)):
        status, _, _ = await http("POST", one.http_url("/api/v1/drain"), headers=WITH_KEY)
        assert status == 202
        await until(lambda: machine.drains)
        assert one.server._stopping is None  # that is for the supervisor to say


async def test_alone_everything_is_the_servers_own() -> None:
    async with running() as site, site.client() as client:
        whole = Whole(site.server, None)
        found = await whole.stats()
        assert found.keys() == site.server.stats().keys()
        assert await whole.health() == site.server.health()
        assert await whole.explain(99, None) is None
        assert await whole.rebalance(fraction=None, count=5, over=0) == 1
        assert (await client.closed())[0] == CloseCode.CLOSE_REBALANCE


async def test_without_the_supervisor_a_worker_tells_of_itself() -> None:
    async with sites() as (one_machine, (one, _)):
        one_machine.ports[0].transport.abort()
        link = one.server._worker.link  # type: ignore[union-attr]
        await until(link.ended.is_set)
        assert (await asyncio.wait_for(one.server._whole.stats(), 10))["workers"].keys() == {"0"}


async def metrics(site: Site) -> dict[tuple[str, str], float]:
    """Return the samples of an answer that have no label but `worker`, by name and worker."""
    headers = {"Authorization": f"Bearer {site.token('prometheus', monitor=True)}"}
    url = site.http_url("/metrics")
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
        assert answer.status == 200
        page = await answer.text()
    families = text_string_to_metric_families(page)
    samples = [sample for family in families for sample in family.samples]
    return {(each.name, each.labels["worker"]): each.value for each in samples if each.labels.keys() == {"worker"}}


async def test_the_metrics_of_all_workers_are_told_by_each_and_not_summed_up() -> None:
    async with sites(3) as (_, all_sites), all_sites[0].client(), all_sites[2].client(), all_sites[2].client():
        for site in all_sites:
            found = await metrics(site)
            assert [found["valtronics_connections", each] for each in "012"] == [1, 0, 2]
            assert [found["valtronics_worker_up", each] for each in "012"] == [1, 1, 1]


async def test_a_worker_that_does_not_answer_is_down_and_its_counters_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 0.1)
    async with sites() as (_, (one, two)), one.client():
        two.server._worker.link.transport.pause_reading()  # type: ignore[union-attr]
        found = await metrics(one)
        assert (found["valtronics_worker_up", "0"], found["valtronics_worker_up", "1"]) == (1, 0)
        assert ("valtronics_connections_opened_total", "1") not in found
        assert found["valtronics_connections_opened_total", "0"] == 1
