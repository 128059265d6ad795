"""The command line: which command it names, if any; without one it is `serve`.

A command's module is imported when it is used, and heavy modules by the functions that need them, so that help and
mistakes are answered at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

from valtronics_fast.commands import serve
from valtronics_fast.commands.parsing import EXIT_CONFIG, PROGRAM, complain
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

COMMANDS: Final = {
    "token": "--sub USER",
    "subscribe": "[CHANNEL ...]",
    "check-config": "[--config FILE.toml]",
    "print-config": "[--format toml|env|schema]",
}
"""What follows the name of each command but `serve`; its module is of that name in `commands`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; None takes those of the process.

    Returns:
        the exit code; the help says what each one means.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments and arguments[0] in COMMANDS:
            module = import_module(f"valtronics_fast.commands.{arguments.pop(0).replace('-', '_')}")
            return int(module.run(arguments))
        if arguments and arguments[0] == "serve":
            del arguments[0]
        return serve.run(arguments, usage=_usage())
    except ConfigError as error:
        complain(error.problems)
        return EXIT_CONFIG


def _usage() -> str:
    """Return a line for each command."""
    lines = [f"{PROGRAM} [serve] [flags]", *(f"{PROGRAM} {name} {rest} [flags]" for name, rest in COMMANDS.items())]
    return "\n       ".join(lines)
