"""docs/cli.md is true: its commands are run as they stand there, and print what stands below them."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

import process
from harness import SECRET
from valtronics_fast.cli import COMMANDS, module_of
from valtronics_fast.commands.parsing import EXIT_OK
from valtronics_fast.config import AuthConfig
from valtronics_fast.tokens import mint

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLES: list[tuple[str, str]] = re.findall(r"^```sh\n(.*?)^```\n(?:```\n(.*?)^```)?", PAGE, re.MULTILINE | re.DOTALL)
KEY = "a-key-of-the-backend"

# The commands know a server with default ports; that of the test has others.
SHELL = f"""
set -o pipefail
valtronics-fast() {{
    case "$1" in
        health|publish|top) {sys.executable} -m valtronics_fast "$@" --url "$HTTP" ;;
        subscribe) {sys.executable} -m valtronics_fast "$@" --url "$WS" ;;
        bench) {sys.executable} -m valtronics_fast "$@" --url "$WS" --http-url "$HTTP" ;;
        *) {sys.executable} -m valtronics_fast "$@" ;;
    esac
    code=$?
    [ "$1" != bench ] || [ $code != 3 ] || return 0  # a busy machine makes the client late, and it says so
    return $code
}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[process.Running]:
    variables = {"VFAST_AUTH__SECRET": SECRET, "VFAST_HTTP__API_KEY": KEY}
    async with process.running("--demo", **variables) as running:
        yield running


def shown(output: str) -> re.Pattern[str]:
    """Return what an output on the page stands for: `...` is anything, and alone on a line, any lines."""
    lines = (re.escape(line).replace(r"\.\.\.", ".*?") + r"\n" for line in output.splitlines())
    return re.compile("".join(r"(?:.*\n)*?" if line == r".*?\n" else line for line in lines))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("command", "output"), EXAMPLES)
async def test_a_command_prints_what_the_page_shows(server: process.Running, command: str, output: str) -> None:
    variables = {
        "HTTP": server.http,
        "WS": server.url,
        "VALTRONICS_API_KEY": KEY,
        "VALTRONICS_TOKEN": mint(AuthConfig(secret=SECRET), "reader"),
        "VFAST_AUTH__SECRET": SECRET,
    }
    shell = await asyncio.create_subprocess_exec(
        "bash", "-c", SHELL + command, env=process.environment(**variables),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(shell.communicate(), process.TIMEOUT)
    assert shell.returncode == EXIT_OK, err.decode()
    assert shown(output).fullmatch(out.decode()), out.decode()


def flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the flags of a parser and of those below it."""
    for action in parser._actions:
        yield from (flag for flag in action.option_strings if flag.startswith("--") and flag != "--help")
        if isinstance(action.choices, dict):
            for each in action.choices.values():
                yield from flags(each)


@pytest.mark.parametrize("name", ["serve", *COMMANDS])
def test_a_section_has_every_flag_of_its_command_and_no_others(name: str) -> None:
    told = set(re.findall(r"`(--[a-z-]+)", re.sub(r"```.*?```", "", SECTIONS[name], flags=re.DOTALL)))
    assert told - {"--help"} == set(flags(module_of(name).parser()))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_examples_and_exit_codes(name: str) -> None:
    text = module_of(name).parser().format_help()
    assert "examples:" in text
    assert "exit codes:" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_list_has_every_command() -> None:
    summaries = {name: (module_of(name).__doc__ or "").partition("\n")[0] for name in ("serve", *COMMANDS)}
    for name, summary in summaries.items():
        assert summary.startswith(f"`{name}`: ")
        assert f"| [`{name}`](#{name}) |" in PAGE
    assert set(SECTIONS) == set(summaries)
