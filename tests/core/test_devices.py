"""Sets of device ids, against frozensets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast._core.devices import DeviceSet, device_set

Device = int | str
ids = st.sets(
    st.one_of(
        st.integers(-(2**63), 2**63 - 1),
        st.integers(-3, 3),
        st.text(alphabet="ab\N{LATIN SMALL LETTER E WITH ACUTE}\U0001f600", min_size=1, max_size=3),
    ),
    max_size=30,
)


def of(devices: set[Device]) -> DeviceSet:
    return device_set(tuple(devices))


@given(ids, ids)
def test_what_sets_have_in_common_and_what_they_have_not(one: set[Device], other: set[Device]) -> None:
    assert set(of(one).sifted(of(other), True)) == one & other
    assert set(of(one).sifted(of(other), False)) == one - other
    assert (of(one) == of(other)) == (one == other)
    assert of(one).sifted(of(other), True) == of(other).sifted(of(one), True)


@given(ids, st.randoms(use_true_random=False))
def test_the_order_of_ids_does_not_matter(devices: set[Device], source) -> None:
    shuffled = list(devices)
    source.shuffle(shuffled)
    assert device_set(tuple(shuffled)) == of(devices)
    assert list(device_set(tuple(shuffled))) == list(of(devices))
    assert len(of(devices)) == len(devices)


@given(ids, ids)
def test_which_ids_are_there(devices: set[Device], others: set[Device]) -> None:
    found = of(devices)
    assert {device for device in devices | others if device in found} == devices


def test_a_set_is_no_other_thing() -> None:
    assert of({1}) != {1}
    assert of(set()) == of(set())
    assert of({1}) != of({"a"})
