"""`print-config`: the settings in force, or what a configuration file may hold."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from valtronics_fast.commands.parsing import EXIT_OK, PROGRAM, Parser
from valtronics_fast.commands.settings import add_settings, take_source

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["parser", "run"]

_EPILOG = """\
examples:
  valtronics-fast print-config --config server.toml              what is in force, and where it comes from
  valtronics-fast print-config --format schema > settings.json   for an editor that completes and checks

formats:
  toml    a configuration file with every setting in force, and behind each one where it comes from
  env     the same as variables
  schema  the JSON Schema (draft 2020-12) of the configuration file, for editors; no setting is read for it

Secrets are not shown, nor are addresses that have a password in them.

exit codes:
  0  printed
  2  the command line or the configuration has faults; each of them is told
"""


def parser() -> Parser:
    """Return the parser."""
    parser = Parser(
        prog=f"{PROGRAM} print-config",
        description="Prints the settings that a server would have that is started like this.",
        epilog=_EPILOG,
    )
    formats = ("toml", "env", "schema")
    parser.add_argument("--format", choices=formats, default="toml", help="what to print (toml)")
    add_settings(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the settings or their schema."""
    import orjson  # noqa: PLC0415

    from valtronics_fast.config_print import print_env, print_toml  # noqa: PLC0415
    from valtronics_fast.config_schema import make_schema  # noqa: PLC0415

    options = vars(parser().parse_args(arguments))
    form = options.pop("format")
    if form == "schema":
        text = orjson.dumps(make_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    else:
        source = take_source(options)
        config = source.load()
        text = (print_toml if form == "toml" else print_env)(config, source.found)
    sys.stdout.write(text)
    return EXIT_OK
