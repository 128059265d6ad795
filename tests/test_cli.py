from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import jwt
import pytest

from valtronics_fast.cli import EXIT_CONFIG, EXIT_OK, main
from valtronics_fast.version import version

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out."""
    for name in list(os.environ):
        if name.startswith(("VFAST_", "VALTRONICS_")):
            monkeypatch.delenv(name)


def exit_code(*arguments: str) -> int:
    """Run the command line; argparse ends by SystemExit."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


def faults(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """Run a command line that is refused, and return what it tells."""
    assert exit_code(*arguments) == EXIT_CONFIG
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert all(line.startswith("valtronics-fast: ") for line in lines)
    return [line.removeprefix("valtronics-fast: ") for line in lines]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["serve", "--help"], ["--demo", "--help"]])
def test_help_names_flags_examples_and_exit_codes(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert exit_code(*arguments) == EXIT_OK
    text = capsys.readouterr().out
    flags = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", text, re.MULTILINE))
    assert flags == {
        "--help", "--version", "--config", "--host", "--port", "--http-host", "--http-port", "--demo",
        "--fd", "--http-fd",
        "--log-level",
        "--workers",
    }  # fmt: skip
    assert "examples:" in text
    assert "exit codes:" in text
    assert "valtronics-fast token --sub" in text
    assert "valtronics-fast subscribe [CHANNEL ...]" in text


def test_help_of_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("token", "--help") == EXIT_OK
    text = capsys.readouterr().out
    for flag in ("--sub", "--channels", "--devices", "--publish", "--min-interval", "--expires", "--config"):
        assert flag in text


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


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == EXIT_OK
    assert capsys.readouterr().out == f"valtronics-fast {version()}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--prot", "5"], "unrecognized arguments: --prot 5"),
        (["sevre"], "unrecognized arguments: sevre"),
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
    assert [line.split(":")[0] for line in told] == [
        f"{path} [server] port",
        f"{path} [sever]",
        "variable VFAST_AUTH_SECRET",
        "variable VFAST_AUTH__TIMEOUT",
        "flag --http-port",
        "flag --log-level",
    ]
    assert SECRET not in "".join(told)


def test_a_fault_is_one_line_whatever_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    (fault,) = faults(capsys, "--config", "none\nvaltronics-fast: forged\x1b.toml")
    assert fault.startswith("none\\nvaltronics-fast: forged\\x1b.toml: cannot be read")


def minted(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert exit_code("token", *arguments) == EXIT_OK
    captured = capsys.readouterr()
    assert captured.err == ""
    claims = jwt.decode(captured.out.removesuffix("\n"), SECRET, ["HS256"], audience="dashboards")
    claims.pop("iat")
    assert isinstance(claims, dict)
    return claims


@pytest.fixture
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFAST_AUTH__SECRET", SECRET)
    monkeypatch.setenv("VFAST_AUTH__AUDIENCE", "dashboards")


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize(
    ("arguments", "claims"),
    [
        ([], {}),
        (["--channels", "telemetry, alerts"], {"channels": ["telemetry", "alerts"]}),
        (["--devices", "*"], {"devices": "*"}),
        (["--devices", "1,2,pump-3"], {"devices": [1, 2, "pump-3"]}),
        (["--publish"], {"publish": True}),
        (["--publish", "telemetry"], {"publish": ["telemetry"]}),
        (["--publish", "--devices", "1"], {"publish": True, "devices": [1]}),
        (["--min-interval", "500ms"], {"min_interval": 0.5}),
    ],
)
def test_a_token_is_printed(
    capsys: pytest.CaptureFixture[str], arguments: list[str], claims: dict[str, object]
) -> None:
    found = minted(capsys, "--sub", "alice", *arguments)
    assert isinstance(found.pop("exp"), int)
    assert found == {"sub": "alice", "aud": "dashboards", **claims}


@pytest.mark.usefixtures("_secret")
def test_a_token_lives_as_long_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    lifetimes = []
    for expires in ([], ["--expires", "30m"], ["--expires", "8h"], ["--expires", "90"]):
        assert exit_code("token", "--sub", "alice", *expires) == EXIT_OK
        claims = jwt.decode(capsys.readouterr().out.strip(), options={"verify_signature": False})
        lifetimes.append(claims["exp"] - claims["iat"])
    assert lifetimes == [3600, 1800, 28800, 90]


def test_a_token_is_signed_with_the_secret_of_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text(f'[auth]\nsecret = "{SECRET}"\naudience = "dashboards"\n')
    assert minted(capsys, "--sub", "alice", "--config", str(path))["sub"] == "alice"


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--channels", "alarms"], "channels: must be of telemetry, alerts, devices, system, not 'alarms'"),
        (["--channels", ""], "channels: must be of telemetry, alerts, devices, system, not nothing"),
        (["--publish", ","], "publish: must be of telemetry, alerts, devices, system, not nothing"),
        (["--devices", ""], 'devices: must be "*" or 1 to 10000 ids, not 0'),
        (
            ["--expires", "soon"],
            "expires: a duration is 500ms, 5s, 10m, 1h or a number of seconds, not 'soon'",
        ),
        (["--expires", "0"], "expires: must be above 0 and at most ten years"),
        (["--sub", ""], "sub: must be 1 to 256 bytes, all printable"),
    ],
)
def test_faults_of_a_token(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert faults(capsys, "token", "--sub", "alice", *arguments) == [f"--{told}"]


def test_without_a_secret_there_is_no_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (fault,) = faults(capsys, "token", "--sub", "a")
    assert fault.startswith("auth.secret is not set, so there is nothing to sign a token with: ")
    assert "VFAST_AUTH__SECRET" in fault
    monkeypatch.setenv("VFAST_AUTH__ALGORITHMS", "ES256")
    monkeypatch.setenv("VFAST_AUTH__JWKS_URL", "https://id.example/keys")
    (fault,) = faults(capsys, "token", "--sub", "a")
    assert fault.startswith("auth.algorithms has ES256: ")


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
