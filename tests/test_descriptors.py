"""The limit belongs to a process, so each test has processes of its own, which a shell starts with a limit."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from front_server import Answer, frame, read_frame, request
from services import free_port
from valtronics_fast.descriptors import DescriptorWatch, raise_descriptor_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

KEY = "key-of-the-operator"
TIMEOUT = 30.0
RAISE = """
import resource, sys
from valtronics_fast.descriptors import DescriptorWatch, raise_descriptor_limit
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


def test_the_end_of_descriptors_is_counted_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fault: list[int] = []
    real = os.open

    def open_or_not(path: str, flags: int) -> int:
        if fault:
            raise OSError(fault[0], "no")
        return real(path, flags)

    monkeypatch.setattr(os, "open", open_or_not)
    watch = DescriptorWatch()
    for errors in ([], [errno.EMFILE], [errno.EMFILE], [errno.ENFILE], [], [errno.EACCES], [errno.EMFILE]):
        fault[:] = errors
        watch.look()
    assert watch.exhausted == 4
    told = [(record.levelname, record.message.split(":")[0]) for record in caplog.records]
    assert told == [
        ("ERROR", "no descriptor is left"),
        ("WARNING", "there are descriptors again"),
        ("ERROR", "no descriptor is left"),
    ]


@contextlib.contextmanager
def program(*limits: int, **settings: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """Run the whole program with limits; yield it with its ports."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VFAST_")}
    ports = free_port(), free_port()
    settings |= {"VFAST_SERVER__PORT": str(ports[0]), "VFAST_HTTP__PORT": str(ports[1]), "VFAST_HTTP__API_KEY": KEY}
    with subprocess.Popen(
        limited_to(*limits, "-m", "valtronics_fast"),
        env=clean | settings | {"VFAST_LOGGING__FORMAT": "json"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as one:
        try:
            assert one.stdout is not None
            assert one.stdout.readline(), "it did not start"
            yield one, *ports
        finally:
            if one.poll() is None:
                one.kill()


def stats(port: int) -> dict[str, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/stats", headers={"X-API-Key": KEY})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def pong(client: socket.socket) -> bytes:
    client.sendall(frame(b'{"type":"ping"}'))
    return read_frame(client)[1]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_row_47_without_descriptors_the_server_serves_those_it_has_counts_it_and_recovers() -> None:
    settings = {"VFAST_LIMITS__CONNECTION_RATE": "0", "VFAST_SERVER__HANDSHAKE_TIMEOUT": "1h"}
    with program(100, 100, **settings) as (one, port, http_port), contextlib.ExitStack() as stack:
        address = ("127.0.0.1", port)
        client = stack.enter_context(socket.create_connection(address, TIMEOUT))
        client.sendall(request())
        assert Answer(client).status == 101
        strangers = [stack.enter_context(socket.create_connection(address, TIMEOUT)) for _ in range(150)]
        time.sleep(2.5)
        assert b"pong" in pong(client)
        cpu = sum(psutil.Process(one.pid).cpu_times()[:2])
        assert b"pong" in pong(client)
        time.sleep(1)
        assert sum(psutil.Process(one.pid).cpu_times()[:2]) - cpu < 0.5  # a loop that spins takes all of the time
        for stranger in strangers:
            stranger.close()
        until(lambda: len(psutil.Process(one.pid).net_connections()) < 30)
        assert b"pong" in pong(client)
        with socket.create_connection(address, TIMEOUT) as late:
            late.sendall(request())
            assert Answer(late).status == 101
        assert stats(http_port)["seconds_without_descriptors"] >= 1
        time.sleep(1.1)
        one.send_signal(signal.SIGTERM)
        _, log = one.communicate(timeout=TIMEOUT)
    told = [line["message"] for line in map(json.loads, log.splitlines()) if "descriptor" in line["message"]]
    assert [text.split(":")[0] for text in told] == ["no descriptor is left", "there are descriptors again"]
    assert len(log.splitlines()) < 20
