from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from valtronics_fast.units import Rate
from valtronics_fast.workers.segment import Layout, LockBusyError, Segment
from valtronics_fast.workers.shared_room import BUSY, SharedRoom

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def rooms() -> Iterator[list[SharedRoom]]:
    segment = Segment.create(Layout.of(3, 100, 100, 100))
    yield [SharedRoom(segment, worker) for worker in range(3)]
    segment.close()


def test_connections_in_all(rooms: list[SharedRoom]) -> None:
    one, two, _ = rooms
    assert [room.enter(3) for room in (one, two, one, two)] == [True, True, True, False]
    assert one.is_full(3)
    assert not one.is_full(4)
    assert not one.is_full(0)
    assert [room.connections() for room in rooms] == [3, 3, 3]
    two.leave()
    assert one.enter(3)


def test_connections_of_a_user(rooms: list[SharedRoom]) -> None:
    one, two, three = rooms
    assert [room.join("alice", 2) for room in (one, two, three)] == [True, True, False]
    assert [room.connections_of("alice") for room in rooms] == [2, 2, 2]
    assert [dict(room.users) for room in rooms] == [{"alice": 1}, {"alice": 1}, {}]
    one.part("alice")
    assert three.join("alice", 2)
    assert not one.join("alice", 2)
    assert all(one.join("alice", 0) for _ in range(5))


def test_a_user_for_whom_there_is_no_place_is_not_let_in(
    rooms: list[SharedRoom], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Segment, "take_place", lambda *_: -1)
    assert not rooms[0].join("alice", 0)
    assert rooms[0].connections_of("alice") == 0
    assert not rooms[0].users


def test_addresses(rooms: list[SharedRoom]) -> None:
    limiters = [room.limiter("connections", Rate(2, 60.0), 1) for room in rooms]
    assert [limiter.take("a", 1.0) > 0 for limiter in limiters] == [False, False, True]
    assert rooms[0].limiter("handshakes", Rate(1, 60.0), 1).take("a", 1.0) == 0.0
    assert rooms[0].limiter("connections", Rate(0, 60.0), 1).take("a", 1.0) == 0.0


def test_messages(rooms: list[SharedRoom]) -> None:
    assert [room.messages(10) for room in rooms] == [10, 20, 30]
    assert rooms[0].messages(15) == 35


def test_nobody_gets_in_while_the_lock_is_held_for_long(
    rooms: list[SharedRoom], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = rooms[0]
    assert room.enter(0)
    assert room.join("alice", 0)

    def busy(*_: object) -> None:
        raise LockBusyError

    monkeypatch.setattr(type(room.segment.counting), "__enter__", busy)
    assert not room.enter(0)
    assert not room.join("alice", 0)
    assert room.limiter("connections", Rate(1, 60.0), 1).take("a", 1.0) == BUSY
    room.part("alice")  # what goes needs no lock
    room.leave()
    assert (room.connections(), room.connections_of("alice")) == (0, 0)
