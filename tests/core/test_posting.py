"""Postings: slots grouped by which, against a dict."""

from __future__ import annotations

import weakref

from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast._core.posting import Groups


class Filter:
    """Stands for one: a posting knows filters by their addresses."""


FILTERS = [Filter() for _ in range(12)]


def content(posting: Groups) -> dict[object, list[int]]:
    groups = posting.content()
    assert len({id(which) for which, _ in groups}) == len(groups)
    return dict(groups)


@given(st.lists(st.tuples(st.integers(0, len(FILTERS) - 1), st.integers(0, 200)), max_size=300))
def test_slots_come_and_go_as_in_a_dict(steps: list[tuple[int, int]]) -> None:
    posting, model = Groups(), dict[int, Filter]()
    for number, slot in steps:
        which = FILTERS[number]
        if slot in model:
            posting.take(model.pop(slot), slot)
        else:
            posting.put(which, slot)
            model[slot] = which
        expected: dict[object, list[int]] = {}
        for known in sorted(model):
            expected.setdefault(model[known], []).append(known)
        assert content(posting) == expected


def test_a_posting_owns_its_filters_as_long_as_they_have_slots() -> None:
    posting, filters = Groups(), [Filter() for _ in range(50)]
    alive = [weakref.ref(which) for which in filters]
    for slot, which in enumerate(filters):
        posting.put(which, slot)
        posting.put(which, slot + 100)
    for slot, which in enumerate(filters[:-1]):
        posting.take(which, slot)
        posting.take(which, slot + 100)
    del filters[:], which
    assert [ref() is not None for ref in alive] == [False] * 49 + [True]
    del posting
    assert alive[-1]() is None
