"""`publish`: publish a message, or a stream of them, over the HTTP API."""

from __future__ import annotations

import json
import math
import re
import sys
from typing import TYPE_CHECKING, Any

from valtronics_fast.commands.parsing import (
    EXIT_FAILURE,
    EXIT_OK,
    PROGRAM,
    Parser,
    add_url,
    complain,
    parse_time,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from valtronics_fast.commands.posting import Poster

__all__ = ["EXIT_REJECTED", "message_of", "parser", "run"]

EXIT_REJECTED = 3

_EPILOG = """\
A metric is NAME=VALUE or NAME=VALUE:UNIT. A value is a number, true, false, null, or text; text that looks like one of
these stands in quotes of JSON ('version="2"').

examples:
  valtronics-fast publish telemetry --device 1 temperature=23.5:°C humidity=40
  valtronics-fast publish alert --device 1 --severity critical --message "Above 80 °C"
  valtronics-fast publish status --device pump-3 offline --reason "no heartbeat"
  valtronics-fast publish system cpu_usage=12.5
  valtronics-fast publish - < readings.ndjson
  tail -f readings.ndjson | valtronics-fast publish - --json

A key or token that others on this machine must not see belongs into VALTRONICS_API_KEY or VALTRONICS_TOKEN rather than
into the command line. Where the server answers 429 or 503, what it has not taken is sent again when it says so
(Retry-After). A stream is sent as it comes; Ctrl-C ends it.

exit codes:
  0    every message was accepted
  1    the server does not answer, refuses the key or token, or takes no more
  2    the command line has a fault
  3    the server refused some messages, or all: each is told with its line
  130  Ctrl-C
"""

_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?::(\D.*))?", re.DOTALL)


