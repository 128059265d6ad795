"""`completion`: print a script with which a shell completes this program's command lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from valtronics_fast._core.wire import CHANNELS
from valtronics_fast.commands.parsing import EXIT_OK, PROGRAM, Parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["SHELLS", "parser", "run", "whole"]

SHELLS = ("bash", "zsh", "fish")

_EPILOG = """\
The script knows the commands, their flags, and the values of those that have a fixed set. It runs nothing of this
program.

examples:
  source <(valtronics-fast completion bash)                                        this shell alone
  valtronics-fast completion bash > ~/.local/share/bash-completion/completions/valtronics-fast
  valtronics-fast completion zsh > "${fpath[1]}/_valtronics-fast"
  valtronics-fast completion fish > ~/.config/fish/completions/valtronics-fast.fish

exit codes:
  0  the script was printed
  2  the command line has a fault
"""

_FILES = {"FILE", "FILE.toml"}
"""What stands for a file in the help of flags."""


def parser() -> Parser:
    """Return the parser."""
    said = "Prints a script with which a shell completes the command lines of this program."
    parser = Parser(prog=f"{PROGRAM} completion", description=said, epilog=_EPILOG)
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print a script."""
    import shtab  # noqa: PLC0415

    options = parser().parse_args(arguments)
    print(shtab.complete(whole(), options.shell))
    return EXIT_OK


def whole() -> Parser:
    """Return one parser for all commands, with what shells can complete of their values."""
    from valtronics_fast.cli import COMMANDS, module_of  # noqa: PLC0415 - it imports this module

    def made(*, prog: str, **_: Any) -> Parser:
        found: Parser = module_of(prog.rpartition(" ")[2]).parser()
        return found

    found: Parser = module_of("serve").parser()
    found.description = None
    commands = found.add_subparsers(parser_class=made)  # type: ignore[call-overload] # what makes one will do
    for name in ("serve", *COMMANDS):
        commands.add_parser(name, help=(module_of(name).__doc__ or "").partition("\n")[0].partition(": ")[2])
    _complete(found)
    return found


def _complete(parser: argparse.ArgumentParser) -> None:
    """Say which values are files or channels, here and in the commands below."""
    import shtab  # noqa: PLC0415

    for action in parser._actions:  # noqa: SLF001 - where shtab looks, too
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined] # what shtab asks for
        elif action.metavar == "CHANNEL" and action.choices is None:
            action.choices = list(CHANNELS)
        elif isinstance(action.choices, dict):
            for each in action.choices.values():
                _complete(each)
