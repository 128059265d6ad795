from __future__ import annotations

from collections import Counter

from valtronics_fast.addresses import AddressLimiter
from valtronics_fast.room import MAX_REPORTED, OwnRoom, reported
from valtronics_fast.units import Rate


def test_connections_in_all() -> None:
    room = OwnRoom()
    assert [room.enter(2) for _ in range(3)] == [True, True, False]
    assert (room.connections(), room.is_full(2), room.is_full(3)) == (2, True, False)
    room.leave()
    assert room.enter(2)


def test_no_limit() -> None:
    room = OwnRoom()
    assert all(room.enter(0) and room.join("a", 0) for _ in range(50))
    assert not room.is_full(0)


def test_connections_of_a_user() -> None:
    room = OwnRoom()
    assert [room.join("a", 2) for _ in range(3)] == [True, True, False]
    assert room.join("b", 2)
    assert (room.connections_of("a"), room.connections_of("b"), room.connections_of("c")) == (2, 1, 0)
    room.part("a")
    room.part("b")
    assert room.users == {"a": 1}


def test_addresses_and_messages_are_this_process_own() -> None:
    room = OwnRoom()
    limiter = room.limiter("connections", Rate(1, 60.0), 10)
    assert isinstance(limiter, AddressLimiter)
    assert limiter.take("a", 0.0) == 0.0
    assert limiter.take("a", 0.0) > 0.0
    assert room.limiter("handshakes", Rate(1, 60.0), 10).take("a", 0.0) == 0.0
    assert room.messages(7) == 7


def test_others_are_told_of_those_with_most_connections() -> None:
    users = Counter({f"u{number}": 1 + number for number in range(MAX_REPORTED)})
    assert reported(users) == users
    users["one more"] = 10**6
    told = reported(users)
    assert len(told) == MAX_REPORTED
    assert "one more" in told
    assert "u0" not in told
    few = Counter({f"u{number}": 1 for number in range(MAX_REPORTED)}) + Counter({"late": 2})
    told = reported(few)
    assert len(told) == MAX_REPORTED
    assert told["late"] == 2
