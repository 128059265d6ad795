"""`health`: ask a server whether it is ready, as a container's health check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.commands.parsing import (
    EXIT_FAILURE,
    EXIT_OK,
    PROGRAM,
    Parser,
    above_zero,
    add_url,
    complain,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["parser", "run"]

_EPILOG = """\
Asks GET /health/ready, which needs no key. A server of which a part is not well, such as its MQTT broker, is
`degraded`: it serves, and is ready, unless --strict is given.

examples:
  valtronics-fast health                                 the server on this machine
  valtronics-fast health --url http://10.0.0.7:8001      another one
  valtronics-fast health --quiet || echo "not ready"     for a script
  HEALTHCHECK CMD ["valtronics-fast", "health"]          in a Dockerfile

exit codes:
  0  it is ready
  1  it is not, or does not answer
  2  the command line has a fault
"""


_TIMEOUT = 5.0


def parser() -> Parser:
    """Return the parser."""
    said = "Asks a server whether it is ready, and how its parts are."
    parser = Parser(prog=f"{PROGRAM} health", description=said, epilog=_EPILOG)
    add_url(parser)
    parser.add_argument("--timeout", metavar="TIME", help="how long to wait for the answer (5s)")
    parser.add_argument("--strict", action="store_true", help="count `degraded` as not ready")
    parser.add_argument("--quiet", action="store_true", help="print nothing: the exit code tells")
    parser.add_argument("--json", action="store_true", help="print the server's answer as JSON, on one line")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print how the server is."""
    from valtronics_fast.commands.api import Api, ApiError  # noqa: PLC0415

    taking = parser()
    options = taking.parse_args(arguments)
    timeout = _TIMEOUT
    try:
        if options.timeout is not None:
            timeout = above_zero("argument --timeout", options.timeout)
        api = Api(options.url, timeout=timeout)
    except (ApiError, ValueError) as error:
        taking.error(str(error))
    try:
        answer = api.get("/health/ready")
    except ApiError as error:
        complain([str(error)])
        return EXIT_FAILURE
    finally:
        api.close()
    status, checks = answer.body.get("status"), answer.body.get("checks")
    if not isinstance(status, str) or not isinstance(checks, dict):
        complain([answer.reason() if answer.body.get("error") else f"{api.url} is no server of this API"])
        return EXIT_FAILURE
    if options.json:
        import json  # noqa: PLC0415

        print(json.dumps(answer.body, separators=(",", ":")))
    elif not options.quiet:
        print(printable(status))
        for name, state in checks.items():
            print(f"  {printable(name)}: {printable(str(state))}")
    ready = answer.status == 200 and (status == "ready" or not options.strict)
    return EXIT_OK if ready else EXIT_FAILURE
