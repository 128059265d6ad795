"""The growable byte buffer against a bytearray."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast._core.buffer import Buffer

STEPS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.integers(0, 255),
        st.none(),
        st.sampled_from([0, 1, 255, 256, 257, 511, 4096, 100_000]).map(lambda size: b"\xa5" * size),
    ),
    max_size=60,
)


def smallest_capacity(size: int) -> int:
    capacity = 256
    while capacity < size:
        capacity *= 2
    return capacity


@given(STEPS)
def test_it_holds_what_was_appended(steps: list[bytes | int | None]) -> None:
    buffer, expected, allocated = Buffer(), bytearray(), 0
    for step in steps:
        if step is None:
            buffer.clear()
            expected.clear()
            allocated = 0
        elif isinstance(step, int):
            buffer.append_char(step)
            expected.append(step)
        else:
            buffer.append(step)
            expected += step
        if expected:
            allocated = smallest_capacity(len(expected))
        assert bytes(buffer) == expected
        assert len(buffer) == len(expected)
        assert buffer.capacity == allocated


def test_an_empty_buffer_owns_nothing() -> None:
    buffer = Buffer()
    assert (bytes(buffer), len(buffer), buffer.capacity) == (b"", 0, 0)
    buffer.append(b"")
    assert (bytes(buffer), len(buffer), buffer.capacity) == (b"", 0, 0)


@pytest.mark.parametrize("size", [255, 256, 257, 1 << 16, (1 << 16) + 1])
def test_it_grows_to_the_next_power_of_two_byte_by_byte(size: int) -> None:
    buffer = Buffer()
    for i in range(size):
        buffer.append_char(i & 0xFF)
    assert buffer.capacity == smallest_capacity(size)
    assert bytes(buffer) == bytes(i & 0xFF for i in range(size))


def test_buffers_share_nothing() -> None:
    one, other = Buffer(), Buffer()
    one.append(b"one")
    other.append(b"other")
    assert (bytes(one), bytes(other)) == (b"one", b"other")


@pytest.mark.parametrize("value", [None, "text", bytearray(b"x"), 5])
def test_only_bytes_are_appended(value: Any) -> None:
    buffer = Buffer()
    with pytest.raises(TypeError):
        buffer.append(value)
    assert bytes(buffer) == b""


@pytest.mark.parametrize("value", [-1, 256, 2**64])
def test_a_byte_is_a_byte(value: int) -> None:
    buffer = Buffer()
    with pytest.raises(OverflowError):
        buffer.append_char(value)
    assert bytes(buffer) == b""
