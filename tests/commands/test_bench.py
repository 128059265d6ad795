"""`bench` as a process, with a server that runs in the test."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from harness import SECRET, running
from process import finished
from pseudo_terminal import on_a_terminal
from services import free_port
from valtronics_fast.commands.bench import EXIT_NOT_USABLE

if TYPE_CHECKING:
    from pathlib import Path

MEASURED = (0, EXIT_NOT_USABLE)  # a busy machine makes the client late, which is told and is no fault of the test
HTTP = {"api_key": "k"}


async def test_made_users_connect_publish_and_get_everything() -> None:
    async with running(http=HTTP, limits={"connections_per_user": 10}) as site:
        code, out, err = await finished(
            "bench", "--url", site.url(), "--http-url", site.http_url(""), "--key", "k", "--connections", "30",
            "--users", "3", "--ramp", "300ms", "--duration", "500ms", "--publish", "100", "--json",
            VFAST_AUTH__SECRET=SECRET,
        )  # fmt: skip
        assert code in MEASURED, err
        found = json.loads(out)
        assert (found["connections"]["ready"], found["errors"]) == (30, {})
        assert found["published"]["received"] == found["published"]["matched"] > 0
        assert found["usable"] == (code == 0)
        assert err.splitlines() == ["valtronics-fast: connecting (30 clients)", "valtronics-fast: measuring (0.5 s)"]


async def test_a_file_of_tokens_and_a_report_for_people(tmp_path: Path) -> None:
    async with running() as site:
        tokens = tmp_path / "tokens.txt"
        tokens.write_text(f"{site.token('a')}\n{site.token('b')}\n\n")
        code, out, err = await finished(
            "bench", "--url", site.url(), "--connections", "4", "--ramp", "0", "--duration", "100ms", "--quiet",
            "--tokens", str(tokens), "--channel", "alerts", "--channel", "system",
        )  # fmt: skip
        assert code in MEASURED
        assert (out.splitlines()[0].startswith("connections  4 of 4 ready"), err) == (True, "")
        assert not any(token in out + err for token in tokens.read_text().split())


async def test_who_gets_in_nowhere() -> None:
    url = f"ws://127.0.0.1:{free_port()}/ws"
    code, out, _ = await finished("bench", "--url", url, "--token", "a.b.c", "--ramp", "0", "--quiet")
    assert code == 1
    assert "     100  Connection refused" in out


async def test_what_nobody_accepts() -> None:
    async with running(http=HTTP) as site:
        code, out, _ = await finished(
            "bench", "--url", site.url(), "--http-url", site.http_url(""), "--token", site.token(),
            "--connections", "1", "--ramp", "0", "--duration", "200ms", "--publish", "50", "--quiet",
        )  # fmt: skip
        assert code == 1
        assert "publishing: HTTP 403" in out


async def test_a_bar_on_a_terminal_and_ctrl_c() -> None:
    async with (
        running() as site,
        on_a_terminal(
            "bench", "--url", site.url(), "--connections", "3", "--duration", "1h", VALTRONICS_TOKEN=site.token()
        ) as terminal,
    ):
        await terminal.shows("connecting [##############################] 3 of 3")
        await terminal.shows("measuring  [------------------------------] 0 of 3,600  0 messages/s")
        terminal.process.send_signal(signal.SIGINT)
        assert await terminal.ended() == 130
        assert "connections  3 of 3 ready" in terminal.written
        assert "It was ended before its time." in terminal.written
        assert "Traceback" not in terminal.written


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "a token is needed: --token, $VALTRONICS_TOKEN, --tokens or --users"),
        (["--token", "secret token"], "a token is needed"),
        (["--tokens", "/nonexistent"], "argument --tokens: /nonexistent cannot be read (FileNotFoundError)"),
        (["--url", "http://a"], "argument --url: must be like ws://"),
        (["--http-url", "ws://a"], "argument --http-url: must be like http://"),
        (["--connections", "0"], "argument --connections: must be 1 to 10000"),
        (["--connections", "10001"], "argument --connections: must be 1 to 10000"),
        (["--devices", "0"], "argument --devices: must be 1 to 100000"),
        (["--publish", "-1"], "argument --publish: must be 0 to 100000 messages a second"),
        (["--publish", "nan"], "argument --publish: must be 0 to 100000 messages a second"),
        (["--duration", "0"], "argument --duration: must be above 0"),
        (["--ramp", "soon"], "argument --ramp: a duration is"),
        (["--channel", "weather"], "argument --channel: invalid choice: 'weather'"),
        (["--channel", "system", "--device", "1"], "argument --device: the channel system has no devices"),
        (["--users", "3"], "auth.secret is not set"),
    ],
)
async def test_faults(arguments: list[str], told: str) -> None:
    code, out, err = await finished("bench", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"valtronics-fast: {told}")
    assert "secret token" not in err
