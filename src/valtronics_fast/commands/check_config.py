"""`check-config`: whether a server would start with a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.commands.parsing import EXIT_OK, PROGRAM, Parser
from valtronics_fast.commands.settings import add_settings, take_source
from valtronics_fast.config import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["parser", "run"]

_EPILOG = """\
Checks the settings of all sources, each for itself and in company, and reads keys and certificates. It opens no
port and no connection. Each fault is one line with the place where it stands.

examples:
  valtronics-fast check-config --config server.toml
  valtronics-fast check-config --config server.toml && systemctl reload valtronics-fast

exit codes:
  0  no fault
  2  faults, each of them told on the standard error
"""


def parser() -> Parser:
    """Return the parser."""
    parser = Parser(
        prog=f"{PROGRAM} check-config",
        description="Tells whether a server would take its configuration, and what is wrong with it.",
        epilog=_EPILOG,
    )
    add_settings(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Tell every fault, or that there is none."""
    source = take_source(vars(parser().parse_args(arguments)))
    source.load_for_start()
    count = len(source.found.values)
    print(f"{PROGRAM}: the configuration has no faults; {count} of {len(SETTINGS)} settings are set")
    return EXIT_OK
