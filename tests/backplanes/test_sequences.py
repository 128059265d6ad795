"""Repeats and gaps, against a plain list of what has come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.backplanes.sequences import MAX_NODES, Outcome, Sequences

few = st.integers(1, 2)
small = st.integers(1, 5)
events = st.lists(
    st.one_of(
        st.tuples(st.just("take"), few, few, small),
        st.tuples(st.just("reach"), few, few, small),
        st.tuples(st.just("begin"), few, few, small),
        st.tuples(st.just("forget"), few, few, small),
        st.tuples(st.just("touch"), few, few, small),
    )
)


@given(events)
def test_it_does_what_a_plain_list_says(events: list[tuple[str, int, int, int]]) -> None:
    sequences = Sequences()
    known: list[tuple[int, int, int]] = []  # node, lane, a number up to which everything has come or is given up

    def last(node: int, lane: int) -> int | None:
        return max((number for one, other, number in known if (one, other) == (node, lane)), default=None)

    for kind, node, lane, number in events:
        before = last(node, lane)
        if kind == "take":
            outcome = sequences.take(node, lane, number)
            if before is None or number == before + 1:
                assert outcome is Outcome.NEXT
            else:
                assert outcome is (Outcome.REPEATED if number <= before else Outcome.GAP)
            known.append((node, lane, number))
        elif kind == "reach":
            assert sequences.reach(node, lane, number) is (before is None or before >= number)
            known.append((node, lane, number))
        elif kind == "begin":
            sequences.begin(node, [lane])
            if before is None:
                known.append((node, lane, 0))
        elif kind == "forget":
            sequences.forget_lanes([lane])
            known = [one for one in known if one[1] != lane]
        else:
            sequences.touch(node)
        assert sequences.last(node, lane) == (last(node, lane) or 0)


def test_those_who_were_not_heard_for_longest_are_forgotten() -> None:
    sequences = Sequences()
    for node in range(MAX_NODES):
        sequences.take(node, 0, 5)
    sequences.touch(0)
    sequences.take(MAX_NODES, 0, 5)
    assert [sequences.last(node, 0) for node in (0, 1, 2, MAX_NODES)] == [5, 0, 5, 5]


def test_a_node_that_has_just_started_counts_from_one() -> None:
    sequences = Sequences()
    sequences.begin(1, [3])
    assert sequences.take(1, 3, 2) is Outcome.GAP
    sequences.begin(1, [3])  # it is told late
    assert sequences.take(1, 3, 3) is Outcome.NEXT
