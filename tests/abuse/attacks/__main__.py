"""What the bad clients do: each attack is a process of its own, which says at its end what came of it.

    python -m abuse.attacks NAME OPTIONS      OPTIONS: a JSON object with the attack's arguments

It prints a line `full` when as many connections are there as shall be, and at the end a JSON object. All that is random
follows from the option `seed`.
"""

from __future__ import annotations

import os
import resource
import sys

import orjson

from abuse.attacks import commands, door, messages
from abuse.attacks.registry import ATTACKS
from abuse.swarm import Swarm

__all__ = ["commands", "door", "messages"]  # they enter themselves into the table

NICENESS = 10  # what is measured is the server's and the good clients' share of the processors, not this one's


def main(name: str, options: str) -> None:
    arguments = orjson.loads(options)
    port, block, window, proxied = (arguments.pop(key) for key in ("port", "block", "window", "proxied"))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.nice(NICENESS)
    swarm = Swarm(port, block, window, proxied=proxied, on_full=lambda: print("full", flush=True))
    swarm.run(ATTACKS[name](**arguments))
    print(orjson.dumps({"inputs": swarm.inputs, "outcomes": swarm.outcomes}).decode(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
