"""`token`: make a token for a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.commands.parsing import EXIT_CONFIG, EXIT_OK, PROGRAM, Parser, complain, parse_time, split
from valtronics_fast.config import Config

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run"]


def run(arguments: Sequence[str]) -> int:
    """Print a token."""
    from valtronics_fast.tokens import mint  # noqa: PLC0415

    parser = Parser(
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
            channels=None if options.channels is None else split(options.channels),
            devices=options.devices if options.devices in {None, "*"} else split(options.devices),
            publish=options.publish if isinstance(options.publish, bool) else split(options.publish),
            min_interval=parse_time("min-interval", options.min_interval),
            expires=parse_time("expires", options.expires),
        )
    except ValueError as error:  # its text begins with the argument's name, which is the flag's
        complain([f"--{error}"])
        return EXIT_CONFIG
    print(token)
    return EXIT_OK
