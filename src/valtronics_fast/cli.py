"""The command line: `serve`, which is what happens when no command is named, `token` and `subscribe`.

Heavy modules are imported by the functions that need them, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from valtronics_fast._core.wire import CHANNELS
from valtronics_fast.config import SETTINGS, Config
from valtronics_fast.errors import ConfigError, ValtronicsError
from valtronics_fast.logging import escape
from valtronics_fast.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["EXIT_CONFIG", "EXIT_FAILURE", "EXIT_OK", "PROGRAM", "main"]

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_CONFIG = 2

PROGRAM = "valtronics-fast"

_USAGE = """\
valtronics-fast [serve] [flags]
       valtronics-fast token --sub USER [flags]
       valtronics-fast subscribe [CHANNEL ...] [flags]"""

_EPILOG = """\
Every setting is a variable, too, and can stand in the file: see docs/configuration.md.
The flags of the other commands are told by: valtronics-fast token --help, valtronics-fast subscribe --help

examples:
  valtronics-fast --demo                            simulated devices, and a line to watch them with
  valtronics-fast --config server.toml --port 9000  a configuration, one setting of it replaced
  VFAST_MQTT__URL=mqtt://broker valtronics-fast     data from an MQTT broker
  valtronics-fast --workers 4                       four processes that share the connections
  valtronics-fast token --sub alice --channels telemetry,alerts --devices 1,2 --expires 8h
  valtronics-fast subscribe alerts --severity critical --token eyJ...

exit codes:
  0  the server was drained after SIGINT or SIGTERM, or the token was printed
  1  the server, or one of its workers, could not start: a port is in use, for instance
  2  the command line or the configuration has faults; each of them is told
  A second SIGINT or SIGTERM ends the server at once, by that signal: shells show 130 or 143.
  SIGHUP has it read its configuration again.
"""

_SUBSCRIBE_EPILOG = """\
Reconnects when the connection is lost. Messages go to the standard output, all else to the standard error.
A token that others on this machine must not see belongs into VALTRONICS_TOKEN rather than into the command line.

examples:
  valtronics-fast subscribe --device 1 --device pump-3            all that these two devices say
  valtronics-fast subscribe telemetry --metric temperature        one metric of all devices
  valtronics-fast subscribe alerts devices --severity critical    alerts, but critical ones only, and statuses
  valtronics-fast subscribe --json --count 100 > messages.jsonl   a sample

exit codes:
  0  ended by Ctrl-C, after --count messages, or because nobody reads the output any more
  1  no server at the first attempt, the token was refused, or coming back makes no sense for another reason
  2  the command line has a fault
