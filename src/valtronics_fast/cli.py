"""The command line: which command it names, if any; without one it is `serve`.

A command's module is imported when it is used, and heavy modules by the functions that need them, so that help and
mistakes are answered at once. What is true of every command is here: Ctrl-C ends it without a traceback, so does an
output that nobody reads any more, and a character that the output can't write is no reason to end.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

from valtronics_fast.commands.parsing import EXIT_CONFIG, EXIT_INTERRUPTED, EXIT_OK, PROGRAM, complain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["COMMANDS", "main", "module_of"]

COMMANDS: Final = {
    "token": "create|verify [flags]",
    "subscribe": "[CHANNEL ...] [flags]",
    "publish": "KIND [flags]",
    "top": "[flags]",
    "bench": "[flags]",
    "schema": "[PART]",
    "completion": "SHELL",
    "health": "[flags]",
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
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            if sys.stdout is not None:  # it was closed before the start
                sys.stdout.flush()
    except KeyboardInterrupt:
        if sys.stderr.isatty():  # which shows ^C at the beginning of a line
            print(file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # nobody reads any more; what is left in the buffer must not fail again at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


def _run(arguments: list[str]) -> int:
    """Run the command that the arguments name."""
    name = arguments[0] if arguments else ""
    try:
        if name in COMMANDS:
            return int(module_of(name).run(arguments[1:]))
        serve = module_of("serve")
        if name and not name.startswith("-") and name != "serve":
            return _unknown(name)
        return int(serve.run(arguments[1:] if name == "serve" else arguments, overview=_overview))
    except Exception as error:
        from valtronics_fast.errors import ConfigError  # noqa: PLC0415 - loads the core, which health does without

        if not isinstance(error, ConfigError):
            raise
        complain(error.problems)
        return EXIT_CONFIG


def module_of(name: str) -> ModuleType:
    """Import the module of a command."""
    return import_module(f"valtronics_fast.commands.{name.replace('-', '_')}")


def _unknown(name: str) -> int:
    """Tell that there is no such command, and which one may be meant."""
    from difflib import get_close_matches  # noqa: PLC0415

    like = get_close_matches(name, ["serve", *COMMANDS], 1)
    hint = f"; did you mean {like[0]}?" if like else ""
    complain([f"there is no command {name!r}{hint} (see {PROGRAM} --help)"])
    return EXIT_CONFIG


def _overview() -> str:
    """Return a line for each command: how it is called, and the first line of its module's docstring."""
    lines = {f"{name} {rest}".rstrip(): module_of(name).__doc__ or "" for name, rest in COMMANDS.items()}
    width = max(map(len, lines))
    said = (f"  {call:<{width}}  {_summary(text)}" for call, text in lines.items())
    return "\n".join([f"  {'[serve] [flags]':<{width}}  run the server", *said])


def _summary(docstring: str) -> str:
    """Return `run the server` of "`serve`: run the server."."""
    return docstring.partition("\n")[0].partition(": ")[2].rstrip(".")
