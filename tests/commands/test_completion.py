"""The script of `completion` in a real bash."""

from __future__ import annotations

import subprocess
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import pytest

from command_line import exit_code, faults
from valtronics_fast.cli import COMMANDS, module_of
from valtronics_fast.commands.completion import SHELLS, whole
from valtronics_fast.commands.parsing import EXIT_OK

if TYPE_CHECKING:
    from pathlib import Path

COMPLETE = r"""
source "$1"; shift
function=$(complete -p valtronics-fast | sed 's/.*-F \([^ ]*\).*/\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
"$function" valtronics-fast "${@: -1}" "${@: -2:1}"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "bash"
    with path.open("w") as file, redirect_stdout(file):
        assert exit_code("completion", "bash") == EXIT_OK
    return path


def completed(script: Path, *words: str) -> list[str]:
    """Return what bash offers for the last word."""
    command = ["bash", "-c", COMPLETE, "bash", str(script), "valtronics-fast", *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=script.parent)
    assert result.stderr == ""
    return result.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["pub"], ["publish"]),
        (["publish", "a"], ["alert"]),
        (["publish", "alert", "--se"], ["--severity"]),
        (["token", ""], ["create", "verify"]),
        (["subscribe", "tele"], ["telemetry"]),
        (["bench", "--channel", "d"], ["devices"]),
        (["schema", "co"], ["commands"]),
        (["completion", ""], list(SHELLS)),
        (["token", "create", "--config", "ba"], ["bash"]),
        (["--wor"], ["--workers"]),
        (["nonsense"], []),
    ],
)
def test_what_bash_offers(script: Path, words: list[str], offered: list[str]) -> None:
    assert [each for each in completed(script, *words) if each] == offered


def test_bash_offers_every_command_and_all_of_its_flags(script: Path) -> None:
    assert set(completed(script, "")) == {"serve", *COMMANDS}
    for name in COMMANDS:
        flags = {flag for action in module_of(name).parser()._actions for flag in action.option_strings}
        assert set(completed(script, name, "--")) == {flag for flag in flags if flag.startswith("--")}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_hold_no_secret(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALTRONICS_TOKEN", "aaa.bbb.ccc")
    monkeypatch.setenv("VALTRONICS_API_KEY", "a-key-of-the-backend")
    assert exit_code("completion", shell) == EXIT_OK
    out = capsys.readouterr().out
    assert "valtronics-fast" in out
    assert ("aaa.bbb.ccc" in out, "a-key-of-the-backend" in out) == (False, False)


def test_the_whole_parser_has_the_help_of_each_command() -> None:
    assert "watch a server's connections" in whole().format_help()


def test_an_unknown_shell(capsys: pytest.CaptureFixture[str]) -> None:
    (fault,) = faults(capsys, "completion", "csh")
    assert fault.startswith("argument SHELL: invalid choice: 'csh'")
