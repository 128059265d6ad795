"""Harm a cluster of three nodes in one way after the other, and count what its clients miss (docs/scaling.md).

    make cluster [ROWS=name,name] [FLAGS='--quick --write docs/scaling.md']

Real nodes and a real log, 1,000 clients that follow docs/protocol.md, and publishers that send numbered messages over
HTTP and send again what was not answered. A row fails when a client missed something without having been told, when
messages came out of order or twice without a reason, or when it did not heal; then the exit code is 1, and the logs are
kept.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import uvloop

from cluster.campaign import Campaign, Result
from cluster.nodes import LOGS
from cluster.report import as_text, write
from cluster.rows import ROWS


async def run(rows: list[str], directory: Path, *, log: str, quick: bool, clients: int) -> list[Result]:
    """Run the campaign, or some of its rows, and say how it goes on the standard error."""
    results = []
    async with Campaign.begin(directory, log=log, quick=quick, clients=clients) as campaign:
        for row in ROWS:
            if row.name not in rows:
                continue
            print(f"{row.name}: {row.about}", end=" ... ", file=sys.stderr, flush=True)
            result = await campaign.run(row)
            results.append(result)
            answers = ", ".join(f"{name} {count}" for name, count in sorted((result.returns + result.answers).items()))
            print(f"{'; '.join(result.failures()) or 'ok'}, {result.seconds:.0f} s; {answers}", file=sys.stderr)
    return results


def main() -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__, formatter_class=formatter)
    parser.add_argument("--rows", default="", metavar="NAME,NAME", help="only these")
    parser.add_argument("--log", choices=sorted(LOGS), default="redis", help="what carries the messages")
    parser.add_argument("--quick", action="store_true", help="small numbers, about a minute")
    parser.add_argument("--clients", type=int, default=0, help="how many; 0: 1,000, or 120 for the quick one")
    parser.add_argument("--write", type=Path, metavar="FILE", help="renew the table in this page")
    options = parser.parse_args()
    known = [row.name for row in ROWS]
    rows = options.rows.split(",") if options.rows else known
    if unknown := set(rows) - set(known):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    directory = Path(tempfile.mkdtemp(prefix="cluster-"))
    clients = options.clients or (120 if options.quick else 1000)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(run(rows, directory, log=options.log, quick=options.quick, clients=clients))
    print(as_text(results))
    if options.write:
        write(options.write, options.log, results)
    failed = [result for result in results if result.failures()]
    for result in failed:
        for failure in result.failures():
            print(f"FAILED {result.row.name}: {failure}")
    if failed:
        print(f"the logs: {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
