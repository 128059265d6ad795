"""Tokens that are remembered once they were verified."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokens import (
    NOW,
    Clock,
    authenticator,
    claims,
    refused,
    token,
    verified,
)
from valtronics_fast.auth import Authenticator, AuthReason


@pytest.fixture
def shared() -> Authenticator:
    return authenticator()


def test_remembered_tokens_give_the_same_grant(shared: Authenticator) -> None:
    text = token()
    assert verified(shared, text) is verified(shared, "".join(text))
    assert shared.stats() == {"cached_tokens": 1}


def test_remembered_tokens_die_with_exp() -> None:
    clock = Clock()
    auth = authenticator(clock)
    text = token(claims(exp=NOW + 100))
    first = verified(auth, text)
    clock.now += 99.5
    assert verified(auth, text) is first
    clock.now += 0.5
    assert verified(auth, text) is not first  # within the leeway: good, and verified each time
    assert auth.stats() == {"cached_tokens": 0}
    clock.now += 30
    assert refused(auth, text) == AuthReason.EXPIRED


def test_refused_tokens_are_not_remembered() -> None:
    clock = Clock()
    auth = authenticator(clock)
    early = token(claims(nbf=NOW + 100))
    for text in (early, token(key=b"x" * 32), token(claims(exp=1)), "x"):
        refused(auth, text)
    assert auth.stats() == {"cached_tokens": 0}
    clock.now += 100
    assert verified(auth, early).user == "alice"


def test_cache_is_bounded_and_drops_the_least_recently_used() -> None:
    auth = authenticator(token_cache=2)
    texts = [token(claims(sub=name)) for name in "abc"]
    first, second = (verified(auth, text) for text in texts[:2])
    assert verified(auth, texts[0]) is first  # now "b" is the oldest
    verified(auth, texts[2])
    assert auth.stats() == {"cached_tokens": 2}
    assert verified(auth, texts[0]) is first
    assert verified(auth, texts[1]) is not second


def test_cache_may_be_off() -> None:
    auth = authenticator(token_cache=0)
    text = token()
    assert verified(auth, text) is not verified(auth, text)
    assert auth.stats() == {"cached_tokens": 0}


@given(st.integers(0, 10_000), st.sampled_from("AZaz09-_.=\n\0"))
def test_changed_tokens_are_refused_though_the_good_one_is_remembered(position: int, character: str) -> None:
    auth = authenticator()
    good = token()
    verified(auth, good)
    position %= len(good)
    changed = good[:position] + character + good[position + 1 :]
    if changed != good:
        refused(auth, changed)
