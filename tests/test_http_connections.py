"""Cursors (the rest of the queries: test_http_admin)."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.http_connections import CURSOR, Listing, cursor_of, query_of

NUMBERS = st.integers(0, 10**18 - 1)


@given(st.floats(-1e300, 1e300), NUMBERS)
def test_a_cursor_is_exact_and_needs_no_quoting(key: float, number: int) -> None:
    cursor = cursor_of(key, number)
    assert re.fullmatch(r"[0-9a-zA-Z._-]+", cursor)
    assert query_of(Listing(cursor=cursor)).after == (key, number)


@given(st.from_regex(CURSOR, fullmatch=True))
def test_whatever_has_its_form_is_one(cursor: str) -> None:
    assert query_of(Listing(cursor=cursor)).after is not None
