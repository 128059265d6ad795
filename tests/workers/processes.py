"""A server with workers that are processes of their own, and what tests do to them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from harness import SECRET, TIMEOUT, Site, configuration, http, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AsyncExitStack

    from harness import Client

PROGRAM = (sys.executable, "-m", "valtronics_fast")


class _Ports:
    """What a Site needs to know of a server that is not in this process."""

    def __init__(self, port: int, http_port: int) -> None:
        self.port = port
        self.http_port = http_port
        self.config = configuration()


class Processes(Site):
    """A supervisor with its workers, all of which listen on one port.

    Attributes:
        supervisor: the process.
    """

    def __init__(self, supervisor: asyncio.subprocess.Process, banner: str) -> None:
        ports = [int(found) for found in re.findall(r"(?:WebSocket|HTTP) +\w+://[^:]+:(\d+)/", banner)]
        super().__init__(_Ports(*ports[:2]))  # type: ignore[arg-type]
        self.supervisor = supervisor

    async def stats(self) -> dict[str, Any]:
        """Return the figures of all workers."""
        status, answer = await self.figures()
        assert status == 200
        return answer

    async def workers(self) -> dict[str, int]:
        """Return the process of each worker that answers, by index."""
        return {name: one["pid"] for name, one in (await self.stats())["workers"].items() if one["answered"]}

    async def all_there(self, count: int = 2) -> dict[str, int]:
        """Return the process of each worker, once all answer."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                try:
                    if len(found := await self.workers()) == count:
                        return found
                except OSError:  # this connection came to one that was ending
                    pass
                await asyncio.sleep(0.05)

    async def replaced(self, pid: int) -> None:
        """Return when another process has taken the place of one."""
        async with asyncio.timeout(TIMEOUT):
            while pid in (await self.all_there()).values():
                await asyncio.sleep(0.05)

    async def seen(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the figures, once they are so."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                with suppress(OSError, AssertionError):  # as above
                    if condition(found := await self.stats()):
                        return found
                await asyncio.sleep(0.05)

    async def synced(self) -> None:
        """Return when the workers know each other, and everything has come to all that was published."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                stats = await self.stats()
                backplane = stats["backplane"]
                if backplane["nodes"] == 1 and backplane["position"] == stats["supervisor"]["bus"]["position"]:
                    return
                await asyncio.sleep(0.05)

    async def publish(self, message: object) -> None:
        """Publish over HTTP."""
        headers = {"Authorization": f"Bearer {self.token(publish=True)}"}
        status, answer, _ = await http("POST", self.http_url("/api/v1/publish"), json=message, headers=headers)
        assert (status, answer["accepted"]) == (200, 1)

    async def ended(self) -> tuple[int, str]:
        """Wait for the end of the supervisor; return its exit code and its log."""
        async with asyncio.timeout(TIMEOUT):
            _, err = await self.supervisor.communicate()
        assert self.supervisor.returncode is not None
        return self.supervisor.returncode, err.decode()


async def one_on_each(site: Processes, stack: AsyncExitStack) -> dict[str, Client]:
    """Return a client of each worker, by index; the kernel decides where each one comes."""
    found: dict[str, Client] = {}
    while len(found) < 2:
        before = await site.stats()
        client = await stack.enter_async_context(site.client(user=f"u{before['total_connections']}"))
        after = await site.stats()
        for name, one in after["workers"].items():
            if one["connections"] > before["workers"][name]["connections"]:
                found.setdefault(name, client)
    return found


async def on_worker(site: Processes, stack: AsyncExitStack, worker: str, **claims: Any) -> Client:
    """Return a client of this worker."""
    while True:
        before = (await site.stats())["workers"][worker]["connections"]
        client = await stack.enter_async_context(site.client(**claims))
        if (await site.stats())["workers"][worker]["connections"] > before:
            return client


async def launch(*arguments: str, **variables: str) -> asyncio.subprocess.Process:
    """Start the program on free ports with the tests' secret."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VFAST_")}
    settings = {
        "VFAST_SERVER__PORT": "0",
        "VFAST_HTTP__PORT": "0",
        "VFAST_SERVER__DRAIN_WINDOW": "0",
        "VFAST_SERVER__WORKERS": "2",
        "VFAST_AUTH__SECRET": SECRET,
        "VFAST_LIMITS__CONNECTION_RATE": "0",
        "VFAST_SYSTEM__INTERVAL": "0",
        **variables,
    }
    return await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean | {name: value for name, value in settings.items() if value},
        limit=1 << 24,
    )


@asynccontextmanager
async def processes(*arguments: str, **variables: str) -> AsyncIterator[Processes]:
    """Run a supervisor with two workers, or as the settings say."""
    process = await launch(*arguments, **variables)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            banner = await process.stdout.readuntil(b"api/v1/stats\n")
        site = Processes(process, banner.decode())
        pids = list((await site.all_there(int(variables.get("VFAST_SERVER__WORKERS", "2")))).values())
        yield site
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    await until(lambda: not any(map(runs, pids)))


def runs(pid: int) -> bool:
    """Say whether a process runs, or is stopped."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process that these tests have started."""
    os.kill(pid, number)
