"""`bench`: put a load on a server, and measure what its clients get."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valtronics_fast._core.wire import CHANNELS
from valtronics_fast.commands.parsing import (
    API_URL,
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    KEY_VARIABLE,
    PROGRAM,
    TOKEN_FORM,
    TOKEN_VARIABLE,
    WEBSOCKET_URL,
    Parser,
    above_zero,
    complain,
    is_websocket_url,
    parse_time,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from valtronics_fast.load.campaign import Plan

__all__ = ["EXIT_NOT_USABLE", "parser", "run"]

EXIT_NOT_USABLE = 3

_EPILOG = """\
Clients connect over --ramp, authenticate, and subscribe to all of --channel (telemetry). Then they count what comes
for --duration. With --publish, telemetry of made-up devices bench-0, bench-1, ... is published over HTTP, and the
latency of each delivery is measured from the time at which its message was due. Put no such load on a server that
others use.

This process uses one CPU. When it is too busy, it measures itself: then the report says NOT USABLE, and why.

A server lets in 100 connections of a user and 10 new ones a minute of an address, by default: give it
VFAST_LIMITS__CONNECTION_RATE=0 for a test, and the clients many users, with --users (tokens are made with the
configured secret, as `token create` does) or --tokens.

examples:
  valtronics-fast bench --connections 100 --duration 10s --token eyJ...
  VFAST_AUTH__SECRET=... valtronics-fast bench --connections 2000 --users 20 --ramp 10s --publish 100 --key KEY
  valtronics-fast bench --url wss://platform.example/ws --tokens tokens.txt --connections 50 --json

exit codes:
  0    measured
  1    no client got in, or nothing of what was published was accepted
  2    the command line or the configuration has faults
  3    measured, but NOT USABLE: this client was the bottleneck
  130  Ctrl-C; what was measured until then is reported
"""

_BAR = 30


def parser() -> Parser:
    """Return the parser."""
    parser = Parser(
        prog=f"{PROGRAM} bench",
        description="Puts a load on a server, and measures what its clients get.",
        epilog=_EPILOG,
    )
    parser.add_argument("--url", default=WEBSOCKET_URL, metavar="URL", help=f"the WebSocket ({WEBSOCKET_URL})")
    parser.add_argument("--connections", type=int, default=100, metavar="N", help="how many clients (100)")
    parser.add_argument("--ramp", default="2s", metavar="TIME", help="over which they come (2s; 0: at once)")
    parser.add_argument("--duration", default="10s", metavar="TIME", help="how long to measure (10s)")
    channel_help = f"what to subscribe to: {', '.join(CHANNELS)}; may be repeated"
    parser.add_argument("--channel", action="append", choices=list(CHANNELS), metavar="CHANNEL", help=channel_help)
    parser.add_argument("--device", action="append", metavar="DEVICE", help="only from this device; may be repeated")
    parser.add_argument("--token", metavar="TOKEN", help=f"a token for all clients (${TOKEN_VARIABLE})")
    parser.add_argument("--tokens", metavar="FILE", help="a file of tokens, one a line; the clients take turns")
    parser.add_argument("--users", type=int, metavar="N", help="make tokens for so many users; the clients take turns")
    parser.add_argument("--config", metavar="FILE.toml", help="where --users has its secret from")
    parser.add_argument("--publish", type=float, default=0.0, metavar="RATE", help="messages a second to publish")
    parser.add_argument("--devices", type=int, default=10, metavar="N", help="made-up devices that are published (10)")
    parser.add_argument("--http-url", default=API_URL, metavar="URL", help=f"the HTTP API to publish with ({API_URL})")
    key_help = f"the http.api_key to publish with (${KEY_VARIABLE}); without it, the first token"
    parser.add_argument("--key", default=os.environ.get(KEY_VARIABLE), metavar="KEY", help=key_help)
    parser.add_argument("--quiet", action="store_true", help="tell nothing of how far it is")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run a load test, and print its report."""
    taking = parser()
    options = taking.parse_args(arguments)
    plan = _plan(taking, options)

    import uvloop  # noqa: PLC0415

    from valtronics_fast.descriptors import raise_descriptor_limit  # noqa: PLC0415
    from valtronics_fast.load import campaign, report  # noqa: PLC0415

    raise_descriptor_limit(0)
    result = uvloop.run(campaign.run(plan, _progress(quiet=options.quiet)))
    print(json.dumps(report.as_dict(result)) if options.json else report.as_text(result))
    if result.interrupted:
        return EXIT_INTERRUPTED
    if not result.tally.ready or (result.publisher is not None and not result.publisher.accepted):
        return EXIT_FAILURE
    return EXIT_NOT_USABLE if result.faults() else EXIT_OK


