"""Where the values of a JSON text are: against a decoder that goes through all of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valtronics_fast._core.slices import elements, members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé"\\\\{}[],: \n', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('k"\\\\{,', max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
MANGLED = st.text('{}[]",:\\\\ \n1at', max_size=24).map(str.encode)


def mangle(value: object, at: int, with_what: bytes) -> bytes:
    """Return a value as JSON with something in it replaced."""
    text = orjson.dumps(value)
    at %= len(text) + 1
    return text[:at] + with_what + text[at + len(with_what) :]


TEXTS = (
    VALUES.map(orjson.dumps)
    | VALUES.map(lambda value: orjson.dumps(value, option=orjson.OPT_INDENT_2))
    | st.builds(mangle, VALUES, st.integers(0, 200), MANGLED)
    | MANGLED
)


def decoded(text: bytes) -> Any:
    """Return (value, ) or None: not JSON."""
    try:
        return (orjson.loads(text),)
    except orjson.JSONDecodeError:
        return None


def decoded_by_members(text: bytes) -> Any:
    """Return (dict, ) or None: not JSON; by its members."""
    try:
        found = members(text, 1000)
    except ValueError:
        return None
    if found is None:
        return decoded(text)
    parts = [(decoded(key), decoded(text[begin:end])) for key, begin, end in found]
    if any(key is None or value is None for key, value in parts):
        return None
    return ({key[0]: value[0] for key, value in parts},)


@given(TEXTS)
@example(b'{"a":1,"a":2}')
@example(b'{"a":1,}')
@example(b'{"a":1 2}')
@example(b'{"a":}')
@example(b'{"a" "b"}')
@example(b'{"\\')
@example(b'{"a":"\\')
@example(b'{"a":[}]}')
@example(b'{"a":1}x')
@example(b" {} ")
@example(b'{"a":"\xe2"}')
def test_an_object_is_json_where_its_members_are(text: bytes) -> None:
    assert decoded_by_members(text) == decoded(text)


def cut(text: bytes, at: int, most: int) -> list[bytes] | None:
    """Return all elements, or None: not JSON."""
    found: list[bytes] = []
    while at >= 0:
        try:
            texts, at = elements(text, at, most)
        except ValueError:
            return None
        assert texts or at < 0
        found += texts
    return found


@given(st.lists(VALUES, max_size=8), st.integers(0, 40), st.booleans())
@example([], 0, False)
def test_elements_in_pieces_of_any_size(values: list[object], most: int, blanks: bool) -> None:
    text = orjson.dumps({"messages": values}, option=orjson.OPT_INDENT_2 if blanks else 0)
    found = members(text, 1)
    assert found is not None
    ((key, begin, end),) = found
    assert (key, text[end:].strip()) == (b'"messages"', b"}")
    cut_out = cut(text, begin, most)
    assert cut_out is not None
    assert [orjson.loads(one) for one in cut_out] == values


LISTS = st.lists(VALUES, max_size=6)


@given(st.builds(mangle, LISTS, st.integers(0, 200), MANGLED).filter(lambda one: one[:1] == b"["))
@example(b"[1,]")
@example(b"[,1]")
@example(b"[1 2]")
@example(b"[[1,2]")
@example(b"[{]}]")
@example(b'["]')
def test_an_array_is_json_where_its_elements_are(text: bytes) -> None:
    """What stands behind the array is for others to look at."""
    wrapped = b'{"a":' + text + b"}"
    whole = decoded(wrapped)
    found: Any
    try:
        found = members(wrapped, 9)
    except ValueError:
        assert whole is None
        return
    if found is None or len(found) != 1:
        return
    texts = cut(wrapped, found[0][1], 5)
    values = None if texts is None else [decoded(one) for one in texts]
    if values is None or None in values:
        assert whole is None
    else:
        assert whole == ({"a": [value[0] for value in values]},)


def test_more_members_than_asked_for() -> None:
    assert members(b'{"a":1,"b":2}', 2) == [(b'"a"', 5, 6), (b'"b"', 11, 12)]
    assert members(b'{"a":1,"b":2}', 1) is None
    assert members(b"{}", 0) == []


@pytest.mark.parametrize("text", [b"", b" ", b"1", b"[1]", b'"a"', b"x"])
def test_no_object(text: bytes) -> None:
    assert members(text, 9) is None


def test_a_piece_ends_behind_the_element_with_which_it_is_full() -> None:
    text = b"[10,20,30,40]"
    assert elements(text, 0, 1) == ([b"10"], 3)
    assert elements(text, 3, 4) == ([b"20", b"30"], 9)
    assert elements(text, 9, 4) == ([b"40"], -1)
