from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import orjson
import pytest

from command_line import exit_code, faults, no_variables
from valtronics_fast.commands.parsing import EXIT_OK
from valtronics_fast.config import Config
from valtronics_fast.config_schema import make_schema

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["no_variables"]

pytestmark = pytest.mark.usefixtures("no_variables")

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert exit_code("print-config", *arguments) == EXIT_OK
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize("arguments", [[], ["--format", "toml"]])
def test_toml_shows_every_origin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    path, secret = tmp_path / "server.toml", tmp_path / "secret"
    path.write_text("[limits]\n\nfragments = 5\n")
    secret.write_text(f"{SECRET}\n")
    monkeypatch.setenv("VFAST_AUTH__SECRET_FILE", str(secret))
    monkeypatch.setenv("VFAST_HTTP__PORT", "9001")
    monkeypatch.setenv("WS_HEARTBEAT_INTERVAL", "30")
    text = printed(capsys, "--config", str(path), "--port", "9000", *arguments)
    for line in (
        "port = 9000  # flag --port",
        "port = 9001  # variable VFAST_HTTP__PORT",
        f"fragments = 5  # {path}:3 [limits] fragments",
        'ping_interval = "30s"  # alias WS_HEARTBEAT_INTERVAL',
        f"# secret is set, but not shown  # secret file {secret} (VFAST_AUTH__SECRET_FILE)",
        'host = "127.0.0.1"  # default',
    ):
        assert f"\n{line}\n" in text
    assert SECRET not in text
    assert Config.load(tomllib.loads(text), environ={}).limits.fragments == 5


def test_env(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--format", "env", "--port", "9000")
    assert "\n# flag --port\nVFAST_SERVER__PORT=9000\n" in text


def test_the_schema_needs_no_settings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFAST_SERVER__PORT", "x")
    assert orjson.loads(printed(capsys, "--format", "schema")) == make_schema()


def test_with_faults_nothing_is_printed_but_they(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "changeme")
    (fault,) = faults(capsys, "print-config")
    assert fault.startswith("alias SECRET_KEY: auth.secret must be random")


def test_an_unknown_format(capsys: pytest.CaptureFixture[str]) -> None:
    (fault,) = faults(capsys, "print-config", "--format", "yaml")
    assert fault.startswith("argument --format: invalid choice: 'yaml'")
