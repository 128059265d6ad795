"""`token`: make a token for a client, or see what one says and why it is refused."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from valtronics_fast.commands.parsing import (
    EXIT_CONFIG,
    EXIT_OK,
    PROGRAM,
    TOKEN_VARIABLE,
    Parser,
    complain,
    parse_time,
    split,
)
from valtronics_fast.config import Config

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["parser", "run"]

_CREATE_EPILOG = """\
Without --channels or --devices: all of them, unless [auth] default_scope is "none".
(`create` may be left out.)

examples:
  valtronics-fast token create --sub alice
  valtronics-fast token create --sub alice --channels telemetry,alerts --devices 1,2 --expires 8h
  valtronics-fast token create --sub backend --publish --config server.toml

exit codes:
  0  the token was printed
  2  the command line or the configuration has faults, or there is no secret to sign with
"""
_VERIFY_EPILOG = """\
The token is that of --token, else of VALTRONICS_TOKEN, else it is read from the standard input. It is judged as a
server with this configuration would judge it; keys are fetched when [auth] jwks_url is set. The token is never shown,
its claims are.

examples:
  valtronics-fast token verify --token -  < token.txt
  valtronics-fast token create --sub alice | valtronics-fast token verify --token -
  VALTRONICS_TOKEN=eyJ... valtronics-fast token verify --config server.toml --json

exit codes:
  0  the server would take it
  1  it would not; the reason is told
  2  the command line or the configuration has faults
"""
_EPILOG = f"""\
The flags of each are told by: {PROGRAM} token create --help, {PROGRAM} token verify --help

examples:
  valtronics-fast token --sub alice            (`create` may be left out)
  valtronics-fast token verify --token -  < token.txt

exit codes:
  0  the token was printed, or is good
  1  it is refused
  2  the command line or the configuration has faults
"""
_ACTIONS = ("create", "verify")


def parser() -> Parser:
    """Return the parser."""
    parser = Parser(prog=f"{PROGRAM} token", description="Makes tokens, and judges them.", epilog=_EPILOG)
    actions = parser.add_subparsers(dest="action", metavar="create|verify", required=True, parser_class=Parser)
    create = actions.add_parser(
        "create",
        help="print a token for a client",
        description="Prints a token for a client, signed with the configured secret.",
        epilog=_CREATE_EPILOG,
    )
    create.add_argument("--sub", required=True, metavar="USER", help="whose token it is")
    create.add_argument("--channels", metavar="NAMES", help="channels to see: telemetry,alerts,...")
    create.add_argument("--devices", metavar="IDS", help='devices to see: 1,2,pump-3, or "*" for all')
    publish_help = "may publish, on these channels or on all"
    create.add_argument("--publish", nargs="?", const=True, default=False, metavar="NAMES", help=publish_help)
    monitor_help = "may read the server's own figures, which the dashboard shows"
    create.add_argument("--monitor", action="store_true", help=monitor_help)
    admin_help = "may use the admin functions of the HTTP side, where [auth] admin_tokens is on"
    create.add_argument("--admin", action="store_true", help=admin_help)
    interval_help = "the shortest interval between two updates of a device: 500ms, 10s, ..."
    create.add_argument("--min-interval", default="0s", metavar="TIME", help=interval_help)
    create.add_argument("--expires", default="1h", metavar="TIME", help="30m, 8h, ... (1h)")
    verify = actions.add_parser(
        "verify",
        help="print a token's claims, and why a server refuses it",
        description="Prints what a token says, and whether a server with this configuration takes it.",
        epilog=_VERIFY_EPILOG,
    )
    verify.add_argument("--token", metavar="TOKEN", help=f"the token; - reads it from the input (${TOKEN_VARIABLE})")
    verify.add_argument("--json", action="store_true", help="print the verdict as JSON, on one line")
    for each in (create, verify):
        each.add_argument("--config", metavar="FILE.toml", help="read the settings from a file")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print a token, or what one says."""
    short = not arguments or (arguments[0].startswith("-") and arguments[0] not in {"-h", "--help"})
    options = parser().parse_args([*(_ACTIONS[:1] if short else ()), *arguments])
    return _create(options) if options.action == "create" else _verify(options)


def _create(options: argparse.Namespace) -> int:
    """Print a token."""
    from valtronics_fast.tokens import mint  # noqa: PLC0415

    config = Config.load(options.config)
    try:
        token = mint(
            config.auth,
            options.sub,
            channels=None if options.channels is None else split(options.channels),
            devices=options.devices if options.devices in {None, "*"} else split(options.devices),
            publish=options.publish if isinstance(options.publish, bool) else split(options.publish),
            min_interval=parse_time("min-interval", options.min_interval),
            monitor=options.monitor,
            admin=options.admin,
            expires=parse_time("expires", options.expires),
        )
    except ValueError as error:  # its text begins with the argument's name, which is the flag's
        complain([f"--{error}"])
        return EXIT_CONFIG
    print(token)
    return EXIT_OK


def _verify(options: argparse.Namespace) -> int:
    """Print what a token says, and whether it is taken."""
    from valtronics_fast.commands import verdict  # noqa: PLC0415

    config = Config.load(options.config)
    token, source = _given(options)
    if not token:
        complain([f"there is no token in {source}"])
        return EXIT_CONFIG
    found = asyncio.run(verdict.judge(config.auth, token))
    print(found.as_json() if options.json else found.as_text(source))
    return verdict.EXIT_CODES[found.good]


def _given(options: argparse.Namespace) -> tuple[str, str]:
    """Return the token and where it came from."""
    if options.token not in {None, "-"}:
        return options.token.strip(), "--token"
    if options.token is None and (token := os.environ.get(TOKEN_VARIABLE)):
        return token.strip(), f"${TOKEN_VARIABLE}"
    from valtronics_fast.auth import MAX_TOKEN_BYTES  # noqa: PLC0415

    # One byte more than a server takes, and one for the line's end, tell that it is too long.
    return sys.stdin.buffer.read(MAX_TOKEN_BYTES + 2).decode("utf-8", "replace").strip(), "the standard input"
