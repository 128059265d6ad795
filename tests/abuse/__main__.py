"""Attack a server for some minutes, and see whether its good clients notice (docs/operations.md).

    make abuse [ROWS=name,name] [FLAGS='--quick --seed 7 --write docs/operations.md']

A real server, with its default limits (but for connections), serves 50 good clients over loopback; one after the other
bad ones do what each row says. A row fails when a message of a good client was lost, came twice or out of order, when
another good client was not let in, when descriptors or memory stayed, when the log has lines that are not expected or
too many, or when the server died; then the exit code is 1, and the server's log is kept. Latencies, in ms, p50 / p99,
are told and not judged.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from abuse.campaign import Campaign
from abuse.report import as_markdown, as_text, written_into
from abuse.rows import ROWS

if TYPE_CHECKING:
    from abuse.result import Result


async def run(rows: list[str], directory: Path, *, quick: bool, seed: int) -> list[Result]:
    """Run the campaign, or some of its rows, and say how it goes on the standard error."""
    results = []
    async with Campaign(directory, quick=quick, seed=seed) as campaign:
        for row in [one for one in ROWS for _ in range(rows.count(one.name))]:
            print(f"{row.name}: {row.about}", end=" ... ", file=sys.stderr, flush=True)
            result = await campaign.run(row)
            results.append(result)
            print("; ".join(result.failures()) or f"ok, {result.seconds:.0f} s", file=sys.stderr, flush=True)
            if not campaign.target.alive():
                break
    return results


def main() -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="make abuse", description=__doc__, formatter_class=formatter)
    parser.add_argument("--rows", default="", metavar="NAME,NAME", help="only these, as often as they are named")
    parser.add_argument("--quick", action="store_true", help="small numbers, about a minute")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="to repeat a run")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables of a full run into a page, too")
    options = parser.parse_args()
    known = [row.name for row in ROWS]
    rows = options.rows.split(",") if options.rows else known
    if unknown := set(rows) - set(known):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    if options.write and (options.quick or options.rows):
        parser.error("--write is for the tables of a full run")
    about = f"seed {options.seed}, {os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f} before it"
    print(about, file=sys.stderr)
    directory = Path(tempfile.mkdtemp(prefix="abuse-"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(run(rows, directory, quick=options.quick, seed=options.seed))
    print(as_text(results))
    if options.write and len(results) == len(rows):
        options.write.write_text(written_into(options.write.read_text(), as_markdown(results, about)))
    failed = [result for result in results if result.failures()]
    for result in failed:
        for failure in result.failures():
            print(f"FAILED {result.row.name}: {failure}")
    if failed or len(results) < len(rows):
        print(f"the server's log: {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
