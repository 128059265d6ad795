"""`health` as a process, with servers that run in the test."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect

import process
from harness import running
from process import finished
from services import free_port


async def test_a_server_that_is_ready() -> None:
    async with running() as site:
        url = site.http_url("/")
        code, out, err = await finished("health", "--url", url)
        assert (code, err) == (0, "")
        status, *checks = out.splitlines()
        assert status == "ready"
        assert "  backplane: ok" in checks
        assert await finished("health", "--url", url, "--quiet") == (0, "", "")
        code, out, _ = await finished("health", "--url", url, "--json", "--strict", "--timeout", "20s")
        assert (code, json.loads(out)["status"]) == (0, "ready")


async def test_a_server_with_a_part_that_is_not_well_is_ready_but_not_strictly() -> None:
    async with running(mqtt={"url": f"mqtt://127.0.0.1:{free_port()}"}) as site:
        code, out, _ = await finished("health", "--url", site.http_url(""))
        assert (code, out.splitlines()[0]) == (0, "degraded")
        assert "  mqtt: " in out
        assert (await finished("health", "--url", site.http_url(""), "--strict"))[0] == 1


async def test_a_server_that_drains_is_not_ready() -> None:
    async with process.running("--demo", VFAST_SERVER__DRAIN_WINDOW="60s") as server:
        url, token = process.pasted(server.banner, "websocat")
        headers = {"Authorization": f"Bearer {token}"}
        async with AsyncExitStack() as stack:
            for _ in range(3):  # the first is closed at once, the next one later
                await stack.enter_async_context(connect(url, additional_headers=headers))
            server.tell(signal.SIGTERM)
            await server.logs("draining")
            code, out, err = await finished("health", "--url", server.http)
            assert (code, out.partition("\n")[0], err) == (1, "draining", "")


async def test_what_does_not_answer_or_is_something_else() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert await finished("health", "--url", url) == (1, "", f"valtronics-fast: {url}: Connection refused\n")
    async with running() as site:
        websocket = site.url("", scheme="http")
        code, out, err = await finished("health", "--url", websocket)
        assert (code, out) == (1, "")
        assert err.startswith("valtronics-fast: ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--timeout", "soon"], "argument --timeout: a duration is 500ms,"),
        (["--timeout", "0"], "argument --timeout: must be above 0"),
        (["--url", "ws://127.0.0.1:8000/ws"], "argument --url: must be like http://"),
    ],
)
async def test_faults(arguments: list[str], told: str) -> None:
    code, out, err = await finished("health", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"valtronics-fast: {told}")


def test_it_loads_little() -> None:
    """A container runs it every few seconds."""
    program = (
        "import sys\n"
        "from valtronics_fast.cli import main\n"
        f"assert main(['health', '--url', 'http://127.0.0.1:{free_port()}']) == 1\n"
        "heavy = {'aiohttp', 'asyncio', 'uvloop', 'jwt', 'cryptography', 'picows', 'orjson', 'msgspec', 'logging'}\n"
        "print(*sorted(heavy & sys.modules.keys()))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout == "\n", result.stderr
