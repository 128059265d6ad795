"""The limit belongs to a process, so each test has processes of its own, which a shell starts with a limit."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from services import free_port
from valtronics_fast.descriptors import raise_descriptor_limit

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT = 30.0
RAISE = """
import resource, sys
from valtronics_fast.descriptors import raise_descriptor_limit
from valtronics_fast.logging import setup
setup(format="json")
raise_descriptor_limit(int(sys.argv[1]))
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limited_to(soft: int, hard: int, *command: str) -> Sequence[str]:
    """Return the command line that starts a program with these limits."""
    return ["sh", "-ec", f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"', "sh", sys.executable, *command]


def raised(soft: int, hard: int, connections: int) -> tuple[str, str]:
    """Return the limits that were left in a process that began with these, and what it logged."""
    command = limited_to(soft, hard, "-c", RAISE, str(connections))
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(("soft", "hard", "connections"), [(256, 4064, 1000), (256, 256, 48), (128, 512, 0)])
def test_the_soft_limit_becomes_the_hard_one(soft: int, hard: int, connections: int) -> None:
    assert raised(soft, hard, connections) == (f"{hard} {hard}", "")


@pytest.mark.parametrize(("hard", "connections", "needed"), [(4063, 1000, 4064), (255, 48, 256)])
def test_a_limit_that_is_too_low_is_told(hard: int, connections: int, needed: int) -> None:
    limits, log = raised(128, hard, connections)
    assert limits == f"{hard} {hard}"
    line = json.loads(log)
    assert line["level"] == "warning"
    assert "limits.connections" in line["message"]
    assert (line["limit"], line["needed"], line["connections"]) == (hard, needed, connections)


def test_a_limit_that_cannot_be_raised_stays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit(1000)
    told = [record.message for record in caplog.records]
    assert ["can't be raised" in told[0], "limits.connections" in told[1], len(told)] == [True, True, 2]


def test_no_limit_is_never_too_low(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    raise_descriptor_limit(1_000_000)
    assert caplog.records == []


@pytest.mark.parametrize(("connections", "warnings"), [(100, 0), (1000, 1)])
def test_the_program_does_so_when_it_starts(connections: int, warnings: int) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VFAST_")}
    settings = {
        "VFAST_SERVER__PORT": str(free_port()),
        "VFAST_HTTP__PORT": str(free_port()),
        "VFAST_LIMITS__CONNECTIONS": str(connections),
        "VFAST_LOGGING__FORMAT": "json",
    }
    with subprocess.Popen(
        limited_to(128, 1024, "-m", "valtronics_fast"),
        env=clean | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline(), "it did not start"
            limits = Path(f"/proc/{server.pid}/limits").read_text()
        finally:
            server.send_signal(signal.SIGTERM)
            _, log = server.communicate(timeout=TIMEOUT)
    assert re.search(r"^Max open files +1024 +1024 ", limits, re.MULTILINE)
    told = [line for line in map(json.loads, log.splitlines()) if line["level"] == "warning"]
    assert [line["needed"] for line in told] == [4064] * warnings
