"""That the checks of sets, hash tables, postings and subscriptions see what is wrong."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from core.harness import Server, subscribe
from core.tampering import behind, changed, fields, parts
from valtronics_fast._core.bitset import Slots
from valtronics_fast._core.checks import check_hub
from valtronics_fast._core.index_checks import check_index, check_pair_table, check_postings, check_slots
from valtronics_fast._core.pairs import Pairs
from valtronics_fast._core.postings import PostingTable


def test_slots() -> None:
    slots = Slots()
    for slot in (5, 9):
        slots.add(slot)
    check_slots(slots)
    with changed(fields(slots), 9 << 32 | 5, 5 << 32 | 9), pytest.raises(AssertionError, match="rising order"):
        check_slots(slots)


@pytest.mark.parametrize(
    ("kind", "count", "wrong"),
    [("inline", 2, 3), ("sparse", 10, 1), ("sparse", 10, 1000), ("dense", 100, 99), ("dense", 100, 20)],
)
def test_slots_that_are_counted_wrongly(kind: str, count: int, wrong: int) -> None:
    slots = Slots()
    for slot in range(count):
        slots.add(slot)
    assert slots.shape == kind
    fault = r"a set counts|an? \w+ set is too"
    with changed(fields(slots, ctypes.c_uint32), count, wrong), pytest.raises(AssertionError, match=fault):
        check_slots(slots)
    check_slots(slots)


def test_pairs_that_are_counted_wrongly() -> None:
    pairs = Pairs()
    for number in range(1, 21):
        pairs.add(number, 1000 + number)
    assert sum(check_pair_table(pairs).values()) == 20
    for wrong, fault in ((19, "counts 19 entries"), (3, "too empty"), (25, "too full"), (0, "has memory")):
        words = fields(pairs, ctypes.c_uint32)
        with changed(words, 20, wrong), pytest.raises(AssertionError, match=fault):
            check_pair_table(pairs)
    check_pair_table(pairs)


def test_pairs_that_can_not_be_found() -> None:
    pairs = Pairs()
    for number in range(1, 4):
        pairs.add(number, 1000 + number)
    words = behind(fields(pairs)[0], 2 * pairs.size, ctypes.c_uint32)
    keys = [key for key in range(100, 1000) if not pairs.values(key)]
    found = 0
    for key in keys[:50]:  # where another key belongs somewhere else, and a free place lies between
        with changed(words, 2, key):
            try:
                check_pair_table(pairs)
            except AssertionError as error:
                found += "can't be found" in str(error)
    assert found > 0
    check_pair_table(pairs)


def test_postings() -> None:
    table = PostingTable()
    for device in [*range(1000, 1100), "a"]:
        table.add(device)
    assert len(check_postings(table)) == 101
    with changed(fields(table), 101, 100), pytest.raises(AssertionError, match="100 postings are counted, not 101"):
        check_postings(table)
    used = page_of(table, 1)
    (before,) = {used[0]}
    with changed(used, before, before >> 1), pytest.raises(AssertionError, match="in no page"):
        check_postings(table)
    check_postings(table)


def page_of(table: PostingTable, number: int) -> ctypes.Array[Any]:
    """Return the head of a page and its first two postings, in words of 8 bytes (postings.pxd)."""
    return behind(behind(fields(table)[4], number + 1, ctypes.c_uint64)[number], 15, ctypes.c_uint64)


async def test_subscriptions() -> None:
    async with Server() as server:
        client, other = await server.login(), await server.login()
        for device in range(7):
            await subscribe(client, "telemetry", device_id=device, metrics=["a"])
        await subscribe(other, "telemetry", device_id=[0, 1, 2], metrics=["a"])
        await subscribe(other, "telemetry", metrics=["a"])
        assert len(check_index(server.hub.index)) == 4 + 7
        check_hub(server.hub)
        index = server.hub.index
        with changed(fields(index), index.entries, 12), pytest.raises(AssertionError, match="12 entries are counted"):
            check_index(index)
        (table,) = [part for part in parts(index) if isinstance(part, PostingTable) and part.count]
        device = table.devices()[1]
        assert device in (0, 1, 2)  # the first posting has two groups of one slot, one of which is shadowed
        with changed(page_of(table, 0), 1 << 32 | 2, 2), pytest.raises(AssertionError, match="0 slots are shadowed"):
            check_index(index)
        check_hub(server.hub)
