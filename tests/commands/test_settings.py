from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from command_line import no_variables
from valtronics_fast.commands.parsing import Parser
from valtronics_fast.commands.settings import add_settings, take_source

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["no_variables"]

pytestmark = pytest.mark.usefixtures("no_variables")


def test_flags_and_file_become_the_source(tmp_path: Path) -> None:
    parser = Parser(prog="x")
    add_settings(parser)
    path = tmp_path / "server.toml"
    path.write_text("[http]\nport = 5\n[server]\nport = 6\n")
    config = take_source(vars(parser.parse_args(["--config", str(path), "--port", "7", "--demo"]))).load()
    assert (config.http.port, config.server.port, config.demo) == (5, 7, True)
    config = take_source(vars(parser.parse_args([]))).load()
    assert (config.server.port, config.demo) == (8000, False)
