from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from valtronics_fast.workers import frames
from valtronics_fast.workers.bus import Bus
from valtronics_fast.workers.frames import NUMBER, pack_lanes

if TYPE_CHECKING:
    from collections.abc import Callable


class Port:
    """Takes down what the bus writes."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.settling: list[Callable[[], None]] = []

    def put(self, data: bytes, /) -> None:
        self.frames.append((data[4], data[5:]))

    put_entry = put

    def settle(self, done: Callable[[], None], /) -> None:
        self.settling.append(done)

    def take(self, kind: int) -> list[bytes]:
        """Return what has come of a kind."""
        found = [body for one, body in self.frames if one == kind]
        self.frames = [each for each in self.frames if each[0] != kind]
        return found


def opened(bus: Bus, node: int) -> Port:
    port = Port()
    bus.take(port, frames.OPEN, NUMBER.pack(0) + f"{node:016x}".encode())
    port.frames.clear()
    return port


def append(bus: Bus, port: Port, lane: int, *blobs: bytes, count: int = 1) -> None:
    batches = b"".join(frames.BATCH.pack(lane, count, len(blob)) + blob for blob in blobs)
    bus.take(port, frames.APPEND, NUMBER.pack(1) + batches)


def follow(bus: Bus, port: Port, *lanes: int, kind: int = frames.FOLLOW) -> None:
    bus.take(port, kind, NUMBER.pack(2) + pack_lanes(lanes))


def entries(port: Port) -> list[tuple[int, int, bytes]]:
    found = port.take(frames.ENTRY)
    return [(*frames.ENTRY_HEAD.unpack_from(body), body[frames.ENTRY_HEAD.size :]) for body in found]


def test_offsets_follow_the_clock_and_never_repeat() -> None:
    bus = Bus(10, 0)
    began = time.time_ns() // 1000
    port = opened(bus, 1)
    follow(bus, port, 0)
    for _ in range(100):
        append(bus, port, 0, b"x", count=100_000)
    offsets = [offset for _, offset, _ in entries(port)]
    assert offsets[0] >= began
    assert all(later - earlier >= 100_000 for earlier, later in itertools.pairwise(offsets))
    assert bus.head == offsets[-1] + 99_999
    assert Bus(10, 0).epoch != bus.epoch


def test_offsets_go_on_with_the_clock() -> None:
    """Whatever a supervisor has given before it was killed lies behind the clock of the next one."""
    bus = Bus(10, 0)
    port = opened(bus, 1)
    time.sleep(0.001)
    before = time.time_ns() // 1000
    append(bus, port, 0, b"x")
    assert bus.head >= before


def test_those_who_follow_a_lane_get_it_all_in_one_order() -> None:
    bus = Bus(10, 0)
    ports = [opened(bus, node) for node in range(3)]
    for port in ports[:2]:
        follow(bus, port, 5, 6)
    follow(bus, ports[0], 5)  # once more is no other
    append(bus, ports[0], 5, b"a", b"b")
    append(bus, ports[2], 6, b"c")
    first, second, third = map(entries, ports)
    assert first == second
    assert [(lane, blob) for lane, _, blob in first] == [(5, b"a"), (5, b"b"), (6, b"c")]
    assert third == []
    assert ports[2].take(frames.ANSWER) == [NUMBER.pack(1) + b"\0"]
    follow(bus, ports[0], 5, 7, kind=frames.UNFOLLOW)
    append(bus, ports[1], 5, b"d")
    append(bus, ports[1], 6, b"e")
    assert [blob for _, _, blob in entries(ports[0])] == [b"e"]
    assert [blob for _, _, blob in entries(ports[1])] == [b"d", b"e"]


def test_what_is_announced_comes_to_all_with_the_offset_that_was_given_last() -> None:
    bus = Bus(10, 0)
    ports = [opened(bus, node) for node in range(2)]
    append(bus, ports[0], 0, b"x", count=7)
    bus.take(ports[0], frames.ANNOUNCE, b"hello")
    for port in ports:
        assert port.take(frames.HEARD) == [frames.OFFSET.pack(bus.head) + b"hello"]
    bus.take(Port(), frames.ANNOUNCE, b"not open")
    assert ports[0].take(frames.HEARD) == []


def test_a_sender_is_answered_once_little_waits_for_the_receiver() -> None:
    bus = Bus(10, 0)
    one, other = opened(bus, 1), opened(bus, 2)
    bus.take(one, frames.SEND, NUMBER.pack(8) + f"{2:016x}".encode() + b"dump")
    assert other.take(frames.TOLD) == [b"dump"]
    assert one.take(frames.ANSWER) == []
    other.settling[0]()
    assert one.take(frames.ANSWER) == [NUMBER.pack(8) + b"\0"]
    bus.take(one, frames.SEND, NUMBER.pack(9) + f"{3:016x}".encode() + b"to nobody")
    assert one.take(frames.ANSWER) == [NUMBER.pack(9) + b"\0"]


def test_who_has_not_opened_the_log_is_refused() -> None:
    bus = Bus(10, 0)
    port = Port()
    append(bus, port, 0, b"x")
    assert port.take(frames.ANSWER) == [NUMBER.pack(1) + b"\1it is not open"]
    assert bus.appended == 0
    with pytest.raises(ValueError, match="no such frame: 77"):
        bus.take(port, 77, b"")


def test_who_does_not_read_is_told_that_the_log_is_lost() -> None:
    bus = Bus(10, 0)
    port = opened(bus, 1)
    follow(bus, port, 0)
    bus.drop(port)
    append(bus, opened(bus, 2), 0, b"x")
    assert entries(port) == []
    assert port.take(frames.LOST) == [b"this process did not read"]
    bus.drop(port)  # what it had to read is still not read
    assert (bus.losses, port.take(frames.LOST)) == (1, [])


def test_a_worker_that_ends_is_gone_for_the_others_at_once() -> None:
    bus = Bus(10, 0)
    one, other = opened(bus, 1), opened(bus, 2)
    bus.end(one)
    (heard,) = other.take(frames.HEARD)
    assert heard[8:] == b'{"node":1,"number":1,"leaving":true}'
    bus.end(Port())  # one that never opened the log
    assert other.take(frames.HEARD) == []


def test_a_worker_that_opens_the_log_again_begins_anew() -> None:
    bus = Bus(10, 0)
    port = opened(bus, 1)
    follow(bus, port, 0)
    bus.take(port, frames.OPEN, NUMBER.pack(5) + f"{1:016x}".encode())
    assert port.take(frames.ANSWER)[-1][5:].decode() == bus.epoch
    append(bus, port, 0, b"x")
    assert entries(port) == []
    bus.take(port, frames.LEAVE, b"")
    append(bus, port, 0, b"x")
    assert port.take(frames.ANSWER)[-1] == NUMBER.pack(1) + b"\1it is not open"
