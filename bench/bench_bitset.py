from __future__ import annotations

import pytest

from valtronics_fast._core.bitset import Slots

SHAPES = {"inline": [3, 90], "sparse": list(range(0, 100_000, 1000)), "dense": list(range(0, 2000, 2))}


def filled(slots: list[int]) -> Slots:
    made = Slots()
    for slot in slots:
        made.add(slot)
    return made


@pytest.mark.benchmark(group="bitset: fill")
@pytest.mark.parametrize("shape", SHAPES)
def test_fill(benchmark, shape):
    assert benchmark(filled, SHAPES[shape]).shape == shape


@pytest.mark.benchmark(group="bitset: walk")
@pytest.mark.parametrize("shape", SHAPES)
def test_walk(benchmark, shape):
    made = filled(SHAPES[shape])
    assert list(benchmark(made.__iter__)) == SHAPES[shape]