"""

_DEFAULT_URL = "ws://127.0.0.1:8000/ws"
_DEFAULT_CHANNELS = ("telemetry", "alerts", "devices")
_TOKEN_VARIABLE = "VALTRONICS_TOKEN"  # noqa: S105 - its name
_TOKEN = re.compile(r"[!-~]+")

# The flags of subscribe that filter: the filter's name in the protocol, the channels that have it, help.
_FILTERS = {
    "device": ("device_id", ("telemetry", "alerts", "devices"), "only from this device"),
    "metric": ("metrics", ("telemetry", "system"), "only this metric"),
    "severity": ("severity", ("alerts",), "only alerts of this severity"),
    "status": ("status_types", ("devices",), "only changes to this status"),
}


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
    commands = {"serve": _serve, "token": _make_token, "subscribe": _subscribe}
    command = commands[arguments.pop(0)] if arguments and arguments[0] in commands else _serve
    try:
        return command(arguments)
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
    path = flags.pop("config")

    def load() -> Config:
        return Config.load(path, flags=flags)

    config = load()

    from valtronics_fast.runner import StartError, run  # noqa: PLC0415

    try:
        run(config, load)
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
    interval_help = "the shortest interval between two updates of a device: 500ms, 10s, ..."
    parser.add_argument("--min-interval", default="0s", metavar="TIME", help=interval_help)
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
            min_interval=_parse_time("min-interval", options.min_interval),
            expires=_parse_time("expires", options.expires),
        )
    except ValueError as error:  # its text begins with the argument's name, which is the flag's
        _complain([f"--{error}"])
        return EXIT_CONFIG
    print(token)
    return EXIT_OK


def _subscribe(arguments: list[str]) -> int:
    """Print live data until Ctrl-C."""
    parser = _Parser(
        prog=f"{PROGRAM} subscribe",
        description="Prints live data, one line a message.",
        epilog=_SUBSCRIBE_EPILOG,
    )
    channels_help = f"{', '.join(CHANNELS)} (without any: {' '.join(_DEFAULT_CHANNELS)})"
    parser.add_argument("channels", nargs="*", metavar="CHANNEL", help=channels_help)
    parser.add_argument("--url", default=_DEFAULT_URL, help=f"the server ({_DEFAULT_URL})")
    parser.add_argument("--token", default=os.environ.get(_TOKEN_VARIABLE), help=f"a token (${_TOKEN_VARIABLE})")
    for flag, (_, _, text) in _FILTERS.items():
        more = f"{text}; may be repeated"
        parser.add_argument(f"--{flag}", action="append", default=[], metavar=flag.upper(), help=more)
    parser.add_argument("--json", action="store_true", help="print each message as JSON, on one line")
    parser.add_argument("--count", type=int, metavar="N", help="end after N messages")
    options = parser.parse_args(arguments)
    subscriptions = _choose(parser, options)
    if not options.token or not _TOKEN.fullmatch(options.token):
        parser.error(f"argument --token: must be a token, as `{PROGRAM} token` prints it; so may ${_TOKEN_VARIABLE}")
    if not _is_websocket_url(options.url):
        parser.error(f"argument --url: must be like {_DEFAULT_URL} or wss://server.example/ws")
    if options.count is not None and options.count < 1:
        parser.error("argument --count: must be at least 1")
    return _watch(options.url, options.token, subscriptions, as_json=options.json, count=options.count)


def _choose(parser: _Parser, options: argparse.Namespace) -> dict[str, dict[str, list[str]]]:
    """Return the filters of each channel that is asked for."""
    subscriptions: dict[str, dict[str, list[str]]] = {name: {} for name in options.channels or _DEFAULT_CHANNELS}
    for name in subscriptions:
        if name not in CHANNELS:
            parser.error(f"argument CHANNEL: must be of {', '.join(CHANNELS)}, not {name!r}")
    for flag, (key, having, _) in _FILTERS.items():
        if values := getattr(options, flag):
            filtered = [name for name in subscriptions if name in having]
            if not filtered:
                parser.error(f"argument --{flag}: is for {', '.join(having)}")
            if not all(map(str.isprintable, values)):
                parser.error(f"argument --{flag}: must be printable")
            subscriptions |= {name: {**subscriptions[name], key: values} for name in filtered}
    return subscriptions


def _is_websocket_url(text: str) -> bool:
    """Say whether a text is a URL of a WebSocket."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0 and text.isprintable()
    except ValueError:  # a port that is none, for instance
        return False


def _watch(
    url: str, token: str, subscriptions: dict[str, dict[str, list[str]]], *, as_json: bool, count: int | None
) -> int:
    """Print what comes, until there was enough of it."""
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a character that it can't write is no reason to end
    try:
        import asyncio  # noqa: PLC0415

        from valtronics_fast.display import json_line, line  # noqa: PLC0415
        from valtronics_fast.subscriber import messages  # noqa: PLC0415

        async def print_messages() -> None:
            printed = 0
            async with aclosing(messages(url, token, subscriptions, lambda text: _complain([text]))) as found:
                async for message in found:
                    print(json_line(message) if as_json else line(message, colour=colour), flush=True)
                    printed += 1
                    if printed == count:
                        break

        asyncio.run(print_messages())
    except KeyboardInterrupt:
        if sys.stderr.isatty():  # which shows ^C at the beginning of a line
            print(file=sys.stderr)
    except BrokenPipeError:  # nobody reads any more; what is left in the buffer must not fail again at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ValtronicsError as error:
        _complain([str(error)])
        return EXIT_FAILURE
    return EXIT_OK


def _parse_time(name: str, text: str) -> float:
    """Read a duration, and name the flag when it is none."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}, not {text!r}") from None


def _split(text: str) -> list[str]:
    """Split a list at its commas."""
    return [entry for part in text.split(",") if (entry := part.strip())]


def _complain(problems: Iterable[str]) -> None:
    """Write problems to the standard error, each on one line."""
    for problem in problems:
        print(f"{PROGRAM}: {escape(problem)}", file=sys.stderr)
