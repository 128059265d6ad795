"""`subscribe` as a process, with a server that runs in the test."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from command_line import exit_code
from harness import TIMEOUT, Site, alert, running, telemetry, until
from services import free_port
from valtronics_fast.commands.parsing import EXIT_OK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    T = TypeVar("T")

PROGRAM = (sys.executable, "-m", "valtronics_fast", "subscribe")
NASTY = "\x1b[2J\u202e"


async def publishing(site: Site, message: dict[str, Any], task: asyncio.Task[T]) -> T:
    """Publish a message again and again until a task is done, and return its result."""

    def publish() -> bool:
        site.server.publish(message)
        return task.done()

    await until(publish)
    return task.result()


class Process:
    """A subscriber.

    Attributes:
        process: the process.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def lines(self, site: Site, count: int, message: dict[str, Any]) -> list[str]:
        """Publish a message again and again until so many lines are printed, and return them."""
        assert self.process.stdout is not None
        return await publishing(site, message, asyncio.create_task(self._read(self.process.stdout, count)))

    @staticmethod
    async def _read(stream: asyncio.StreamReader, count: int) -> list[str]:
        return [(await stream.readline()).decode() for _ in range(count)]

    async def ended(self) -> tuple[int, str, str]:
        """Wait for the end; return exit code, remaining output, and what it told."""
        out, err = await asyncio.wait_for(self.process.communicate(), TIMEOUT)
        assert self.process.returncode is not None
        assert b"Traceback" not in err
        return self.process.returncode, (out or b"").decode(), err.decode()

    async def interrupted(self) -> tuple[int, str, str]:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return await self.ended()


@asynccontextmanager
async def subscribing(
    *arguments: str, stdout: int = asyncio.subprocess.PIPE, **variables: str
) -> AsyncIterator[Process]:
    """Run a subscriber."""
    unset = ("NO_COLOR", "VALTRONICS_TOKEN", "PYTHONIOENCODING")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**environment, "TZ": "UTC", **variables},
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_what_is_piped_are_plain_lines_until_ctrl_c() -> None:
    async with running() as site:
        token = site.token()
        async with subscribing("--url", site.url(), "--token", token) as subscriber:
            message = telemetry(7, temperature={"value": 23.5, "unit": "°C", "timestamp": "2024-01-01T12:00:00Z"})
            (printed,) = await subscriber.lines(site, 1, message)
            assert printed == "12:00:00  device 7    temperature 23.5 °C\n"
            (printed,) = await subscriber.lines(site, 1, telemetry(8, **{NASTY: NASTY}))
            code, out, err = await subscriber.interrupted()
            assert "\x1b" not in printed + out
            assert (code, err) == (0, f"valtronics-fast: connected to {site.url()} as alice\n")
            assert token not in out + err


async def test_json_lines_and_a_count() -> None:
    async with running() as site:
        arguments = ("alerts", "--url", site.url(), "--json", "--count", "2")
        async with subscribing(*arguments, VALTRONICS_TOKEN=site.token()) as subscriber:
            lines = await subscriber.lines(site, 2, alert(title=f"Hot: {NASTY} 80 °C"))
            assert [json.loads(each)["title"] for each in lines] == [f"Hot: {NASTY} 80 °C"] * 2
            assert "\x1b" not in "".join(lines)
            assert (await subscriber.ended())[:2] == (0, "")


async def test_a_refused_token_ends_it_with_1_and_the_reason() -> None:
    async with running() as site, subscribing("--url", site.url(), "--token", "a.bad.token") as subscriber:
        assert await subscriber.ended() == (
            1,
            "",
            "valtronics-fast: not authenticated: invalid_token (the token is not valid)\n",
        )


async def test_without_a_server_it_ends_with_1() -> None:
    url = f"ws://127.0.0.1:{free_port()}/ws"
    async with subscribing("--url", url, "--token", "a.b.c") as subscriber:
        code, out, err = await subscriber.ended()
        assert (code, out, err) == (1, "", f"valtronics-fast: cannot connect to {url}: Connection refused\n")


async def test_it_comes_back_when_the_server_was_restarted() -> None:
    settings = {"port": free_port()}
    async with running(server=settings) as site:
        token = site.token()
        async with subscribing("--url", site.url(), "--token", token) as subscriber:
            await subscriber.lines(site, 1, telemetry(1))
            await site.server.stop()
            async with running(server=settings) as restarted:
                while "device 2" not in (await subscriber.lines(restarted, 1, telemetry(2)))[0]:
                    pass
                code, out, err = await subscriber.interrupted()
            assert (code, token in out + err) == (0, False)
            assert err.count("connected to ") == 2
            assert "1001 going_away; trying again in" in err


async def test_when_nobody_reads_any_more_it_ends() -> None:
    async with running() as site:
        reader, writer = os.pipe()
        async with subscribing("--url", site.url(), "--token", site.token(), stdout=writer) as subscriber:
            os.close(writer)
            await until(lambda: site.server.publish(telemetry()))
            os.close(reader)
            code, _, _ = await publishing(site, telemetry(), asyncio.create_task(subscriber.ended()))
            assert code == 0


async def test_an_output_that_knows_few_characters() -> None:
    async with running() as site:
        arguments = ("alerts", "--url", site.url(), "--token", site.token(), "--count", "1")
        async with subscribing(*arguments, PYTHONIOENCODING="ascii") as subscriber:
            (printed,) = await subscriber.lines(site, 1, alert(title="80 °C"))
            assert printed.endswith("80 \\xb0C\n")
            code, _, _ = await subscriber.ended()
            assert code == 0


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)])
async def test_colours_are_for_terminals(variables: dict[str, str], coloured: bool) -> None:
    async with running() as site:
        terminal, slave = pty.openpty()
        arguments = ("alerts", "--url", site.url(), "--token", site.token(), "--count", "1")
        async with subscribing(*arguments, stdout=slave, **variables) as subscriber:
            code, _, _ = await publishing(site, alert(), asyncio.create_task(subscriber.ended()))
            assert code == 0
            printed = os.read(terminal, 65536).decode()
        os.close(slave)
        os.close(terminal)
        text = re.sub(r"\x1b\[[0-9;]*m", "", printed)
        assert re.fullmatch(r"\d\d:\d\d:\d\d  device 1    CRITICAL  Hot\r\n", text)
        assert (text != printed) == coloured


def test_help_of_subscribe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALTRONICS_TOKEN", "aaa.bbb.ccc")
    assert exit_code("subscribe", "--help") == EXIT_OK
    text = capsys.readouterr().out
    flags = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", text, re.MULTILINE))
    assert flags == {
        "--help", "--url", "--token", "--device", "--metric", "--severity", "--status", "--json", "--count",
    }  # fmt: skip
    assert "examples:" in text
    assert "exit codes:" in text
    assert "aaa.bbb.ccc" not in text
