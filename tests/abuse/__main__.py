"""Attack a server for some minutes, and see whether its good clients notice (docs/operations.md).

    make abuse [ROWS=name,name] [FLAGS='--quick --seed 7 --markdown FILE']

A real server, with its default limits (but for connections), serves 50 good clients over loopback; one after the other
bad ones do what each row says. A row fails when a message of a good client was lost, came twice or out of order, when
descriptors or much memory stayed, when the log has lines that are not expected, or when the server died; then the exit
code is 1, and the server's log is kept. Latencies, in ms, p50 / p99, are told and not judged.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

import uvloop

from abuse.campaign import Campaign, Result
from abuse.report import as_markdown, as_text
from abuse.rows import ROWS


async def run(rows: list[str], directory: Path, *, quick: bool, seed: int) -> list[Result]:
    """Run the campaign, or some of its rows, and say how it goes on the standard error."""
    results = []
    async with Campaign.begin(directory, quick=quick, seed=seed) as campaign:
        for row in ROWS:
            if row.name not in rows:
                continue
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
    parser.add_argument("--rows", default="", metavar="NAME,NAME", help="only these")
    parser.add_argument("--quick", action="store_true", help="small numbers, about a minute")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="to repeat a run")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    options = parser.parse_args()
    known = [row.name for row in ROWS]
    rows = options.rows.split(",") if options.rows else known
    if unknown := set(rows) - set(known):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    print(f"seed {options.seed}", file=sys.stderr)
    directory = Path(tempfile.mkdtemp(prefix="abuse-"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(run(rows, directory, quick=options.quick, seed=options.seed))
    print(as_text(results))
    if options.markdown:
        options.markdown.write_text(as_markdown(results))
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