def _plan(taking: Parser, options: argparse.Namespace) -> Plan:
    """Return what the flags ask for."""
    from valtronics_fast.commands.api import Api, ApiError  # noqa: PLC0415
    from valtronics_fast.load.campaign import MAX_CONNECTIONS, Plan  # noqa: PLC0415
    from valtronics_fast.load.publisher import MAX_DEVICES, MAX_RATE  # noqa: PLC0415

    if not is_websocket_url(options.url):
        taking.error(f"argument --url: must be like {WEBSOCKET_URL} or wss://server.example/ws")
    for flag, value, most in (
        ("connections", options.connections, MAX_CONNECTIONS),
        ("users", options.users or 1, MAX_CONNECTIONS),
        ("devices", options.devices, MAX_DEVICES),
    ):
        if not 1 <= value <= most:
            taking.error(f"argument --{flag}: must be 1 to {most}")
    if not 0 <= options.publish <= MAX_RATE:
        taking.error(f"argument --publish: must be 0 to {MAX_RATE} messages a second")
    filters = {} if options.device is None else {"device_id": options.device}
    names = dict.fromkeys(options.channel or ["telemetry"])
    if "system" in names and filters:
        taking.error("argument --device: the channel system has no devices")
    try:
        ramp = parse_time("argument --ramp", options.ramp)
        duration = above_zero("argument --duration", options.duration)
        http_url = Api(options.http_url).url
    except (ValueError, ApiError) as error:
        taking.error(str(error).replace("argument --url", "argument --http-url"))
    tokens = _tokens(taking, options)
    return Plan(
        url=options.url,
        tokens=tokens,
        subscriptions=[{"channel": name, "filters": filters} for name in names],
        connections=options.connections,
        ramp=ramp,
        duration=duration,
        publish=options.publish,
        http_url=http_url,
        headers={"X-API-Key": options.key} if options.key else {"Authorization": f"Bearer {tokens[0]}"},
        devices=options.devices,
    )


def _tokens(taking: Parser, options: argparse.Namespace) -> list[str]:
    """Return the tokens that the clients take turns with."""
    if options.users:
        return _made(options)
    if options.tokens:
        try:
            found = Path(options.tokens).read_text("ascii").split()
        except (OSError, ValueError) as error:
            taking.error(f"argument --tokens: {options.tokens} cannot be read ({type(error).__name__})")
    else:
        found = [options.token or os.environ.get(TOKEN_VARIABLE) or ""]
    if not found or not all(map(TOKEN_FORM.fullmatch, found)):
        taking.error(f"a token is needed: --token, ${TOKEN_VARIABLE}, --tokens or --users")
    return found


def _made(options: argparse.Namespace) -> list[str]:
    """Return a token for each of so many users, which last longer than the test."""
    from valtronics_fast.config import Config  # noqa: PLC0415
    from valtronics_fast.tokens import mint  # noqa: PLC0415

    auth = Config.load(options.config).auth
    return [mint(auth, f"bench-{number}", publish=True, expires=86400.0) for number in range(options.users)]


def _progress(*, quiet: bool) -> Callable[[str, float, float, str], None]:
    """Return what tells how far it is: a bar on a terminal, else a line for each phase."""
    from valtronics_fast.load.report import bar  # noqa: PLC0415

    told: list[str] = []

    def draw(phase: str, done: float, of: float, more: str) -> None:
        end = "\n" if done >= of else ""
        if told[-1:] == [phase + "\n"]:
            return
        told[:] = [phase + end]
        text = f"\r{phase:<10} [{bar(done, of, _BAR)}] {done:,.0f} of {of:,.0f}  {more}\x1b[K{end}"
        print(text, end="", file=sys.stderr, flush=True)

    def tell(phase: str, _done: float, of: float, _more: str) -> None:
        if phase not in told:
            told.append(phase)
            complain([f"{phase} ({of:,g} {'s' if phase == 'measuring' else 'clients'})"])

    def nothing(*_: Any) -> None:
        return None

    return nothing if quiet else draw if sys.stderr.isatty() else tell
