"""What the service manager hears, from a real socket; from the process too."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from harness import until
from process import running
from valtronics_fast.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Manager:
    """A service manager's socket.

    Attributes:
        address: what NOTIFY_SOCKET says.
    """

    def __init__(self, path: str) -> None:
        self.address = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(path.replace("@", "\0", 1) if path.startswith("@") else path)
        self.heard: list[dict[str, str]] = []

    def listen(self) -> list[dict[str, str]]:
        """Return all messages that have come so far, as systemd reads them."""
        try:
            while True:
                lines = self._socket.recv(4096).decode().splitlines()
                self.heard.append(dict(line.split("=", 1) for line in lines))
        except BlockingIOError:
            return self.heard

    def heard_of(self, name: str) -> list[str]:
        return [message[name] for message in self.listen() if name in message]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = f"@valtronics-{os.getpid()}-{time.monotonic_ns()}" if request.param == "abstract" else str(tmp_path / "n")
    manager = Manager(path)
    yield manager
    manager.close()


def test_what_it_says(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address})
    notifier.ready("up")
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.stopping("going")
    notifier.close()
    notifier.ready("no more")
    ready, reloading, stopping = manager.listen()
    assert ready == {"READY": "1", "STATUS": "up"}
    assert reloading.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert stopping == {"STOPPING": "1", "STATUS": "going"}


async def test_without_a_manager_it_says_nothing() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000"})
    notifier.ready("up")
    notifier.keep_alive()
    notifier.close()


@pytest.mark.parametrize("address", ["/nowhere/at/all", "@nobody-there", "vsock:2:1", "x" * 300])
def test_a_manager_that_is_gone_is_no_fault(address: str, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready("up")
    notifier.close()
    (record,) = caplog.records
    assert record.getMessage() == "the service manager can't be told"


def test_one_that_does_not_read_holds_nobody_up(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address})
    for _ in range(10_000):
        notifier.ready("up")
    notifier.close()
    assert 0 < len(manager.listen()) < 10_000


@pytest.mark.parametrize(
    ("variables", "interval"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "0"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_how_often_the_watchdog_wants_to_hear_of_it(variables: dict[str, str], interval: float) -> None:
    assert Notifier(variables).interval == interval


async def test_signs_of_life_come_from_the_event_loop(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "20000"})
    notifier.keep_alive()
    await until(lambda: len(manager.heard_of("WATCHDOG")) >= 3)
    count = len(manager.heard_of("WATCHDOG"))
    time.sleep(0.1)  # the loop hangs
    assert len(manager.heard_of("WATCHDOG")) == count
    notifier.close()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_process_tells_its_life(workers: str, manager: Manager) -> None:
    variables = {"VFAST_SERVER__WORKERS": workers}
    variables |= {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000", "VFAST_LOGGING__FORMAT": "json"}
    async with running(**variables) as server:
        await until(lambda: manager.heard_of("WATCHDOG"))
        server.tell(signal.SIGHUP)
        await until(lambda: len(manager.heard_of("READY")) == 2)
        assert await server.end() == 0
    told = [next(iter(message)) for message in manager.listen() if "WATCHDOG" not in message]
    assert told == ["READY", "RELOADING", "READY", "STOPPING"]
    assert manager.heard_of("STATUS")[0].startswith("WebSocket on 127.0.0.1 port ")
    assert manager.heard_of("STATUS")[-1] == "draining"
