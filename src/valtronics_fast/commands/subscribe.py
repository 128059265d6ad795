"""`subscribe`: print live data in the terminal."""

from __future__ import annotations

import os
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

from valtronics_fast._core.wire import CHANNELS
from valtronics_fast.commands.parsing import (
    EXIT_FAILURE,
    EXIT_OK,
    PROGRAM,
    TOKEN_FORM,
    TOKEN_VARIABLE,
    WEBSOCKET_URL,
    Parser,
    complain,
    is_websocket_url,
)
from valtronics_fast.errors import ValtronicsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["parser", "run"]

_EPILOG = """\
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

_DEFAULT_CHANNELS = ("telemetry", "alerts", "devices")

# The flags of subscribe that filter: the filter's name in the protocol, the channels that have it, help.
_FILTERS = {
    "device": ("device_id", ("telemetry", "alerts", "devices"), "only from this device"),
    "metric": ("metrics", ("telemetry", "system"), "only this metric"),
    "severity": ("severity", ("alerts",), "only alerts of this severity"),
    "status": ("status_types", ("devices",), "only changes to this status"),
}


def parser() -> Parser:
    """Return the parser."""
    parser = Parser(
        prog=f"{PROGRAM} subscribe",
        description="Prints live data, one line a message.",
        epilog=_EPILOG,
    )
    channels_help = f"{', '.join(CHANNELS)} (without any: {' '.join(_DEFAULT_CHANNELS)})"
    parser.add_argument("channels", nargs="*", metavar="CHANNEL", help=channels_help)
    parser.add_argument("--url", default=WEBSOCKET_URL, help=f"the server ({WEBSOCKET_URL})")
    parser.add_argument("--token", default=os.environ.get(TOKEN_VARIABLE), help=f"a token (${TOKEN_VARIABLE})")
    for flag, (_, _, text) in _FILTERS.items():
        more = f"{text}; may be repeated"
        parser.add_argument(f"--{flag}", action="append", default=[], metavar=flag.upper(), help=more)
    parser.add_argument("--json", action="store_true", help="print each message as JSON, on one line")
    parser.add_argument("--count", type=int, metavar="N", help="end after N messages")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print live data until Ctrl-C."""
    taking = parser()
    options = taking.parse_args(arguments)
    subscriptions = _choose(taking, options)
    if not options.token or not TOKEN_FORM.fullmatch(options.token):
        taking.error(f"argument --token: must be a token, as `{PROGRAM} token` prints it; so may ${TOKEN_VARIABLE}")
    if not is_websocket_url(options.url):
        taking.error(f"argument --url: must be like {WEBSOCKET_URL} or wss://server.example/ws")
    if options.count is not None and options.count < 1:
        taking.error("argument --count: must be at least 1")
    return _watch(options.url, options.token, subscriptions, as_json=options.json, count=options.count)


def _choose(parser: Parser, options: argparse.Namespace) -> dict[str, dict[str, list[str]]]:
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


def _watch(
    url: str, token: str, subscriptions: dict[str, dict[str, list[str]]], *, as_json: bool, count: int | None
) -> int:
    """Print what comes, until there was enough of it."""
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    try:
        import asyncio  # noqa: PLC0415

        from valtronics_fast.display import json_line, line  # noqa: PLC0415
        from valtronics_fast.subscriber import messages  # noqa: PLC0415

        async def print_messages() -> None:
            printed = 0
            async with aclosing(messages(url, token, subscriptions, lambda text: complain([text]))) as found:
                async for message in found:
                    print(json_line(message) if as_json else line(message, colour=colour), flush=True)
                    printed += 1
                    if printed == count:
                        break

        asyncio.run(print_messages())
    except KeyboardInterrupt:
        if sys.stderr.isatty():  # which shows ^C at the beginning of a line
            print(file=sys.stderr)
    except ValtronicsError as error:
        complain([str(error)])
        return EXIT_FAILURE
    return EXIT_OK
