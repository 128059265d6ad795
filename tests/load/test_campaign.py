from __future__ import annotations

import asyncio

from harness import Site, running
from valtronics_fast.load.campaign import Plan, run
from valtronics_fast.load.meter import Busy

Told = list[tuple[str, float, float, str]]


def plan(site: Site, **changes: object) -> Plan:
    usual = Plan(
        url=site.url(),
        tokens=[site.token("a"), site.token("b")],
        subscriptions=[{"channel": "telemetry"}],
        connections=10,
        ramp=0.0,
        duration=0.5,
        publish=100.0,
        http_url=site.http_url(""),
        headers={"X-API-Key": "k"},
        devices=2,
    )
    return usual._replace(**changes)


async def test_every_client_gets_everything_that_was_published() -> None:
    told: Told = []
    async with running(http={"api_key": "k"}, limits={"connections_per_user": 5}) as site:
        result = await run(plan(site), lambda *more: told.append(more))
    assert result.publisher is not None
    assert (result.tally.ready, result.tally.errors.total(), result.interrupted) == (10, 0, False)
    assert result.publisher.accepted > 0
    assert result.tally.delivering.count == result.publisher.matched == 10 * result.publisher.accepted
    assert result.tally.seconds > 0
    assert told[0][:3] == ("connecting", 0, 10)
    assert ("connecting", 10, 10, "") in told
    assert told[-1][:3] == ("measuring", 0.5, 0.5)


async def test_when_nobody_gets_in_nothing_is_measured() -> None:
    async with running() as site:
        result = await run(plan(site, tokens=["a.b.c"]), lambda *_: None)
    assert (result.measuring, result.tally.ready) == (None, 0)
    assert result.tally.errors == {"not authenticated: invalid_token": 10}


async def test_ended_before_its_time_it_tells_what_it_has() -> None:
    async with running() as site:
        begun = asyncio.Event()

        def progress(phase: str, *_: object) -> None:
            if phase == "measuring":
                begun.set()

        task = asyncio.create_task(run(plan(site, duration=3600.0, publish=0.0), progress))
        await begun.wait()
        task.cancel()
        result = await task
    assert (result.interrupted, result.tally.ready) == (True, 10)
    assert result.measuring is not None
    assert result.tally.seconds > 0


async def test_a_client_that_is_the_bottleneck_is_told() -> None:
    async with running() as site:
        result = await run(plan(site, publish=0.0), lambda *_: None)
    busy, idle = Busy(1.0, 0.99, 0.0, 0.0), Busy(1.0, 0.1, 0.0, 0.0)
    assert result._replace(connecting=idle, measuring=idle).faults() == []
    (fault,) = result._replace(connecting=idle, measuring=busy).faults()
    assert fault.startswith("while measuring, this client used 99% of a CPU")
