"""Sets of slots in each of their shapes: fill, walk, empty again."""

from __future__ import annotations

import pytest

from valtronics_fast._core.bitset import Slots

SHAPES = {
    "inline": [3, 90],
    "sparse": list(range(0, 100_000, 1000)),
    "dense": list(range(0, 2000, 2)),
    "everyone": list(range(10_000)),
}
SHAPE_OF = {"everyone": "dense"}
PARAMETERS = pytest.mark.parametrize("shape", SHAPES)


def filled(slots: list[int]) -> Slots:
    made = Slots()
    add = made.add
    for slot in slots:
        add(slot)
    return made


def emptied(slots: Slots, order: list[int]) -> int:
    discard = slots.discard
    for slot in order:
        discard(slot)
    return len(slots)


def calls(slots: list[int]) -> int:
    """Return how often a round calls what is timed, so that rounds take about as long."""
    return max(1, 10_000 // len(slots))


@PARAMETERS
@pytest.mark.benchmark(group="bitset: fill")
def test_fill(steady, shape):
    made = steady(filled, SHAPES[shape], iterations=calls(SHAPES[shape]), items=len(SHAPES[shape]))
    assert made.shape == SHAPE_OF.get(shape, shape)


@PARAMETERS
@pytest.mark.benchmark(group="bitset: walk")
def test_walk(steady, shape):
    made = filled(SHAPES[shape])
    walked = steady(made.__iter__, iterations=calls(SHAPES[shape]), items=len(made))
    assert list(walked) == SHAPES[shape]


@PARAMETERS
@pytest.mark.benchmark(group="bitset: fill and empty")
def test_fill_and_empty(steady, shape):
    slots = SHAPES[shape]
    assert steady(lambda: emptied(filled(slots), slots), iterations=calls(slots), items=len(slots)) == 0


@pytest.mark.benchmark(group="bitset: lookup")
@PARAMETERS
def test_lookup(steady, shape):
    made = filled(SHAPES[shape])
    assert steady(made.__contains__, SHAPES[shape][-1]) is True
