"""`serve`: run the server."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from valtronics_fast.commands.parsing import EXIT_FAILURE, EXIT_OK, PROGRAM, Parser, complain
from valtronics_fast.commands.settings import add_settings, take_source
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["parser", "run"]

_USAGE = f"""{PROGRAM} [serve] [flags]
       {PROGRAM} COMMAND [flags]"""

_EPILOG = """\
Every setting is a variable, too, and can stand in the file: see docs/configuration.md.
What the other commands take is told by them: valtronics-fast subscribe --help

examples:
  valtronics-fast --demo                            simulated devices, and a line to watch them with
  valtronics-fast --config server.toml --port 9000  a configuration, one setting of it replaced
  VFAST_MQTT__URL=mqtt://broker valtronics-fast     data from an MQTT broker
  valtronics-fast --workers 4                       four processes that share the connections
  valtronics-fast token create --sub alice --channels telemetry,alerts --devices 1,2 --expires 8h
  valtronics-fast check-config --config server.toml what is wrong with a configuration, if anything
  valtronics-fast subscribe alerts --severity critical --token eyJ...

exit codes:
  0  the server was drained after SIGINT or SIGTERM
  1  the server, or one of its workers, could not start: a port is in use, for instance
  2  the command line or the configuration has faults; each of them is told
  A second SIGINT or SIGTERM ends the server at once, by that signal: shells show 130 or 143.
  SIGHUP has it read its configuration again.
"""


class _Version(argparse.Action):
    """Prints the version, which is read for this alone."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from valtronics_fast.version import version  # noqa: PLC0415

        print(f"{PROGRAM} {version()}")
        parser.exit(EXIT_OK)


class _Parser(Parser):
    """Lists the commands in its help; they are looked up for this alone."""

    def __init__(self, overview: Callable[[], str], **options: Any) -> None:
        self._overview = overview
        super().__init__(**options)

    def format_help(self) -> str:
        """Return the help."""
        said = "A WebSocket telemetry server. Without a command, it serves."
        self.description = f"{said}\n\ncommands:\n{self._overview()}"
        return super().format_help()


def parser(overview: Callable[[], str] = str) -> Parser:
    """Return the parser; `overview` makes the list of the commands."""
    parser = _Parser(overview, prog=PROGRAM, usage=_USAGE, epilog=_EPILOG)
    hidden = argparse.SUPPRESS
    parser.add_argument(
        "--version", action=_Version, nargs=0, dest=hidden, default=hidden, help="print the version"
    )
    add_settings(parser)
    return parser


def run(arguments: Sequence[str], *, overview: Callable[[], str]) -> int:
    """Run the server until a signal ends it."""
    source = take_source(vars(parser(overview).parse_args(arguments)))
    config = source.load_for_start()

    from valtronics_fast import runner  # noqa: PLC0415

    try:
        runner.run(config, source)
    except ConfigError as error:
        raise ConfigError(source.place(error.problems)) from None
    except runner.StartError as error:
        complain(error.problems)
        return EXIT_FAILURE
    return EXIT_OK
