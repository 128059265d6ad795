"""What the tests of deploy/ share: where it is, copies of its files for another place, programs that run by them."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from services import START_TIMEOUT
from valtronics_fast.config import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
VARIABLES = {setting.variable for setting in SETTINGS.values()}


def assert_settings(variables: Iterable[str]) -> None:
    """Assert that variables of ours are settings, or files of one; any other keeps the server from starting."""
    ours = [name for name in variables if name.startswith("VFAST_")]
    assert ours
    assert [name for name in ours if name not in VARIABLES and name.removesuffix("_FILE") not in VARIABLES] == []


def moved(text: str, places: Mapping[str, object]) -> str:
    """Return the text of a file with paths, ports or names put in place of its own; each of them has to be there."""
    for old, new in places.items():
        assert re.search(old, text), old
        text = re.sub(old, str(new), text)
    return text


def make_secrets(directory: Path) -> Path:
    """Run make-secrets.sh for a directory, and return it."""
    subprocess.run([DEPLOY / "make-secrets.sh", directory], check=True, capture_output=True, timeout=60)
    return directory


@contextlib.contextmanager
def started(command: Sequence[object], port: int, log: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that listens on a port, from when it does so."""
    with log.open("ab") as output:
        process = subprocess.Popen([str(each) for each in command], stdout=output, stderr=output, **options)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start:\n{log.read_text(errors='replace')}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
