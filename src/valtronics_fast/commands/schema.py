"""`schema`: print JSON Schemas of what clients and servers send."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from valtronics_fast.commands.parsing import EXIT_OK, PROGRAM, Parser
from valtronics_fast.schema import PARTS, schema

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["parser", "run"]

_EPILOG = """\
The schemas are of the draft 2020-12. docs/protocol.md describes the same for people, with limits and order.

examples:
  valtronics-fast schema > valtronics.schema.json
  valtronics-fast schema commands
  valtronics-fast schema publications | check-jsonschema --schemafile /dev/stdin reading.json

exit codes:
  0  the schema was printed
  2  the command line has a fault
"""


def parser() -> Parser:
    """Return the parser."""
    parser = Parser(
        prog=f"{PROGRAM} schema", description="Prints JSON Schemas of the WebSocket API's messages.", epilog=_EPILOG
    )
    parts = "; ".join(f"{name}: {text[0].lower()}{text[1:].rstrip('.')}" for name, (_, text) in PARTS.items())
    parser.add_argument("part", nargs="?", choices=list(PARTS), metavar="PART", help=f"{parts} (without: all)")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print a schema."""
    options = parser().parse_args(arguments)
    print(json.dumps(schema(options.part), indent=2))
    return EXIT_OK
