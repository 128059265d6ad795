"""What counts as hanging, by real processes; what the supervisor does then: test_hanging.py."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from valtronics_fast.workers.watchdog import Watchdog, interval

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY = "print(flush=True)\nwhile True: pass"
ROUNDING = 0.05  # of the kernel's figures
IDLE = "import time\nprint(flush=True)\ntime.sleep(3600)"


@contextmanager
def process(program: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        one.stdout.readline()
        try:
            yield one
        finally:
            one.kill()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize(("timeout", "seconds"), [(30.0, 1.0), (6.0, 1.0), (0.6, 0.1)])
def test_it_is_looked_several_times_within_the_time(timeout: float, seconds: float) -> None:
    assert interval(timeout) == pytest.approx(seconds)


def test_who_sleeps_without_a_beat_hangs() -> None:
    with process(IDLE) as one:
        while state(one.pid) != "S":
            pass
        watchdog = Watchdog(one.pid, 7)
        assert [watchdog.look(7, 1.0) for _ in range(3)] == [1.0, 2.0, 3.0]
        assert watchdog.look(8, 1.0) == 0.0
        assert watchdog.look(8, 1.0) == watchdog.silent == 1.0


def test_who_is_stopped_hangs() -> None:
    with process(BUSY) as one:
        one.send_signal(signal.SIGSTOP)
        while state(one.pid) != "T":
            pass
        watchdog = Watchdog(one.pid, 0)
        assert [watchdog.look(0, 1.0) for _ in range(2)] == [1.0, 2.0]


def test_of_who_is_runnable_cpu_time_counts() -> None:
    """An endless loop uses it up; who gets no CPU has none, however long that lasts."""
    with process(BUSY) as one:
        watchdog = Watchdog(one.pid, 0)
        while cpu_seconds(one.pid) < 0.3:
            before = watchdog.silent
            assert watchdog.look(0, 3600.0) <= cpu_seconds(one.pid) + ROUNDING
        assert watchdog.silent > 0.1
        before = watchdog.silent
        assert watchdog.look(0, 0.0) == before  # the one who looks did not run meanwhile


def test_who_has_ended_does_not_hang() -> None:
    with process(IDLE) as one:
        one.kill()
        one.wait()
        assert Watchdog(one.pid, 0).look(0, 3600.0) == 0.0
