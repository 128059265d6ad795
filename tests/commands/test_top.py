"""`top` as a process, on a terminal and without, with a server that runs in the test."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from harness import Site, running, telemetry, until
from process import finished
from pseudo_terminal import on_a_terminal
from services import free_port

ADMIN_KEY = "9d41c7a0e85b62f3-of-the-operators"
ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"
END_OF_PAGE = "\x1b[J"

KEY = "a-key-of-the-backend"
HTTP = {"api_key": KEY}
WITH_KEY = ("--key", KEY)


def waits(site: Site) -> bool:
    """Say whether the server has data that somebody does not read."""
    slow = site.server.stats()["slow_readers"]
    assert isinstance(slow, dict)
    return bool(slow["queued_bytes"])


@pytest.mark.parametrize("end", ["q", "ctrl-c", "count", "SIGTERM", "SIGHUP"])
async def test_the_terminal_is_as_before_afterwards(end: str) -> None:
    async with running(http=HTTP) as site:
        count = ["--count", "3"] * (end == "count")
        arguments = ["top", "--url", site.http_url(""), *WITH_KEY, "--interval", "50ms", *count]
        async with on_a_terminal(*arguments) as terminal:
            modes = terminal.modes()
            await terminal.shows("CHANNEL")
            if end in {"q", "ctrl-c"}:
                terminal.press(b"q" if end == "q" else b"\x03")
            elif end != "count":
                terminal.process.send_signal(getattr(signal, end))
            code = await terminal.ended()
            expected = {"ctrl-c": 130, "SIGTERM": -signal.SIGTERM, "SIGHUP": -signal.SIGHUP}
            assert code == expected.get(end, 0)
            assert (terminal.written.count(ENTERED), terminal.written.count(LEFT)) == (1, 1)
            assert terminal.written.rstrip("\r\n").endswith(f"\x1b[?7h\x1b[?25h{LEFT}")
            assert terminal.modes() == modes
            assert "Traceback" not in terminal.written


async def test_the_page_changes_as_the_server_does() -> None:
    async with (
        running(http=HTTP) as site,
        on_a_terminal("top", "--url", site.http_url(""), *WITH_KEY, "--interval", "50ms") as terminal,
    ):
        await terminal.shows("connections  0 ")
        async with site.client() as client:
            await client.subscribe("telemetry")
            await until(lambda: site.server.publish(telemetry()))
            await terminal.shows("connections  1 ")
        terminal.press(b"x")  # a key that does nothing
        terminal.press(b"q")
        assert await terminal.ended() == 0


async def test_a_page_fits_its_terminal_and_follows_its_size() -> None:
    async with (
        running(http=HTTP) as site,
        on_a_terminal(
            "top", "--url", site.http_url(""), *WITH_KEY, "--interval", "1h", columns=100, lines=30
        ) as terminal,
    ):
        page = await terminal.shows("backplane memory")
        assert "PUBLICATIONS/s" in page
        await until(lambda: terminal.written.endswith(END_OF_PAGE))
        seen = len(terminal.written)
        terminal.resize(20, 5)
        page = await terminal.shows("out  ", since=seen)
        lines = page.replace("\r", "").split("\n")
        assert len(lines) <= 5
        assert max(map(len, lines)) <= 20
        terminal.press(b"q")
        assert await terminal.ended() == 0


async def test_ctrl_z_gives_the_terminal_back_until_it_goes_on() -> None:
    async with (
        running(http=HTTP) as site,
        on_a_terminal("top", "--url", site.http_url(""), *WITH_KEY, "--interval", "50ms") as terminal,
    ):
        modes = terminal.modes()
        await terminal.shows("CHANNEL")
        os.kill(terminal.process.pid, signal.SIGTSTP)
        await until(lambda: terminal.written.endswith(LEFT))
        assert terminal.modes() == modes
        seen = len(terminal.written)
        terminal.process.send_signal(signal.SIGCONT)
        await terminal.shows("CHANNEL", since=seen)
        assert terminal.modes() != modes
        terminal.press(b"q")
        assert await terminal.ended() == 0


async def test_a_server_that_goes_is_told_with_what_was_seen_last() -> None:
    async with (
        running(http=HTTP) as site,
        on_a_terminal("top", "--url", site.http_url(""), *WITH_KEY, "--interval", "50ms") as terminal,
    ):
        await terminal.shows("CHANNEL")
        await site.server.stop()
        seen = len(terminal.written)
        await terminal.shows("Connection refused", since=seen)
        await terminal.shows("CHANNEL", since=seen)
        terminal.press(b"q")
        assert await terminal.ended() == 0


async def test_a_dumb_terminal_gets_lines() -> None:
    async with (
        running(http=HTTP) as site,
        on_a_terminal("top", "--url", site.http_url(""), *WITH_KEY, "--count", "1", TERM="dumb") as terminal,
    ):
        assert await terminal.ended() == 0
        assert "\x1b" not in terminal.written
        assert "connections 0" in terminal.written


async def test_lines_and_json_when_piped() -> None:
    async with running(http=HTTP) as site:
        arguments = ("top", "--url", site.http_url(""), *WITH_KEY, "--interval", "10ms", "--count", "3")
        code, out, err = await finished(*arguments)
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert len(lines) == 3
        assert all(re.fullmatch(r"\d\d:\d\d:\d\d  connections 0  in .*  answered in [\d.]+ ms", line) for line in lines)
        code, out, _ = await finished(*arguments, "--json")
        looks = [json.loads(line) for line in out.splitlines()]
        assert [look["figures"]["sent_per_second"] for look in looks] == [None, 0, 0]
        assert looks[-1]["stats"]["uptime"] > 0


async def test_administrators_see_who_does_not_read() -> None:
    async with (
        running(http={"api_key": "k", "admin_key": ADMIN_KEY}) as site,
        site.client(user="mallory"),
        site.client(user="bob") as client,
    ):
        await client.subscribe("telemetry")
        client.connection.transport.pause_reading()
        text = "x" * 1000
        await until(lambda: site.server.publish(telemetry(**{f"{n}": text for n in range(30)})) and waits(site))
        arguments = ("top", "--url", site.http_url(""), "--count", "1", "--key")
        _, out, _ = await finished(*arguments, ADMIN_KEY, "--json")
        listed = json.loads(out)["connections"]
        assert [one["user"] for one in listed] == ["bob", "mallory"]
        assert listed[0]["queued_bytes"] > 0
        async with on_a_terminal(*arguments[:3], "--key", ADMIN_KEY, "--interval", "1h") as terminal:
            page = await terminal.shows("backplane memory")
            assert "SLOWEST READERS" in page
            assert re.search(r"\bbob +127\.0\.0\.1 +\d+ s +[\d.]+ (B|KiB|MiB) +[\d,.]+", page)
            assert "mallory" not in page
        _, out, _ = await finished(*arguments, "k", "--json")
        assert json.loads(out)["connections"] is None


async def test_who_may_not_look() -> None:
    async with running(http=HTTP) as site:
        code, out, err = await finished("top", "--url", site.http_url(""), "--key", "wrong", "--count", "1")
        assert (code, out, "401 Unauthorized" in err) == (1, "", True)
        code, _, err = await finished("top", "--url", site.url("", scheme="http"), "--count", "1")
        assert code == 1
    code, _, err = await finished("top", "--url", f"http://127.0.0.1:{free_port()}")
    assert (code, "Connection refused" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--interval", "0"], "argument --interval: must be above 0"),
        (["--interval", "soon"], "argument --interval: a duration is"),
        (["--count", "0"], "argument --count: must be at least 1"),
        (["--url", "x"], "argument --url: must be like http://"),
    ],
)
async def test_faults(arguments: list[str], told: str) -> None:
    code, out, err = await finished("top", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"valtronics-fast: {told}")
