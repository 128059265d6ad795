from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from command_line import exit_code, faults, no_variables
from process import finished
from valtronics_fast.commands.parsing import EXIT_OK

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["no_variables"]

pytestmark = pytest.mark.usefixtures("no_variables")

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"
BAD = """\
[server]
port = 70000

[sever]
[auth]
secret = "changeme"
audiense = "x"
[security]
origins = [
  "localhost",
]
[tls]
keyfile = "/dev/null"
"""


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert exit_code("check-config", *arguments) == EXIT_OK
    text = capsys.readouterr().out
    assert "--config FILE.toml" in text
    assert "exit codes:" in text


def test_without_faults_it_says_so_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text(f"[auth]\nsecret = '{SECRET}'\n[server]\nport = 9\n")
    assert exit_code("check-config", "--config", str(path), "--http-port", "10") == EXIT_OK
    captured = capsys.readouterr()
    assert captured.err == ""
    (line,) = captured.out.splitlines()
    assert line.startswith("valtronics-fast: the configuration has no faults; 3 of ")


def test_every_fault_is_told_with_its_line_or_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "server.toml"
    path.write_text(BAD)
    monkeypatch.setenv("VFAST_SERVER__PROT", "1")
    monkeypatch.setenv("VFAST_HTTP__API_KEY_FILE", "/nowhere")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    told = faults(capsys, "check-config", "--config", str(path), "--http-port", "x")
    assert [fault.split(": ")[0].removeprefix(str(path)) for fault in told] == [
        ":2 [server] port",
        ":4 [sever]",
        ":6 [auth] secret",
        ":7 [auth] audiense",
        ":9 [security] origins",
        "secret file of VFAST_HTTP__API_KEY_FILE",
        "variable VFAST_SERVER__PROT",
        "flag --http-port",
        "alias LOG_LEVEL",
        ":13 [tls] keyfile",
    ]
    assert told[1].endswith("unknown section (did you mean server?)")
    assert told[3].endswith("unknown setting (did you mean audience?)")
    assert told[6].endswith("unknown setting (did you mean VFAST_SERVER__PORT?)")
    assert "changeme" not in "".join(told)


async def test_a_server_tells_the_same_when_it_starts(tmp_path: Path) -> None:
    path, pem = tmp_path / "server.toml", tmp_path / "cert.pem"
    pem.write_text("nothing")
    variables = {"SECRET_KEY": "changeme"}
    for content in (BAD, f"[tls]\n\ncertfile = '{pem}'\nkeyfile = '{pem}'\n", "[server\n"):
        path.write_text(content)
        checked = await finished("check-config", "--config", str(path), **variables)
        assert checked[:2] == (2, "")
        assert checked[2].startswith(f"valtronics-fast: {path}:")
        assert await finished("--config", str(path), **variables) == checked
        variables.clear()
