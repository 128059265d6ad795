"""Workers as processes: started, connected, killed, stopped, started again."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from harness import Site, configuration, http, telemetry, until
from services import free_port
from valtronics_fast.errors import ConfigError
from valtronics_fast.inherited import HTTP, WEBSOCKET
from valtronics_fast.workers import supervisor as module
from valtronics_fast.workers.supervisor import Supervisor
from workers.processes import kill, launch, on_worker, one_on_each, processes, runs

if TYPE_CHECKING:
    from pathlib import Path

KEY = "the-operators-own-key-0123456789ab"


async def test_workers_serve_as_one() -> None:
    async with processes() as site, AsyncExitStack() as stack:
        clients = await one_on_each(site, stack)
        for client in clients.values():
            await client.subscribe("telemetry")
        for number in range(20):  # each request may come to another worker
            await site.publish(telemetry(1, n=number))
        orders = []
        for client in clients.values():
            orders.append([(await client.receive())["telemetry"]["n"]["value"] for _ in range(20)])
            await client.nothing_more()
        assert orders[0] == orders[1] == list(range(20))
        assert (await http("GET", site.http_url("/health/ready")))[0] == 200


async def test_an_order_to_drain_ends_all_in_order() -> None:
    config = configuration(http={"admin_key": KEY}, server={"drain_window": 0}, logging={"level": "error"})
    async with Supervisor(config, 2) as supervisor:
        site = Site(supervisor)  # type: ignore[arg-type]
        async with site.client() as one, site.client() as two:
            status, _, _ = await http("POST", site.http_url("/api/v1/drain"), headers={"X-API-Key": KEY})
            assert status == 202
            assert (await one.closed())[0] == (await two.closed())[0] == 1012
        await supervisor.drain()
        assert supervisor.stopping.is_set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_the_supervisor_ends_all_in_order(number: signal.Signals) -> None:
    async with processes() as site, AsyncExitStack() as stack:
        clients = await one_on_each(site, stack)
        pids = await site.workers()
        site.supervisor.send_signal(number)
        for client in clients.values():
            assert (await client.closed())[0] in {1001, 1012}
        code, log = await site.ended()
        assert code == 0
        assert "killed" not in log
        assert not any(map(runs, pids.values()))


async def test_signals_to_a_worker_are_the_supervisors_business() -> None:
    async with processes() as site:
        pids = await site.workers()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            kill(pids["1"], number)
        assert await site.workers() == pids


async def test_a_second_signal_ends_at_once() -> None:
    async with processes() as site:
        pids = await site.workers()
        kill(pids["1"], signal.SIGSTOP)  # it can't stop in order
        site.supervisor.send_signal(signal.SIGTERM)
        await until(lambda: not runs(pids["0"]))
        site.supervisor.send_signal(signal.SIGTERM)
        code, _ = await site.ended()
        assert code == -signal.SIGTERM
        await until(lambda: not runs(pids["1"]))


async def test_the_death_of_the_supervisor_is_that_of_its_workers() -> None:
    async with processes() as site:
        pids = await site.workers()
        kill(pids["0"], signal.SIGSTOP)
        site.supervisor.kill()
        await site.supervisor.wait()
        await until(lambda: not any(map(runs, pids.values())))


async def test_a_worker_that_is_killed_is_started_again_alone() -> None:
    async with processes() as site, AsyncExitStack() as stack:
        clients = await one_on_each(site, stack)
        for client in clients.values():
            await client.subscribe("telemetry", device_id=1)
        pids = await site.workers()
        kill(pids["0"])
        await clients["0"].closed()
        await site.replaced(pids["0"])
        again = await site.all_there()
        assert again["1"] == pids["1"]
        await site.publish(telemetry(1, n=5))
        assert (await clients["1"].receive())["telemetry"]["n"]["value"] == 5
        stats = await site.stats()
        assert stats["supervisor"]["starts"] == {"0": 2, "1": 1}
        await site.synced()
        fresh = await one_on_each(site, stack)
        await fresh["0"].send(type="subscribe", channel="telemetry", snapshot=True)
        assert (await fresh["0"].receive())["telemetry"]["n"]["value"] == 5  # it knows what was there before it
        site.supervisor.terminate()
        code, log = await site.ended()
        assert code == 0
        assert "a worker has ended" in log
        assert "signal 9" in log


@pytest.mark.parametrize(("stable", "delays"), [(3600.0, [0.01, 0.02, 0.03, 0.03]), (0.0, [0.0, 0.0])])
async def test_a_worker_that_ends_again_and_again_is_started_ever_later(
    stable: float, delays: list[float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "STABLE", stable)
    monkeypatch.setattr(module, "BACKOFF", (0.01, 0.03))
    async with Supervisor(configuration(logging={"level": "error"}), 2) as supervisor:
        child = supervisor.children[1]
        for number in range(len(delays)):
            kill(child.pid)
            await until(lambda: child.starts == number + 2 and child.ready.is_set())  # noqa: B023
    told = [record.fields for record in caplog.records if record.message == "a worker has ended"]  # type: ignore[attr-defined]
    assert [each["restart_in"] for each in told] == delays
    assert {each["worker"] for each in told} == {1}


async def test_a_worker_that_stands_still_does_not_hinder_the_others() -> None:
    small = {"VFAST_BACKPLANE__QUEUE": "256KiB", "VFAST_BACKPLANE__SIZE": "1MiB", "VFAST_SERVER__WORKER_TIMEOUT": "0"}
    async with processes(VFAST_LIMITS__MESSAGES_PER_SECOND="0", **small) as site, AsyncExitStack() as stack:
        clients = await one_on_each(site, stack)
        for client in clients.values():
            await client.subscribe("telemetry", device_id=1)
        pids = await site.workers()
        stopped = pids["1"]
        publisher = await on_worker(site, stack, "0", user="publisher", publish=True)
        kill(stopped, signal.SIGSTOP)
        try:
            for number in range(2000):
                await publisher.send(type="publish", message=telemetry(1, n=number, pad="x" * 700))
                assert (await clients["0"].receive())["telemetry"]["n"]["value"] == number
        finally:
            kill(stopped, signal.SIGCONT)
        last = 0
        while last < 1999:  # what is missing between is told by a resync, and the newest value follows it
            message = await clients["1"].receive()
            if message["type"] == "telemetry_update":
                last = message["telemetry"]["n"]["value"]


async def test_there_is_one_of_what_is_one(tmp_path: object) -> None:
    async with processes("--demo", VFAST_SYSTEM__INTERVAL="1s") as site:
        stats = await site.stats()
        assert stats["producers"].keys() == {"system", "simulated"}
        async with site.client() as client:
            await client.subscribe("system")
            assert "active_connections" in (await client.receive())["metrics"]
        pids = await site.workers()
        kill(pids["0"])
        await site.replaced(pids["0"])
        assert (await site.stats())["producers"].keys() == {"system", "simulated"}


async def test_sockets_that_were_opened_elsewhere_are_shared_and_kept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        settings = configuration(logging={"level": "error"})
        async with Supervisor(settings, 2, {WEBSOCKET: [first], HTTP: [second]}) as supervisor:
            assert supervisor.port == first.getsockname()[1]
            assert supervisor.http_port == second.getsockname()[1]
            site = Site(supervisor, "127.0.0.1")  # type: ignore[arg-type]
            async with site.client(), site.client():
                pids = {child.pid for child in supervisor.children}
                kill(supervisor.children[0].pid)
                await until(lambda: supervisor.children[0].starts == 2 and supervisor.children[0].ready.is_set())
                assert len(pids & {child.pid for child in supervisor.children}) == 1
            async with site.client():
                pass


async def test_a_port_that_is_taken_is_told_once(tmp_path: object) -> None:
    async with processes() as site:
        process = await launch(VFAST_SERVER__PORT=str(site.server.port), VFAST_HTTP__PORT=str(free_port()))
        out, err = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, out) == (1, b"")
        assert err.decode().count("cannot listen on") == 1
        assert b"--port" in err


async def test_what_keeps_the_workers_from_starting_is_told_once(tmp_path: object) -> None:
    path = f"{tmp_path}/public.pem"
    with open(path, "w") as file:  # noqa: PTH123
        file.write("no key")
    process = await launch(VFAST_AUTH__SECRET="", VFAST_AUTH__PUBLIC_KEY_FILE=path, VFAST_AUTH__ALGORITHMS="RS256")
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out) == (2, b"")
    assert err.count(b"auth.public_key_file") == 1
    assert b"Traceback" not in err


async def test_a_worker_that_never_served_is_not_started_again(tmp_path: Path) -> None:
    """The fault is one that only a worker can see: it is the one that needs the certificate."""
    file = tmp_path / "none.pem"
    file.write_text("no certificate")
    files = {"certfile": str(file), "keyfile": str(file)}
    supervisor = Supervisor(configuration(logging={"level": "error"}, tls=files), 2)
    with pytest.raises(ConfigError, match=r"tls\.certfile"):
        await supervisor.start()
    assert max(child.starts for child in supervisor.children) == 1


async def test_as_many_as_there_are_cpus() -> None:
    process = await launch(VFAST_SERVER__WORKERS="0", VFAST_LOGGING__FORMAT="json")
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readuntil(b"api/v1/stats\n"), 30)
    process.terminate()
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert b'"message":"started"' in err
