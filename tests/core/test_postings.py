"""Postings by device, against a dict."""

from __future__ import annotations

import gc
import random
import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from valtronics_fast._core.index_checks import check_postings
from valtronics_fast._core.postings import PostingTable

POSTING = 41  # bytes, with its share of a page
PAGE = 2700
devices = st.one_of(
    st.integers(-5, 200), st.integers(-(2**63), 2**63 - 1), st.text(alphabet="ab7", min_size=1, max_size=4)
)


class Postings(RuleBasedStateMachine):
    """One table; `model`: device -> number."""

    def __init__(self) -> None:
        super().__init__()
        self.table = PostingTable()
        self.model: dict[int | str, int] = {}

    def add(self, device: int | str) -> None:
        number = self.table.add(device)
        assert number > 0
        assert self.model.setdefault(device, number) == number

    @rule(device=devices)
    def add_one(self, device: int | str) -> None:
        self.add(device)

    @rule(first=st.integers(-100, 10_000), count=st.integers(1, 500), step=st.sampled_from([1, 64, 4096, 2**40]))
    def add_many(self, first: int, count: int, step: int) -> None:
        for device in range(first, first + count * step, step):
            self.add(device)

    @rule(first=st.integers(0, 100), count=st.integers(1, 200))
    def add_texts(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self.add(f"pump {number}")

    @rule(share=st.floats(0, 1), seed=st.integers(0, 3))
    def remove(self, share: float, seed: int) -> None:
        """Remove about a share of them."""
        source = random.Random(seed)
        for device in [device for device in self.model if source.random() < share]:
            self.table.remove(self.model.pop(device))
            assert self.table.number(device) == 0

    @invariant()
    def the_same_devices_are_there(self) -> None:
        assert check_postings(self.table) == {number: device for device, number in self.model.items()}
        assert self.table.devices() == {number: device for device, number in self.model.items()}
        assert self.table.count == len(self.model)
        assert (self.table.size == 0) == (not self.model)


TestPostings = Postings.TestCase
TestPostings.settings = settings(max_examples=60, stateful_step_count=30)


@pytest.mark.parametrize("order", ["as they came", "the last first", "random"])
def test_memory_follows_what_is_there(order: str) -> None:
    table, count = PostingTable(), 20_000
    numbers = [table.add(device) for device in range(count)]
    assert table.size < count * (POSTING + 8 * 8 / 3)
    if order == "random":
        random.Random(1).shuffle(numbers)
    elif order == "the last first":
        numbers.reverse()
    for left, number in zip(range(count - 1, -1, -1), numbers, strict=True):
        table.remove(number)
        if left % 1000 == 0 and order != "random":
            assert table.size < left * (POSTING + 8 * 8) + count // 64 * 16 + 2 * PAGE
    assert table.size == 0


def test_survivors_hold_no_more_than_their_pages() -> None:
    table = PostingTable()
    numbers = [table.add(device) for device in range(100_000)]
    for device, number in enumerate(numbers):
        if device % 1000:
            table.remove(number)
    assert table.count == 100
    assert table.size < 100 * PAGE + 100_000 // 64 * 16 + 100 * 64
    assert all(table.number(device) == numbers[device] for device in range(0, 100_000, 1000))
    # What comes next takes their room.
    for device in range(1, 2000, 2):
        table.add(device)
    assert table.size < 100 * PAGE + 100_000 // 64 * 16 + 1100 * 64


def test_a_table_owns_its_texts() -> None:
    text = f"pump {id(PostingTable)}"
    before = sys.getrefcount(text)
    table = PostingTable()
    number = table.add(text)
    assert sys.getrefcount(text) == before + 1
    table.remove(number)
    assert sys.getrefcount(text) == before
    table.add(text)
    del table
    gc.collect()
    assert sys.getrefcount(text) == before


def test_the_hash_has_a_secret() -> None:
    """Other tables have other orders: nobody can choose ids that all fall on one place."""
    orders = set()
    for _ in range(5):
        table = PostingTable()
        for device in range(50):
            table.add(device)
        orders.add(tuple(table.devices()))
    assert len(orders) == 5
