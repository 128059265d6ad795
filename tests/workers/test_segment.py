from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import astuple

from valtronics_fast.workers.segment import WAYS, Layout, LockBusyError, Segment

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYOUT = Layout.of(3, 100, 100, 100)

# Another process that has the memory: does what it is told by a line of Python, and says what comes of it.
OTHER = """
import sys
from valtronics_fast.workers.segment import Layout, Segment
segment = Segment(int(sys.argv[1]), Layout(*map(int, sys.argv[2].split(","))), bytes.fromhex(sys.argv[3]))
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
"""


@pytest.fixture
def segment() -> Iterator[Segment]:
    found = Segment.create(LAYOUT)
    yield found
    found.close()


def other(segment: Segment) -> subprocess.Popen[str]:
    layout = ",".join(str(size) for size in astuple(LAYOUT))
    arguments = [sys.executable, "-c", OTHER, str(segment.descriptor), layout, segment.key.hex()]
    process = subprocess.Popen(
        arguments, pass_fds=[segment.descriptor], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert said(process) == "ready"
    return process


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    process.stdin.write(f"{line}; print('done', flush=True)\n")
    process.stdin.flush()
    return said(process)


def test_the_tables_have_room_to_spare_and_take_memory_only_where_they_are_used(segment: Segment) -> None:
    assert Layout.of(2, 1000, 100_000, 10_000) == Layout(2, 1 << 16, 1 << 18, 1 << 16)
    assert Layout.of(2, 100_000, 1, 1) == Layout(2, 1 << 19, 1 << 10, 1 << 10)
    assert Layout.of(2, 0, 1, 1).users == 1 << 22
    segment.take_place("alice")
    assert os.fstat(segment.descriptor).st_blocks * 512 < 100_000


def test_connections_are_summed_over_all_workers(segment: Segment) -> None:
    for worker in (0, 0, 2):
        segment.enter(worker)
    segment.leave(0)
    assert segment.connections() == 2
    assert [segment.of_worker(worker) for worker in range(3)] == [1, 0, 1]


def test_users_are_counted_over_all_workers(segment: Segment) -> None:
    places = {user: segment.take_place(user) for user in ("alice", "bob")}
    assert segment.take_place("alice") == places["alice"] != places["bob"]
    segment.change(0, places["alice"], 2)
    segment.change(2, places["alice"], 1)
    assert segment.count(segment.find("alice")) == 3
    assert segment.count(segment.find("bob")) == 0
    assert segment.count(segment.find("nobody")) == 0


def of_one_set(segment: Segment, sets: int, count: int) -> list[str]:
    """Return names that stand in the same set of a table."""
    found = (name for name in map(str, range(10**8)) if segment.digest(name) // 2 % sets == 5)
    return list(islice(found, count))


def test_a_place_without_connections_is_used_again_and_one_with_some_is_not(segment: Segment) -> None:
    same = of_one_set(segment, LAYOUT.users // WAYS, WAYS + 2)
    for user in same[:WAYS]:
        segment.change(1, segment.take_place(user), 1)
    assert segment.take_place(same[WAYS]) == -1
    place = segment.find(same[7])
    segment.change(1, place, -1)
    assert segment.take_place(same[WAYS]) == place
    assert segment.find(same[7]) == -1


def test_what_a_worker_had_is_given_back(segment: Segment) -> None:
    for worker in (0, 1):
        segment.enter(worker)
        segment.change(worker, segment.take_place("alice"), 1)
        segment.set_messages(worker, 10)
    assert segment.give_back(1) == 1
    assert segment.connections() == 1
    assert segment.count(segment.find("alice")) == 1
    assert segment.messages() == 20  # they have been sent all the same
    assert os.fstat(segment.descriptor).st_blocks * 512 < 100_000
    assert segment.give_back(1) == 0


def test_tokens_of_an_address(segment: Segment) -> None:
    def take(address: str, now: float, table: int = 0) -> float:
        return segment.take_token(table, address, now, cost=10.0, burst=20.0)

    assert [take("a", 1000.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert take("a", 1000.0) == pytest.approx(10.0)
    assert take("b", 1000.0) == take("a", 1000.0, table=1) == 0.0
    assert take("a", 1010.0) == 0.0
    assert take("a", 1010.0) > 0.0


def test_the_address_that_was_quiet_for_longest_makes_room(segment: Segment) -> None:
    same = of_one_set(segment, LAYOUT.addresses // WAYS, WAYS + 1)
    for number, address in enumerate(same):
        assert segment.take_token(0, address, 1000.0 + number, cost=1000.0, burst=0.0) == 0.0
    assert segment.take_token(0, same[1], 1100.0, cost=1000.0, burst=0.0) > 0.0
    assert segment.take_token(0, same[0], 1100.0, cost=1000.0, burst=0.0) == 0.0  # forgotten


def test_another_process_sees_the_same(segment: Segment) -> None:
    with other(segment) as process:
        tell(process, "segment.enter(1); segment.change(1, segment.take_place('alice'), 4)")
        assert segment.connections() == 1
        assert segment.count(segment.find("alice")) == 4
        tell(process, "segment.take_token(0, 'a', 5.0, cost=1.0, burst=0.0)")
        assert segment.take_token(0, "a", 5.0, cost=1.0, burst=0.0) == pytest.approx(1.0)
        process.kill()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_ends_with_the_process_that_holds_it(segment: Segment, ending: signal.Signals) -> None:
    with other(segment) as process:
        tell(process, "segment.counting.__enter__()")
        with pytest.raises(LockBusyError), segment.counting:
            pass
        process.send_signal(ending)
        process.wait()
    with segment.counting:
        assert segment.connections() == 0


def test_locks_of_different_tables_do_not_hinder_each_other(segment: Segment) -> None:
    with other(segment) as process:
        tell(process, "segment.counting.__enter__()")
        assert segment.take_token(0, "a", 5.0, cost=1.0, burst=0.0) == 0.0
        tell(process, "segment._limiting[0].__enter__()")
        with pytest.raises(LockBusyError):
            segment.take_token(0, "a", 5.0, cost=1.0, burst=0.0)
        process.kill()
