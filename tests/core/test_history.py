"""The last publications of a channel against a list that keeps everything."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.harness import dumps, telemetry
from valtronics_fast._core.history import History
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.wire import Channel

# What history.pyx reckons for a message and for a metric, in bytes, beside the JSON.
MESSAGE_COST, METRIC_COST = 300, 64


def cost(message: dict[str, Any]) -> int:
    return MESSAGE_COST + len(message["telemetry"]) * METRIC_COST + len(dumps(message | {"channel": "telemetry"}))


def test_a_new_one_is_empty() -> None:
    history = History(3, max_bytes=5, max_age=7)
    assert (history.max_messages, history.max_bytes, history.max_age) == (3, 5, 7)
    assert len(history) == 0
    assert history.stats() == {"messages": 0, "bytes": 0, "first": 1, "last": 0}
    assert history.since(0) == []
    assert history.since(1) is None


def test_none_is_kept_and_all_are_counted() -> None:
    history = History()
    for _ in range(3):
        history.keep(telemetry(1, t=1))
    assert history.stats() == {"messages": 0, "bytes": 0, "first": 4, "last": 3}
    assert [history.since(offset) for offset in range(5)] == [None, None, None, [], None]


@pytest.mark.parametrize(("spare", "kept"), [(0, 3), (-1, 2), (1, 3)])
def test_the_bound_on_bytes(spare: int, kept: int) -> None:
    size = cost(telemetry(1, t=1))
    history = History(100, max_bytes=3 * size + spare)
    for _ in range(5):
        history.keep(telemetry(1, t=1))
    assert history.stats() == {"messages": kept, "bytes": kept * size, "first": 6 - kept, "last": 5}


def test_one_that_is_larger_than_the_bound_leaves_nothing() -> None:
    history = History(100, max_bytes=1000)
    history.keep(telemetry(1, t=1))
    history.keep(telemetry(1, t="x" * 1000))
    assert history.stats() == {"messages": 0, "bytes": 0, "first": 3, "last": 2}
    history.keep(telemetry(2, t=1))
    assert history.since(2) == [(3, Channel.TELEMETRY, 2)]


def test_what_is_too_old_is_forgotten_when_somebody_asks() -> None:
    history = History(100, max_age=10)
    for now in (0, 5, 5):
        history.keep(telemetry(1, t=1), now)
    assert len(history.since(0, 9.999) or ()) == 3
    assert history.since(0, 10) is None
    assert len(history) == 2
    history.keep(telemetry(1, t=1), 15)
    assert history.stats()["first"] == 4


@given(
    st.sampled_from([0, 1, 2, 63, 64, 65, 200]),
    st.sampled_from([0, 1, 2000, 20_000]),
    st.sampled_from([0.0, 1.0, 20.0]),
    st.lists(st.tuples(st.sampled_from([1, 2, "a"]), st.integers(0, 3), st.sampled_from([0.0, 0.5, 3.0])), max_size=90),
)
@settings(max_examples=150, deadline=None)
def test_against_a_list(
    count: int, size: int, age: float, given_messages: list[tuple[int | str, int, float]]
) -> None:
    history = History(count, max_bytes=size, max_age=age)
    kept: list[tuple[int, int | str, float, int]] = []  # offset, device, when, bytes
    now, last = 0.0, 0
    for device, metrics, later in given_messages * 3:
        now += later
        last += 1
        message = telemetry(device, **dict.fromkeys([f"m{n}" for n in range(metrics + 1)], 1))
        history.keep(message, now)
        kept = [*kept, (last, device, now, cost(message))][-count:] if count else []
        kept = [one for one in kept if not age or one[2] + age > now]
        while size and sum(one[3] for one in kept) > size:
            kept.pop(0)
        first = kept[0][0] if kept else last + 1
        assert history.stats() == {
            "messages": len(kept), "bytes": sum(one[3] for one in kept), "first": first, "last": last,
        }  # fmt: skip
    for offset in {0, 1, max(0, last - len(kept) - 1), max(0, last - len(kept)), last // 2, last, last + 1}:
        reaches = last - len(kept) <= offset <= last
        expected = [(one[0], Channel.TELEMETRY, one[1]) for one in kept if one[0] > offset]
        assert history.since(offset, now) == (expected if reaches else None)


PARTITION = {device: zlib.crc32(str(device).encode()) % 64 for device in (1, 2, "a")}


@given(
    st.sampled_from([0, 1, 5, 64, 100]),
    st.lists(st.tuples(st.sampled_from([1, 2, "a"]), st.integers(1, 5)), max_size=80),
    st.sets(st.sampled_from([1, 2, "a"])),
    st.integers(0, 200),
)
@settings(max_examples=150, deadline=None)
def test_offsets_with_gaps_and_partitions_that_are_followed_later(
    count: int, steps: list[tuple[int | str, int]], late: set[int | str], asked: int
) -> None:
    """Of the devices in `late` everything comes at the end, from the log."""
    history = History(count)
    log: list[tuple[int, int | str]] = []
    offset = 0
    for device in late:
        history.set_floor(PARTITION[device], None)
    for device, step in steps:
        offset += step
        log.append((offset, device))
        if device not in late:
            history.keep(telemetry(device, t=1), offset=offset)
    live = [one for one in log if one[1] not in late]
    last = live[-1][0] if live else 0
    lost = 0 if len(live) <= count else live[-count - 1][0] if count else last
    for device in (1, 2, "a"):
        mask = 1 << PARTITION[device]
        reaches = lost <= asked <= last and device not in late
        kept = live[-count:] if count else []
        expected = [(number, Channel.TELEMETRY, one) for number, one in kept if number > asked]
        assert history.since(asked, partitions=mask) == (expected if reaches else None)
    history.advance_to(offset)
    history.insert(
        [telemetry(device, t=1) for _, device in log if device in late],
        [number for number, device in log if device in late],
    )
    for device in late:
        history.set_floor(PARTITION[device], 0)
    known = [one for one in log if one[0] > lost]
    if count and len(known) > count:
        lost = known[-count - 1][0]
    known = known[-count:] if count else []
    reaches = lost <= asked <= offset
    expected = [(number, Channel.TELEMETRY, one) for number, one in known if number > asked]
    assert history.since(asked) == (expected if reaches else None)


def test_a_floor_is_where_a_partition_begins() -> None:
    history = History(10)
    for _ in range(5):
        history.keep(telemetry(1, t=1))
    history.set_floor(7, 3)
    assert [history.since(offset, partitions=1 << 7) is not None for offset in range(7)] == [
        False, False, False, True, True, True, False,
    ]  # fmt: skip
    assert history.since(0, partitions=1 << 8) is not None


def test_what_is_inserted_twice_is_there_once() -> None:
    history = History(10)
    history.keep(telemetry(1, t=1), offset=5)
    for _ in range(2):
        history.insert([telemetry(2, t=1), telemetry(1, t=1)], [3, 5])
    assert history.since(0) == [(3, Channel.TELEMETRY, 2), (5, Channel.TELEMETRY, 1)]


def test_a_hub_has_one_for_each_channel_with_its_bounds() -> None:
    hub = Hub(lambda flush: None, 0.0, history=2, history_size=10_000, history_age=5)
    for _ in range(3):
        hub.publish({"type": "alert", "severity": "low"}, 0)
    hub.publish(telemetry(1, t=1), 0)
    assert [len(history) for history in hub.histories] == [1, 2, 0, 0]
    assert [history.last for history in hub.histories] == [1, 3, 0, 0]
    history = hub.histories[Channel.ALERTS]
    assert (history.max_messages, history.max_bytes, history.max_age) == (2, 10_000, 5)


def test_a_publication_that_fails_has_no_offset() -> None:
    hub = Hub(lambda flush: None, 0.0, history=2, max_payload=300)
    with pytest.raises(ValueError, match="at most"):
        hub.publish(telemetry(1, t="x" * 300), 0)
    assert hub.histories[Channel.TELEMETRY].last == 0


def test_an_epoch_is_its_hubs_own() -> None:
    epochs = {Hub(lambda flush: None, 0.0).epoch for _ in range(3)}
    assert len(epochs) == 3
    assert Hub(lambda flush: None, 0.0, epoch="mine").epoch == "mine"
