from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from command_line import faults, no_variables

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["no_variables"]

pytestmark = pytest.mark.usefixtures("no_variables")

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--prot", "5"], "unrecognized arguments: --prot 5"),
        (["sevre"], "there is no command 'sevre'; did you mean serve?"),
        (["gibberish"], "there is no command 'gibberish' ("),
        (["--por", "5"], "unrecognized arguments: --por 5"),
        (["--port"], "argument --port: expected one argument"),
        (["token"], "the following arguments are required: --sub"),
        (["token", "--sub", "a", "--port", "5"], "unrecognized arguments: --port 5"),
        (["--port", "5", "token", "--sub", "a"], "unrecognized arguments: token --sub a"),
        (["serve", "--sub", "a"], "unrecognized arguments: --sub a"),
        (["subscribe", "alarms"], "argument CHANNEL: must be of telemetry, alerts, devices, system, not 'alarms'"),
        (["subscribe"], "argument --token: must be a token"),
        (["subscribe", "--token", ""], "argument --token: must be a token"),
        (["subscribe", "--token", "secret token"], "argument --token: must be a token"),
        (["subscribe", "--token", "x", "--count", "many"], "argument --count: invalid int value: 'many'"),
        (["subscribe", "--token", "x", "--count", "0"], "argument --count: must be at least 1"),
        (["subscribe", "alerts", "--metric", "a"], "argument --metric: is for telemetry, system"),
        (["subscribe", "telemetry", "--severity", "info"], "argument --severity: is for alerts"),
        (["subscribe", "system", "--status", "offline"], "argument --status: is for devices"),
        (["subscribe", "system", "--device", "1"], "argument --device: is for telemetry, alerts, devices"),
        (["subscribe", "--device", "\udcff"], "argument --device: must be printable"),
        (["subscribe", "--token", "x", "--url", "http://x/ws"], "argument --url: must be like ws://"),
        (["subscribe", "--token", "x", "--url", "ws:///ws"], "argument --url: must be like ws://"),
        (["subscribe", "--token", "x", "--url", "ws://x:99999/ws"], "argument --url: must be like ws://"),
        (["subscribe", "--token", "x", "--url", "ws://x/\udcff"], "argument --url: must be like ws://"),
    ],
)
def test_mistakes_on_the_command_line(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    (fault,) = faults(capsys, *arguments)
    assert fault.startswith(told)
    assert "--help" in fault
    assert "secret" not in fault


def test_every_fault_of_the_configuration_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "server.toml"
    path.write_text("[server]\nport = 'x'\n[sever]\n")
    monkeypatch.setenv("VFAST_AUTH__TIMEOUT", "soon")
    monkeypatch.setenv("VFAST_AUTH_SECRET", SECRET)
    told = faults(capsys, "--config", str(path), "--http-port", "99999", "--log-level", "loud")
    assert [line.split(": ")[0] for line in told] == [
        f"{path}:2 [server] port",
        f"{path}:3 [sever]",
        "variable VFAST_AUTH_SECRET",
        "variable VFAST_AUTH__TIMEOUT",
        "flag --http-port",
        "flag --log-level",
    ]
    assert SECRET not in "".join(told)


def test_a_fault_is_one_line_whatever_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    (fault,) = faults(capsys, "--config", "none\nvaltronics-fast: forged\x1b.toml")
    assert fault.startswith("none\\nvaltronics-fast: forged\\x1b.toml: cannot be read")


@pytest.mark.parametrize("output", ["| true", "| head -n 1", ">&-"])
@pytest.mark.parametrize("command", ["serve --version", "schema", "token --sub a"])
def test_an_output_that_nobody_reads(command: str, output: str) -> None:
    line = f"set -o pipefail; {sys.executable} -m valtronics_fast {command} {output}"
    environment = {**os.environ, "VFAST_AUTH__SECRET": SECRET}
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, env=environment)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--prot"], 2, "unrecognized arguments: --prot"),
        (["subscribe", "--prot"], 2, "unrecognized arguments: --prot"),
        (["subscribe", "--help"], 0, ""),
    ],
)
def test_mistakes_and_help_load_no_server(arguments: list[str], code: int, told: str) -> None:
    """Loading aiohttp, uvloop and cryptography takes several times as long as an answer may."""
    program = (
        "import sys, runpy\n"
        f"sys.argv = ['valtronics-fast', *{arguments!r}]\n"
        "try: runpy.run_module('valtronics_fast', run_name='__main__')\n"
        f"except SystemExit as ended: assert ended.code == {code}\n"
        "print(*sorted({'aiohttp', 'asyncio', 'uvloop', 'jwt', 'cryptography', 'picows'} & sys.modules.keys()))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == ""
    assert told in result.stderr
    assert "Traceback" not in result.stderr
