"""What comes from the log: once, in order, and what is not right is told."""

from __future__ import annotations

import pytest

from harness import telemetry
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.lanes import lane_of
from valtronics_fast._core.wire import Channel
from valtronics_fast.backplanes.arrivals import Arrivals
from valtronics_fast.backplanes.envelope import Envelope, seal
from valtronics_fast.backplanes.sequences import Sequences

NODE, OTHER = 1, 2
LANE = lane_of(Channel.TELEMETRY, 1)


class Notes:
    """In place of Gaps: what was missed, and what came."""

    def __init__(self) -> None:
        self.missed: list[tuple[list[int], int | None]] = []
        self.come: list[int] = []

    def miss(self, lanes: list[int], node: int | None = None) -> None:
        self.missed.append((lanes, node))

    def came(self, lane: int, packets: bytes, offset: int) -> None:
        assert lane == LANE
        self.come.append(offset)


class Fixture:
    def __init__(self, **bounds: int) -> None:
        self.hub = Hub(lambda _flush: None, 0.0, history=100, shared=True, **bounds)
        self.notes = Notes()
        self.arrivals = Arrivals(NODE, Sequences(), self.notes)  # type: ignore[arg-type]
        self.arrivals.hub = self.hub

    def take(
        self, sequence: int, offset: int, *, node: int = OTHER, count: int = 1, packets: bytes | None = None
    ) -> None:
        if packets is None:
            packets = self.hub.pack(telemetry(device=1))[1] * count
        self.arrivals.take(LANE, offset, seal(Envelope(node, sequence, count, packets)))

    def offsets(self) -> list[int]:
        history = self.hub.histories[Channel.TELEMETRY]
        return [offset for offset, _, _ in history.since(0, partitions=0) or []]


def test_all_of_an_envelope_is_delivered() -> None:
    fixture = Fixture()
    fixture.take(1, 10, count=3)
    fixture.take(2, 20)
    assert fixture.offsets() == [10, 11, 12, 20]
    assert fixture.hub.log_position == 20
    assert fixture.notes.come == [10, 20]
    assert fixture.notes.missed == []


def test_a_repeat_is_left_out() -> None:
    fixture = Fixture()
    fixture.take(1, 10)
    fixture.take(1, 20)
    assert fixture.offsets() == [10]
    assert fixture.arrivals.repeated == 1


def test_a_gap_is_told_with_whose_it_was() -> None:
    fixture = Fixture()
    fixture.take(1, 10)
    fixture.take(3, 20)
    assert fixture.notes.missed == [([LANE], OTHER)]
    assert fixture.offsets() == [10, 20]


def test_what_was_given_up_is_a_gap_even_of_a_node_that_was_not_known() -> None:
    fixture = Fixture()
    fixture.take(7, 10, packets=b"")
    assert fixture.notes.missed == [([LANE], OTHER)]
    assert fixture.offsets() == []
    assert fixture.hub.log_position == 10


def test_what_was_delivered_before_is_kept_for_recovery_only() -> None:
    fixture = Fixture()
    fixture.arrivals.apart = {(LANE, 5)}
    fixture.take(3, 10, node=NODE)
    fixture.take(5, 15)  # of another node; it has numbers of its own
    assert fixture.arrivals.apart == {(LANE, 5)}
    fixture.take(5, 20, node=NODE)  # what is missing was delivered here, too
    assert fixture.offsets() == [10, 15, 20]
    assert fixture.arrivals.apart == set()
    assert fixture.notes.missed == []


@pytest.mark.parametrize("packets", [b"\xff" * 9, b"\x01\x00\x00\x00"])
def test_what_cannot_be_read_is_counted_and_told(packets: bytes) -> None:
    fixture = Fixture()
    fixture.take(1, 10, packets=packets)
    assert fixture.arrivals.garbage == 1
    assert fixture.notes.missed == [([LANE], OTHER)]
    assert fixture.hub.log_position == 10
    fixture.arrivals.take(LANE, 11, b"nonsense")
    assert fixture.arrivals.garbage == 2
    fixture.take(2, 12)
    assert fixture.offsets() == [12]


def test_an_offset_that_is_not_newer_is_told() -> None:
    fixture = Fixture()
    fixture.take(1, 10)
    fixture.take(2, 10)
    assert fixture.notes.missed == [([LANE], OTHER)]
    assert fixture.offsets() == [10]


def test_what_another_node_let_pass_is_not_measured_again() -> None:
    wide, narrow = Fixture(), Fixture(max_payload=50)
    narrow.take(1, 10, packets=wide.hub.pack(telemetry(device=1))[1])
    assert narrow.offsets() == [10]
    assert narrow.notes.missed == []
