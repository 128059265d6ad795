from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.producers.status import UNKNOWN, RetainedTable, StatusTable


def test_the_first_status_follows_unknown() -> None:
    table = StatusTable()
    assert table.last(1) == UNKNOWN == "unknown"
    assert table.note(1, "online") == "unknown"
    assert table.note(1, "offline") == "online"
    assert table.note(1, "offline") == "offline"
    assert table.last(1) == "offline"
    assert table.note("1x", "online") == "unknown"
    assert len(table) == 2


def test_the_device_longest_not_heard_of_is_forgotten() -> None:
    table = StatusTable(2)
    table.note(1, "online")
    table.note(2, "online")
    table.note(1, "online")
    table.note(3, "online")
    assert len(table) == 2
    assert [table.last(device) for device in (1, 2, 3)] == ["online", "unknown", "online"]


def test_it_remembers_100_000_devices() -> None:
    table = StatusTable()
    for device in range(100_001):
        table.note(device, "online")
    assert len(table) == 100_000
    assert table.last(0) == "unknown"
    assert table.last(1) == "online"


def test_capacity_must_hold_a_device() -> None:
    with pytest.raises(ValueError):
        StatusTable(0)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["online", "offline", "warning"]))),
    st.integers(1, 5),
)
def test_against_a_slow_oracle(steps: list[tuple[int, str]], capacity: int) -> None:
    table = StatusTable(capacity)
    heard: list[tuple[int, str]] = []  # oldest first
    for device, status in steps:
        old = dict(heard).get(device, "unknown")
        heard = ([entry for entry in heard if entry[0] != device] + [(device, status)])[-capacity:]
        assert table.note(device, status) == old
        assert len(table) == len(heard)
    for device in range(10):
        assert table.last(device) == dict(heard).get(device, "unknown")


class TestRetainedTable:
    def test_what_a_topic_said_last_says_nothing_again(self) -> None:
        table = RetainedTable()
        assert not table.knows("a", b"1", retained=True)
        assert table.knows("a", b"1", retained=True)
        assert not table.knows("a", b"2", retained=True)
        assert not table.knows("a", b"1", retained=True)
        assert not table.knows("b", b"1", retained=True)

    def test_what_comes_without_the_flag_is_always_new_and_noted(self) -> None:
        table = RetainedTable()
        assert not table.knows("a", b"1", retained=True)
        for _ in range(2):
            assert not table.knows("a", b"2", retained=False)
        assert table.knows("a", b"2", retained=True)

    def test_topics_that_are_never_retained_are_not_remembered(self) -> None:
        table = RetainedTable()
        assert not table.knows("a", b"1", retained=False)
        assert not table.knows("a", b"1", retained=True)

    def test_it_is_bounded(self) -> None:
        table = RetainedTable(2)
        for topic in "abc":
            table.knows(topic, b"1", retained=True)
        assert table.knows("c", b"1", retained=True)
        assert not table.knows("a", b"1", retained=True)
        with pytest.raises(ValueError, match="at least one"):
            RetainedTable(0)
