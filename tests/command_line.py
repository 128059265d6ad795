"""Runs the command line within the test."""

from __future__ import annotations

import os

import pytest

from valtronics_fast.cli import main
from valtronics_fast.commands.parsing import EXIT_CONFIG
from variables import is_setting


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out."""
    for name in filter(is_setting, list(os.environ)):
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
