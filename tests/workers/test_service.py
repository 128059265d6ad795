"""A supervisor and its workers as one service: what is reloaded, and how they go.

What systemd hears and passes on: test_notify.py, integration/test_socket_activation.py.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from harness import TIMEOUT, Site, configuration, http, telemetry, until
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.errors import ConfigError
from valtronics_fast.workers import frames
from valtronics_fast.workers import supervisor as module
from valtronics_fast.workers.port import WorkerPort
from valtronics_fast.workers.settings import encode
from valtronics_fast.workers.supervisor import Supervisor
from workers.machine import sites
from workers.processes import kill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from valtronics_fast.config import Config

KEY = "the-operators-own-key-0123456789ab"
OTHER_KEY = "another-key-of-the-operators-01234"
ATTEMPTS = 20  # new connections, so that each worker has some


def settings(key: str, **sections: Any) -> Config:
    merged = {"http": {"admin_key": key}, "logging": {"level": "error"}} | sections
    return configuration(**merged)


@asynccontextmanager
async def supervised(config: Config) -> AsyncIterator[tuple[Supervisor, Site]]:
    async with Supervisor(config, 2) as supervisor:
        yield supervisor, Site(supervisor)  # type: ignore[arg-type]


async def keys_accepted(site: Site) -> set[str]:
    """Return which of the keys the workers accept, whichever is asked."""
    found = set()
    for key in (KEY, OTHER_KEY):
        for _ in range(ATTEMPTS):
            status, _, _ = await http(
                "POST", site.http_url("/api/v1/rebalance"), json={"count": 1}, headers={"X-API-Key": key}
            )
            if status == 202:
                found.add(key)
            else:
                assert status in {401, 403}
    return found


async def test_all_workers_take_a_new_configuration() -> None:
    async with supervised(settings(KEY)) as (supervisor, site):
        assert await keys_accepted(site) == {KEY}
        async with site.client() as client:
            assert await supervisor.reload(settings(OTHER_KEY)) == []
            assert await keys_accepted(site) == {OTHER_KEY}
            await client.closed()  # it was moved by the first order of the new key


async def test_what_workers_share_keeps_its_size(caplog: pytest.LogCaptureFixture) -> None:
    async with supervised(settings(KEY)) as (supervisor, site):
        larger = settings(OTHER_KEY, limits={"connections": 10**6, "addresses": 7}, server={"ping_interval": 3})
        needs_restart = await supervisor.reload(larger)
        assert sorted(needs_restart) == ["limits.addresses", "limits.connections", "server.ping_interval"]
        assert await keys_accepted(site) == {OTHER_KEY}
        assert supervisor.config.limits.connections == 1000
    assert not caplog.records


async def test_a_fault_changes_nothing_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "public.pem"
    path.write_text("no key")
    async with supervised(settings(KEY)) as (supervisor, site):
        faulty = settings(OTHER_KEY, auth={"secret": "", "public_key_file": str(path), "algorithms": ["RS256"]})
        with pytest.raises(ConfigError, match="public_key_file"):
            await supervisor.reload(faulty)
        assert await keys_accepted(site) == {KEY}


async def test_a_worker_that_is_being_started_takes_it_too() -> None:
    async with supervised(settings(KEY)) as (supervisor, site):
        child = supervisor.children[1]
        kill(child.pid)
        await until(lambda: child.starts == 2)
        assert await supervisor.reload(settings(OTHER_KEY)) == []
        await until(child.ready.is_set)
        async with asyncio.timeout(TIMEOUT):
            while await keys_accepted(site) != {OTHER_KEY}:
                pass


async def test_what_one_worker_can_not_take_nobody_does(caplog: pytest.LogCaptureFixture) -> None:
    """As if one found something else than the supervisor has: then nobody takes it."""
    async with supervised(settings(KEY)) as (supervisor, site):
        put = WorkerPort.put

        def put_other(port: WorkerPort, data: bytes) -> None:
            if data[frames.HEAD.size - 1] == frames.RELOAD and port is supervisor.children[1].port:
                data = frames.frame(frames.RELOAD, encode(settings(OTHER_KEY, auth={"secret": ""})))
            put(port, data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WorkerPort, "put", put_other)
            with pytest.raises(ConfigError, match=r"worker 1: auth\.secret must stay"):
                await supervisor.reload(settings(OTHER_KEY))
        assert await keys_accepted(site) == {KEY}
        assert supervisor.config.http.admin_key == KEY
        assert await supervisor.reload(settings(OTHER_KEY)) == []
        assert await keys_accepted(site) == {OTHER_KEY}
    assert not caplog.records


async def test_a_worker_that_stands_still_takes_it_when_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.5)
    async with supervised(settings(KEY, auth={"timeout": 0.5})) as (supervisor, site):
        pid = supervisor.children[1].pid
        kill(pid, signal.SIGSTOP)
        assert await supervisor.reload(settings(OTHER_KEY, auth={"timeout": 0.5})) == []
        kill(pid, signal.SIGCONT)
        async with asyncio.timeout(TIMEOUT):
            while await keys_accepted(site) != {OTHER_KEY}:
                pass
        assert supervisor.children[1].starts == 1


async def test_a_worker_that_can_not_take_what_all_others_have_is_started_again() -> None:
    async with supervised(settings(KEY)) as (supervisor, _):
        child = supervisor.children[1]
        assert child.port is not None
        child.port.put(frames.frame(frames.RELOAD, encode(settings(OTHER_KEY, auth={"secret": ""}))))
        child.port.put(frames.frame(frames.AGREED, b"\1"))
        await until(lambda: child.starts == 2 and child.ready.is_set())


async def test_a_worker_without_clients_takes_data_in_for_the_others_while_they_are_drained() -> None:
    async with sites(server={"drain_window": 3600.0}) as (_, (one, two)), two.client() as client:
        await client.subscribe("telemetry", device_id=1)
        draining = asyncio.ensure_future(one.server.drain())
        await until(lambda: not one.server.health()["ready"])
        headers = {"Authorization": f"Bearer {one.token(publish=True)}"}
        status, answer, _ = await http("POST", one.http_url("/api/v1/publish"), json=telemetry(1, n=7), headers=headers)
        assert (status, answer["accepted"]) == (200, 1)
        assert (await client.receive())["telemetry"]["n"]["value"] == 7
        assert not draining.done()
        async with asyncio.timeout(TIMEOUT):
            await two.server.drain()  # the last client of all need not be there for an hour
            assert (await client.closed())[0] == CloseCode.CLOSE_RESTART
            await draining