def parser() -> Parser:
    """Return the parser."""
    parser = Parser(
        prog=f"{PROGRAM} publish",
        description="Publishes over the HTTP API, and tells what became of it.",
        epilog=_EPILOG,
    )
    kinds = parser.add_subparsers(
        dest="kind", metavar="KIND", required=True, parser_class=Parser, title="what to publish"
    )

    def kind(name: str, text: str) -> Parser:
        found: Parser = kinds.add_parser(name, help=text, description=f"Publishes {text}.", epilog=_EPILOG)
        return found

    telemetry = kind("telemetry", "metrics of a device")
    telemetry.add_argument("metrics", nargs="+", metavar="NAME=VALUE[:UNIT]", help="a metric")
    alert = kind("alert", "an alert; without --device, of the whole platform")
    alert.add_argument("--severity", required=True, metavar="NAME", help="info, warning, critical, ...")
    alert.add_argument("--title", metavar="TEXT", help="what it is called")
    alert.add_argument("--message", metavar="TEXT", help="what it says")
    alert.add_argument("--type", metavar="NAME", help="its alert_type, which clients can filter by")
    alert.add_argument("--id", metavar="ID", help="its alert_id, by which clients know it again (one is made up)")
    status = kind("status", "that a device's status has changed")
    status.add_argument("new_status", metavar="STATUS", help="online, offline, warning, ...")
    status.add_argument("--old", metavar="STATUS", help="what it was before")
    status.add_argument("--reason", metavar="TEXT", help="why")
    for each in (telemetry, alert, status):
        each.add_argument("--device", required=each is not alert, metavar="ID", help="which device")
    system = kind("system", "figures of the platform")
    system.add_argument("metrics", nargs="+", metavar="NAME=VALUE", help="a figure")
    kind("-", "messages from the standard input, one a line as JSON (NDJSON)")
    for each in kinds.choices.values():
        _add_common(each)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every kind has."""
    from valtronics_fast.commands.api import add_credentials  # noqa: PLC0415

    add_url(parser)
    add_credentials(parser)
    help_text = "how long to wait for a server that takes no more for the moment (30s; 0: not at all)"
    parser.add_argument("--patience", default="30s", metavar="TIME", help=help_text)
    parser.add_argument("--json", action="store_true", help="print what became of it as JSON, on one line")


def run(arguments: Sequence[str]) -> int:
    """Publish, and print what became of it."""
    from valtronics_fast.commands.api import Api, ApiError, credentials_of  # noqa: PLC0415
    from valtronics_fast.commands.posting import Poster, pieces  # noqa: PLC0415

    taking = parser()
    options = taking.parse_args(arguments)
    headers = credentials_of(taking, options)
    if not headers:
        taking.error("--key or --token is needed, or $VALTRONICS_API_KEY or $VALTRONICS_TOKEN")
    try:
        patience = parse_time("argument --patience", options.patience)
        message = None if options.kind == "-" else message_of(options)
        api = Api(options.url, headers)
    except (ApiError, ValueError) as error:
        taking.error(str(error))
    tell = _telling(options.kind)
    poster = Poster(api, patience=patience, tell=tell)
    try:
        if message is not None:
            poster.post([json.dumps(message).encode()])
        else:
            for lines in pieces(sys.stdin.buffer):
                poster.post(lines)
    except ApiError as error:
        complain([str(error)])
        _report(poster, as_json=options.json)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        _report(poster, as_json=options.json)
        raise
    _report(poster, as_json=options.json)
    return EXIT_REJECTED if poster.rejected_total else EXIT_OK


def _telling(kind: str) -> Callable[[str], None]:
    """Return what tells people of refusals; a single message has no lines."""
    return lambda text: complain([text if kind == "-" else text.removeprefix("line 1: ")])


def _report(poster: Poster, *, as_json: bool) -> None:
    """Print what became of the messages."""
    if as_json:
        names = ("accepted", "matched", "rejected", "rejected_total")
        print(json.dumps({name: getattr(poster, name) for name in names}, separators=(",", ":")))
        return
    if (untold := poster.rejected_total - len(poster.rejected)) > 0:
        complain([f"{untold} more were refused"])
    parts = [f"accepted {poster.accepted}", f"matched {poster.matched}"]
    if poster.rejected_total:
        parts.append(f"rejected {poster.rejected_total}")
    print(", ".join(parts))


def message_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the data message (protocol.md, section 3) that the options say.

    Raises:
        ValueError: a metric has no name or value, it is no id of a device, or a text can't be sent.
    """
    from valtronics_fast._core.scope import device_key  # noqa: PLC0415
    from valtronics_fast._core.wire import MESSAGE_TYPES, Channel  # noqa: PLC0415

    named = getattr(options, "device", None)
    device = None if named is None else device_key(named)
    match options.kind:
        case "telemetry":
            metrics = dict(_metric(text, with_unit=True) for text in options.metrics)
            message = {"type": MESSAGE_TYPES[Channel.TELEMETRY], "device_id": device, "telemetry": metrics}
        case "system":
            metrics = dict(_metric(text, with_unit=False) for text in options.metrics)
            message = {"type": MESSAGE_TYPES[Channel.SYSTEM], "metrics": metrics}
        case "status":
            message = {"type": MESSAGE_TYPES[Channel.DEVICES], "device_id": device}
            message |= {"old_status": options.old, "new_status": options.new_status, "reason": options.reason}
        case _:
            message = {"type": MESSAGE_TYPES[Channel.ALERTS], "alert_id": options.id, "device_id": device}
            message |= {"severity": options.severity, "alert_type": options.type}
            message |= {"title": options.title, "message": options.message}
    try:
        json.dumps(message, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("what is to be published must be UTF-8") from None
    return {name: value for name, value in message.items() if value is not None}


def _metric(text: str, *, with_unit: bool) -> tuple[str, Any]:
    """Read a metric: its name, and a value or {"value": .., "unit": ..}."""
    name, equals, said = text.partition("=")
    if not name or not equals:
        raise ValueError(f"argument {text!r}: must be like temperature=23.5{':°C' if with_unit else ''}")
    number = _NUMBER.fullmatch(said)
    if number is None or (number[2] and not with_unit):
        return name, _scalar(said)
    value = json.loads(number[1])
    if not math.isfinite(value):
        raise ValueError(f"argument {text!r}: the number is too large")
    return name, value if number[2] is None else {"value": value, "unit": number[2]}


def _scalar(text: str) -> Any:
    """Read true, false, null or text in quotes; all else is text as it stands."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, bool | str) else text
