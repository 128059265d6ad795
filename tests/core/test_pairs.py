"""Hash tables of 32-bit pairs, against a Counter."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast._core.index_checks import check_pair_table
from valtronics_fast._core.pairs import Pairs

KEYS = [0, 1, 2, 3, 100, 2**31, 2**32 - 1]
GOLDEN = 0x9E3779B1


def place(key: int) -> int:
    """Return what the place of a key follows from."""
    return key * GOLDEN % 2**32


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(KEYS), st.integers(1, 3)), max_size=200))
def test_entries_come_and_go_as_in_a_counter(steps: list[tuple[bool, int, int]]) -> None:
    pairs, model = Pairs(), Counter[tuple[int, int]]()
    for adds, key, value in steps:
        if adds:
            pairs.add(key, value)
            model[key, value] += 1
        else:
            assert pairs.remove(key, value) == (model[key, value] > 0)
            model[key, value] -= model[key, value] > 0
        model = +model
        assert check_pair_table(pairs) == model
        for known in KEYS:
            assert Counter(pairs.values(known)) == {v: n for (k, v), n in model.items() if k == known}
            first = pairs.first(known)
            assert (first is None) == (not pairs.values(known))
            assert first is None or first in pairs.values(known)


@pytest.mark.parametrize("order", ["as they came", "the last first", "by place", "by place, the last first", "random"])
def test_thousands_come_and_go_and_memory_follows(order: str) -> None:
    pairs, source = Pairs(), random.Random(1)
    keys = [source.randrange(2**32) for _ in range(3000)]
    for number, key in enumerate(keys, 1):
        pairs.add(key, number)
        assert pairs.size <= max(4, 8 * number / 3 + 1)
    entries = list(enumerate(keys, 1))
    if order == "random":
        source.shuffle(entries)
    if "by place" in order:
        entries.sort(key=lambda entry: place(entry[1]))
    if "last first" in order:
        entries.reverse()
    for left, (number, key) in zip(range(len(keys) - 1, -1, -1), entries, strict=True):
        assert pairs.remove(key, number)
        assert not pairs.remove(key, number)
        assert len(pairs) == left
        assert pairs.size <= max(4 if left else 0, 8 * left)
        if left % 97 == 0:
            assert check_pair_table(pairs) == Counter({(k, n): 1 for n, k in entries[len(keys) - left :]})
    assert pairs.size == 0


def test_a_size_does_not_flap() -> None:
    """A table at the border of growing or shrinking keeps its size when an entry goes and comes."""
    pairs = Pairs()
    for number in range(1, 2000):
        pairs.add(number, number)
        size = pairs.size
        assert pairs.remove(number, number)
        pairs.add(number, number)
        assert pairs.size == size
    for number in range(1999, 1, -1):
        assert pairs.remove(number, number)
        size = pairs.size
        pairs.add(number, number)
        assert pairs.remove(number, number)
        assert pairs.size == size


def test_room_that_was_made_suffices() -> None:
    pairs = Pairs()
    pairs.add(7, 1)
    pairs.reserve(1000)
    size = pairs.size
    for number in range(1000):
        pairs.add(number, 1)
    assert pairs.size == size
    assert sorted(pairs.values(7)) == [1, 1]
