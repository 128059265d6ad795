"""Workers that hang are noticed, ended and replaced; those that only have no CPU are not."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from harness import telemetry
from workers.processes import kill, one_on_each, processes

if TYPE_CHECKING:
    from pathlib import Path

# Python imports it at the start of each process: a signal then makes an endless loop in the event loop's thread.
LOOP = """
import signal

def hang(*_):
    while True:
        pass

signal.signal(signal.SIGUSR1, hang)
"""
TIMEOUT = {"VFAST_SERVER__WORKER_TIMEOUT": "1s"}


@pytest.mark.parametrize(("number", "end"), [(signal.SIGSTOP, "signal 9"), (signal.SIGUSR1, "signal 6")])
async def test_a_worker_that_hangs_is_replaced_and_the_others_do_not_notice(
    number: signal.Signals, end: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(LOOP)
    async with processes(PYTHONPATH=str(tmp_path), **TIMEOUT) as site, AsyncExitStack() as stack:
        clients = await one_on_each(site, stack)
        for client in clients.values():
            await client.subscribe("telemetry", device_id=1)
        pids = await site.workers()
        kill(pids["0"], number)
        assert (await clients["0"].closed())[0] == 1006
        await site.replaced(pids["0"])
        again = await site.all_there()
        assert again["1"] == pids["1"]
        await site.publish(telemetry(1, n=5))
        assert (await clients["1"].receive())["telemetry"]["n"]["value"] == 5
        site.supervisor.terminate()
        code, log = await site.ended()
    assert code == 0
    (line,) = (line for line in log.splitlines() if "a worker hangs" in line)
    assert str(pids["0"]) in line
    assert end in log
    assert ("in hang" in log) == (number == signal.SIGUSR1)  # where it hung, as far as it could say so


async def test_a_worker_that_stands_still_for_less_goes_on() -> None:
    async with processes() as site:
        pids = await site.workers()
        kill(pids["1"], signal.SIGSTOP)
        await asyncio.sleep(2)  # nobody is asked, for that could be the one that is stopped
        kill(pids["1"], signal.SIGCONT)
        assert await site.all_there() == pids


async def test_with_zero_nobody_is_watched() -> None:
    async with processes(VFAST_SERVER__WORKER_TIMEOUT="0") as site:
        pids = await site.workers()
        kill(pids["1"], signal.SIGSTOP)
        await asyncio.sleep(3)
        kill(pids["1"], signal.SIGCONT)
        assert await site.all_there() == pids


async def test_a_supervisor_that_stood_still_does_not_blame_its_workers() -> None:
    async with processes(**TIMEOUT) as site:
        pids = await site.workers()
        for each in (site.supervisor.pid, *pids.values()):  # as when a machine is suspended
            kill(each, signal.SIGSTOP)
        await asyncio.sleep(3)
        for each in (site.supervisor.pid, *pids.values()):
            kill(each, signal.SIGCONT)
        assert await site.all_there() == pids
        assert (await site.stats())["supervisor"]["starts"] == {"0": 1, "1": 1}


async def test_a_worker_that_hangs_while_it_is_started(tmp_path: Path) -> None:
    """The first one ends the start; a later one is tried again."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import pathlib, sys, time\nif 'valtronics_fast.workers.worker' in ' '.join(sys.orig_argv):\n"
        f"    flag = pathlib.Path({str(tmp_path / 'hang')!r})\n    while flag.exists(): time.sleep(0.1)\n"
    )
    async with processes(PYTHONPATH=str(tmp_path), **TIMEOUT) as site:
        pids = await site.workers()
        (tmp_path / "hang").touch()
        kill(pids["1"])
        await site.seen(lambda stats: stats["supervisor"]["starts"]["1"] >= 3)
        (tmp_path / "hang").unlink()
        await site.replaced(pids["1"])

