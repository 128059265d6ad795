from __future__ import annotations

import re

import pytest

from command_line import exit_code, no_variables
from valtronics_fast.cli import COMMANDS
from valtronics_fast.commands.parsing import EXIT_OK
from valtronics_fast.version import version

__all__ = ["no_variables"]

pytestmark = pytest.mark.usefixtures("no_variables")


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
    listed = text.partition("commands:")[2].partition("options:")[0]
    commands = dict(re.findall(r"^  (\S+)(?: \S+)*?  +(\S.*)$", listed, re.MULTILINE))
    assert set(commands) == {"[serve]", *COMMANDS}
    assert all(commands.values())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == EXIT_OK
    assert capsys.readouterr().out == f"valtronics-fast {version()}\n"
