"""`top`: watch a server's connections, rates and queues."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from valtronics_fast.commands.parsing import EXIT_FAILURE, EXIT_OK, PROGRAM, Parser, above_zero, add_url, complain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from valtronics_fast.commands.api import Api
    from valtronics_fast.commands.figures import Sample

__all__ = ["parser", "run"]

_EPILOG = """\
On a terminal the page is drawn anew every --interval, and q or Ctrl-C ends it. Piped, each look is one line. Figures
that the server does not tell are left out; the key or token is needed where GET /api/v1/stats needs one. The list of
slowest readers is shown to administrators: with http.admin_key, or a token with the claim admin where these count.

examples:
  valtronics-fast top
  valtronics-fast top --url http://10.0.0.7:8001 --key ADMIN_KEY --interval 5s
  valtronics-fast top --count 60 | tee figures.txt
  valtronics-fast top --json --count 1 | python -m json.tool

exit codes:
  0    ended by q, or after --count looks
  1    the server does not answer, or refuses the key or token, at the first look
  2    the command line has a fault
  130  Ctrl-C
"""


def parser() -> Parser:
    """Return the parser."""
    from valtronics_fast.commands.api import add_credentials  # noqa: PLC0415

    parser = Parser(prog=f"{PROGRAM} top", description="Shows a server's figures as they change.", epilog=_EPILOG)
    add_url(parser)
    add_credentials(parser)
    parser.add_argument("--interval", default="2s", metavar="TIME", help="between two looks (2s)")
    parser.add_argument("--count", type=int, metavar="N", help="end after N looks")
    parser.add_argument("--json", action="store_true", help="print the figures of each look as JSON, on one line")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Show figures until there were enough of them."""
    from valtronics_fast.commands.api import Api, ApiError, credentials_of  # noqa: PLC0415
    from valtronics_fast.commands.screen import usable  # noqa: PLC0415

    taking = parser()
    options = taking.parse_args(arguments)
    if options.count is not None and options.count < 1:
        taking.error("argument --count: must be at least 1")
    try:
        interval = above_zero("argument --interval", options.interval)
        api = Api(options.url, credentials_of(taking, options))
    except (ApiError, ValueError) as error:
        taking.error(str(error))
    watch = _Watch(api, interval, options.count)
    try:
        if options.json or not usable(sys.stdout):
            watch.print_lines(_json_line if options.json else _text_line)
        else:
            watch.draw()
    except ApiError as error:
        complain([str(error)])
        return EXIT_FAILURE
    return EXIT_OK


class _Watch:
    """Looks at a server again and again."""

    def __init__(self, api: Api, interval: float, count: int | None) -> None:
        self._api = api
        self._interval = interval
        self._count = count
        self._looks = 0
        self._lists = True
        self._last: Sample | None = None

    def look(self) -> Sample:
        """Ask the server; ApiError: it does not tell."""
        from valtronics_fast.commands.api import ApiError  # noqa: PLC0415
        from valtronics_fast.commands.figures import SLOWEST, Sample  # noqa: PLC0415

        began = time.monotonic()
        answer = self._api.get("/api/v1/stats")
        took = time.monotonic() - began
        if answer.status != 200 or "uptime" not in answer.body:
            raise ApiError(answer.reason() if answer.status != 200 else f"{self._api.url} is no server of this API")
        connections = None
        if self._lists:
            listed = self._api.get(f"/api/v1/connections?sort=queue&limit={SLOWEST}")
            connections = listed.body.get("connections") if listed.status == 200 else None
            self._lists = isinstance(connections, list)  # who has no such list, or not for us, is not asked again
        found = [one for one in connections if isinstance(one, dict)] if isinstance(connections, list) else None
        self._looks += 1
        return Sample(began, took, answer.body, found)

    def over(self) -> bool:
        """Say whether that was enough."""
        return self._count is not None and self._looks >= self._count

    def print_lines(self, line: Callable[[Sample, Sample | None], str]) -> None:
        """Print a line for each look. A look that fails after the first one is told."""
        from valtronics_fast.commands.api import ApiError  # noqa: PLC0415

        while True:
            try:
                found = self.look()
            except ApiError as error:
                if self._last is None:
                    raise
                complain([str(error)])
                self._looks += 1
            else:
                print(line(found, self._last), flush=True)
                self._last = found
            if self.over():
                return
            time.sleep(self._interval)

    def draw(self) -> None:
        """Draw a page at each look. A look that fails after the first one is told there, with what was seen last."""
        from valtronics_fast.commands.api import ApiError  # noqa: PLC0415
        from valtronics_fast.commands.figures import page  # noqa: PLC0415
        from valtronics_fast.commands.screen import Screen  # noqa: PLC0415

        title = f"{PROGRAM} top   {self._api.url}"
        found = self._last = self.look()
        lines = page(title, found, None)
        with Screen() as screen:
            while True:
                screen.draw(lines)
                if self.over():
                    return
                until = time.monotonic() + self._interval
                while (pressed := screen.wait(until - time.monotonic())) is not False:
                    if pressed:
                        return
                    screen.draw(lines)
                try:
                    found = self.look()
                except ApiError as error:
                    self._looks += 1
                    lines = [str(error), "", *page(title, self._last, None)]
                else:
                    lines = page(title, found, self._last)
                    self._last = found


def _json_line(now: Sample, before: Sample | None) -> str:
    """Return the figures of a look, and what the server said, as JSON."""
    from valtronics_fast.commands.figures import summary  # noqa: PLC0415

    return json.dumps({"figures": summary(now, before), "stats": now.stats, "connections": now.connections})


def _text_line(now: Sample, before: Sample | None) -> str:
    """Return the figures of a look as `12:00:41  connections 12  ...`."""
    from valtronics_fast.commands.figures import bytes_text, summary  # noqa: PLC0415

    found = summary(now, before)

    def rate(name: str) -> str:
        value = found[name]
        return "-" if value is None else f"{value:,.1f}"

    def size(name: str) -> str:
        value = found[name]
        return "-" if value is None else bytes_text(value)

    return (
        f"{time.strftime('%H:%M:%S')}  connections {found['connections']:,}"
        f"  in {rate('received_per_second')}/s {size('bytes_received_per_second')}/s"
        f"  out {rate('sent_per_second')}/s {size('bytes_sent_per_second')}/s"
        f"  queued {size('queued_bytes')}  behind {found['behind']}  answered in {now.took * 1000:.1f} ms"
    )
