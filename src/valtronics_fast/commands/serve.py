"""`serve`: run the server."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from valtronics_fast.commands.parsing import EXIT_FAILURE, EXIT_OK, PROGRAM, Parser, complain
from valtronics_fast.commands.settings import add_settings, take_source
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run"]

_EPILOG = """\
Every setting is a variable, too, and can stand in the file: see docs/configuration.md.
The flags of the other commands are told by: valtronics-fast token --help, valtronics-fast subscribe --help

examples:
  valtronics-fast --demo                            simulated devices, and a line to watch them with
  valtronics-fast --config server.toml --port 9000  a configuration, one setting of it replaced
  VFAST_MQTT__URL=mqtt://broker valtronics-fast     data from an MQTT broker
  valtronics-fast --workers 4                       four processes that share the connections
  valtronics-fast token --sub alice --channels telemetry,alerts --devices 1,2 --expires 8h
  valtronics-fast check-config --config server.toml what is wrong with a configuration, if anything
  valtronics-fast subscribe alerts --severity critical --token eyJ...

exit codes:
  0  the server was drained after SIGINT or SIGTERM, or the token was printed
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


def run(arguments: Sequence[str], *, usage: str) -> int:
    """Run the server until a signal ends it."""
    parser = Parser(
        prog=PROGRAM,
        usage=usage,
        description="A WebSocket telemetry server. Without a command, it serves.",
        epilog=_EPILOG,
    )
    hidden = argparse.SUPPRESS
    parser.add_argument(
        "--version", action=_Version, nargs=0, dest=hidden, default=hidden, help="print the version"
    )
    add_settings(parser)
    source = take_source(vars(parser.parse_args(arguments)))
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
