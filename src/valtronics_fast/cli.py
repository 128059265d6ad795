"""The command line: `serve`, which is what happens when no command is named, and `token`.

Heavy modules are imported by the functions that need them, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from valtronics_fast.config import SETTINGS, Config
from valtronics_fast.errors import ConfigError
from valtronics_fast.logging import escape
from valtronics_fast.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["EXIT_CONFIG", "EXIT_FAILURE", "EXIT_OK", "PROGRAM", "main"]

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_CONFIG = 2

PROGRAM = "valtronics-fast"

_USAGE = "valtronics-fast [serve] [flags]\n       valtronics-fast token --sub USER [flags]"

_EPILOG = """\
Every setting is a variable, too, and can stand in the file: see docs/configuration.md.
The flags of token are told by: valtronics-fast token --help

examples:
  valtronics-fast --demo                            simulated devices, and a line to watch them with
  valtronics-fast --config server.toml --port 9000  a configuration, one setting of it replaced
  VFAST_MQTT__URL=mqtt://broker valtronics-fast     data from an MQTT broker
  valtronics-fast token --sub alice --channels telemetry,alerts --devices 1,2 --expires 8h

exit codes:
  0  the server was ended by SIGINT or SIGTERM, or the token was printed
  1  the server could not start: a port is in use, for instance
  2  the command line or the configuration has faults; each of them is told
"""


class _Parser(argparse.ArgumentParser):
    """Takes flags by their full names, and tells faults in the form of configuration faults."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong and exit."""
        _complain([f"{message} (see {self.prog} --help)"])
        raise SystemExit(EXIT_CONFIG)


class _Version(argparse.Action):
    """Prints the version, which is read for this alone."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from valtronics_fast.version import version  # noqa: PLC0415

        print(f"{PROGRAM} {version()}")
        parser.exit(EXIT_OK)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; None takes those of the process.

    Returns:
        the exit code; the help says what each one means.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments.pop(0) if arguments and arguments[0] in {"serve", "token"} else "serve"
    try:
        return _make_token(arguments) if command == "token" else _serve(arguments)
    except ConfigError as error:
        _complain(error.problems)
        return EXIT_CONFIG


def _serve(arguments: list[str]) -> int:
    """Run the server until a signal ends it."""
    parser = _Parser(
        prog=PROGRAM,
        usage=_USAGE,
        description="A WebSocket telemetry server. Without a command, it serves.",
        epilog=_EPILOG,
    )
    hidden = argparse.SUPPRESS
    parser.add_argument(
        "--version", action=_Version, nargs=0, dest=hidden, default=hidden, help="print the version"
    )
    parser.add_argument("--config", metavar="FILE.toml", help="read the settings from a file")
    for setting in SETTINGS.values():
        text = setting.description.rstrip(".").replace("%", "%%")
        if setting.flag and setting.kind == "boolean":
            parser.add_argument(setting.flag, dest=setting.key, action="store_true", default=None, help=text)
        elif setting.flag:  # its value stays text, to be checked with that of all other sources
            metavar = setting.flag.lstrip("-").upper()
            text = f"{text} ({setting.default})"
            parser.add_argument(setting.flag, dest=setting.key, metavar=metavar, help=text)
    flags = vars(parser.parse_args(arguments))
    config = Config.load(flags.pop("config"), flags=flags)

    from valtronics_fast.runner import StartError, run  # noqa: PLC0415

    try:
        run(config)
    except StartError as error:
        _complain(error.problems)
        return EXIT_FAILURE
    return EXIT_OK


def _make_token(arguments: list[str]) -> int:
    """Print a token."""
    from valtronics_fast.tokens import mint  # noqa: PLC0415

    parser = _Parser(
        prog=f"{PROGRAM} token",
        description="Prints a token for a client, signed with the configured secret.",
        epilog='Without --channels or --devices: all of them, unless [auth] default_scope is "none".',
    )
    parser.add_argument("--sub", required=True, metavar="USER", help="whose token it is")
    parser.add_argument("--channels", metavar="NAMES", help="channels to see: telemetry,alerts,...")
    parser.add_argument("--devices", metavar="IDS", help='devices to see: 1,2,pump-3, or "*" for all')
    publish_help = "may publish, on these channels or on all"
    parser.add_argument("--publish", nargs="?", const=True, default=False, metavar="NAMES", help=publish_help)
    parser.add_argument("--expires", default="1h", metavar="TIME", help="30m, 8h, ... (1h)")
    parser.add_argument("--config", metavar="FILE.toml", help="read the settings from a file")
    options = parser.parse_args(arguments)
    config = Config.load(options.config)
    try:
        token = mint(
            config.auth,
            options.sub,
            channels=None if options.channels is None else _split(options.channels),
            devices=options.devices if options.devices in {None, "*"} else _split(options.devices),
            publish=options.publish if isinstance(options.publish, bool) else _split(options.publish),
            expires=_parse_expires(options.expires),
        )
    except ValueError as error:  # its text begins with the argument's name, which is the flag's
        _complain([f"--{error}"])
        return EXIT_CONFIG
    print(token)
    return EXIT_OK


def _parse_expires(text: str) -> float:
    """Read a duration, and name the flag when it is none."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(f"expires: {error}, not {text!r}") from None


def _split(text: str) -> list[str]:
    """Split a list at its commas."""
    return [entry for part in text.split(",") if (entry := part.strip())]


def _complain(problems: Iterable[str]) -> None:
    """Write problems to the standard error, each on one line."""
    for problem in problems:
        print(f"{PROGRAM}: {escape(problem)}", file=sys.stderr)
