"""Slot sets against Python's sets, with the shapes and sizes that bitset.pxd promises."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.oracle import SlotModel
from valtronics_fast._core.bitset import Slots
from valtronics_fast._core.index_checks import check_slots

if TYPE_CHECKING:
    from collections.abc import Iterable

# (add or take out, first slot, distance, how many): single slots, and runs that fill a set up or empty it.
SLOT = st.one_of(st.integers(0, 70), st.integers(0, 5000), st.integers(0, 300_000))
DISTANCE = st.sampled_from([1, 1, 2, 31, 32, 33, 64, 65, 1000])
RUN = st.tuples(st.booleans(), SLOT, DISTANCE, st.integers(1, 200))
STEP = st.one_of(st.tuples(st.booleans(), SLOT, st.just(1), st.just(1)), RUN)


def step_through(steps: Iterable[tuple[bool, int, int, int]]) -> None:
    slots, model = Slots(), SlotModel()
    for add, first, distance, count in steps:
        for slot in range(first, first + distance * count, distance):
            if add:
                assert slots.add(slot) is model.add(slot)
            else:
                assert slots.discard(slot) is model.discard(slot)
            assert len(slots) == len(model.slots)
            assert slots.shape in model.permitted
            model.settle(slots.shape)
            assert slots.nbytes <= most_bytes(slots)
            check_slots(slots)
        assert list(slots) == sorted(model.slots)
        assert all(slot in slots for slot in model.slots)
        around = {slot + by for slot in model.slots for by in (-1, 1, 64)} - model.slots - {-1}
        assert not any(slot in slots for slot in around)


def most_bytes(slots: Slots) -> int:
    """Return what a set may own: memory is given back as it shrinks, a quarter at most is allocated ahead."""
    if slots.shape == "inline":
        return 0
    if slots.shape == "sparse":
        return 4 * max(8, 4 * len(slots))
    return 8 * (len(slots) + len(slots) // 4 + 1)


@given(st.lists(STEP, max_size=12))
@example([(True, 0, 1, 200), (False, 0, 1, 200)])
@example([(True, 0, 64, 200), (True, 0, 1, 200), (False, 0, 1, 200)])
@example([(True, 0, 31, 64), (True, 2000, 64, 200), (True, 300_000, 1, 1), (False, 0, 31, 64)])
def test_it_is_a_set_in_a_permitted_shape(steps: list[tuple[bool, int, int, int]]) -> None:
    step_through(steps)


@pytest.mark.parametrize("seed", range(5))
def test_random_growth_and_decay(seed: int) -> None:
    source = random.Random(seed)
    width = source.choice([500, 3000, 20_000])
    share_added = [0.9] * 500 + [0.5] * 500 + [0.1] * 500
    steps = [(source.random() < share, source.randrange(width), 1, 1) for share in share_added]
    step_through([*steps, (False, 0, 1, width)])


def filled(slots: Iterable[int]) -> Slots:
    result = Slots()
    for slot in slots:
        result.add(slot)
    return result


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (range(0), "inline"),
        (range(2), "inline"),
        (range(3), "sparse"),
        (range(63), "sparse"),
        (range(64), "dense"),
        (range(0, 64 * 31, 31), "dense"),
        (range(0, 64 * 33, 33), "sparse"),
        ([*range(63), 2047], "dense"),      # 64 slots, one in 32
        ([*range(63), 2048], "sparse"),     # and one less
        ([2**32 - 1], "inline"),
        ([*range(63), 2**32 - 1], "sparse"),
    ],
)
def test_thresholds(content: Iterable[int], shape: str) -> None:
    slots = filled(content)
    assert slots.shape == shape
    assert list(slots) == list(content)


def test_a_set_at_the_border_does_not_flap() -> None:
    slots = filled(range(0, 100 * 33, 33))          # its last slot is 3267, in the 52nd word
    assert slots.shape == "sparse"
    for _ in range(3):
        for slot in (1, 2, 3):
            slots.add(slot)
        assert slots.shape == "dense"
        for slot in (1, 2, 3):
            slots.discard(slot)
        assert slots.shape == "dense"
    for slot in range(0, 48 * 33, 33):
        slots.discard(slot)
    assert (len(slots), slots.shape) == (52, "dense")
    slots.discard(3267)
    assert (len(slots), slots.shape) == (51, "sparse")


def test_below_32_slots_a_set_is_sparse_again() -> None:
    slots = filled(range(64))
    for slot in range(32):
        slots.discard(slot)
    assert (len(slots), slots.shape) == (32, "dense")
    slots.discard(40)
    assert (len(slots), slots.shape) == (31, "sparse")


def test_a_far_slot_does_not_stretch_a_dense_set() -> None:
    slots = filled(range(100))
    assert slots.shape == "dense"
    slots.add(2**32 - 1)
    assert slots.shape == "sparse"
    assert slots.nbytes < 1000
    assert list(slots) == [*range(100), 2**32 - 1]


def test_a_set_may_be_changed_behind_an_iteration() -> None:
    slots = filled(range(100))
    seen = [slots.discard(slot) for slot in slots]
    assert seen == [True] * 100
    assert (list(slots), slots.shape, slots.nbytes) == ([], "inline", 0)


@pytest.mark.parametrize("slot", [-1, 2**32, 2**70])
def test_a_slot_has_32_bits(slot: int) -> None:
    slots = Slots()
    for method in (slots.add, slots.discard, slots.__contains__):
        with pytest.raises(OverflowError):
            method(slot)
    assert len(slots) == 0
