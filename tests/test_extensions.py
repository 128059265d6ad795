"""Offers of permessage-deflate (RFC 7692, section 7.1): every combination of parameters is answered right."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.extensions import MAX_OFFERS, negotiate_deflate

PLAIN = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
BITS = [str(bits) for bits in range(8, 16)]


@pytest.mark.parametrize(
    ("offer", "bits", "answer"),
    [
        ("permessage-deflate", 15, PLAIN),
        ("permessage-deflate; client_max_window_bits", 15, PLAIN),
        ("permessage-deflate;client_max_window_bits=10", 15, PLAIN),
        ('permessage-deflate; client_max_window_bits="10"', 15, PLAIN),
        ("permessage-deflate; server_no_context_takeover", 15, PLAIN),
        ("permessage-deflate; client_no_context_takeover", 15, PLAIN),
        ("permessage-deflate; server_max_window_bits=9", 9, f"{PLAIN}; server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=15", 15, f"{PLAIN}; server_max_window_bits=15"),
        ("x-unknown, permessage-deflate", 15, PLAIN),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", 15, PLAIN),
        ("permessage-deflate; x, permessage-deflate", 15, PLAIN),
        (" ,, \t,permessage-deflate, ,", 15, PLAIN),
        ("x-webkit-deflate-frame; a; b=c, permessage-deflate ; client_max_window_bits", 15, PLAIN),
    ],
)
def test_an_offer_that_is_accepted(offer: str, bits: int, answer: str) -> None:
    assert negotiate_deflate([offer]) == (bits, answer)


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "x-unknown",
        "permessage-deflatex",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=1\u0660",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; Server_no_context_takeover",
        "permessage-deflate; =",
        "permessage-deflate client_max_window_bits",
        'permessage-deflate; client_max_window_bits="10',
        "=, permessage-deflate",
    ],
)
def test_an_offer_that_is_declined(offer: str) -> None:
    assert negotiate_deflate([offer]) is None


def test_every_combination_of_parameters() -> None:
    choices = [
        ["", "server_no_context_takeover"],
        ["", "client_no_context_takeover"],
        ["", *(f"server_max_window_bits={bits}" for bits in BITS)],
        ["", "client_max_window_bits", *(f"client_max_window_bits={bits}" for bits in BITS)],
    ]
    for chosen in itertools.product(*choices):
        for order in (chosen, chosen[::-1]):
            found = negotiate_deflate(["; ".join(["permessage-deflate", *filter(None, order)])])
            asked = chosen[2].partition("=")[2]
            if asked == "8":  # no such stream can be made
                assert found is None
                continue
            assert found is not None
            assert found.bits == int(asked or 15)
            told = [part.strip() for part in found.answer.split(";")]
            expected = ["permessage-deflate", "server_no_context_takeover", "client_no_context_takeover"]
            assert told == [*expected, *([chosen[2]] if asked else [])]


def test_several_headers_are_one_list() -> None:
    assert negotiate_deflate(["x-one", "permessage-deflate"]) == (15, PLAIN)


def test_so_many_offers_are_looked_at_and_no_more() -> None:
    declined = ["permessage-deflate; x"] * (MAX_OFFERS - 1)
    assert negotiate_deflate([*declined, "permessage-deflate"]) is not None
    assert negotiate_deflate([*declined, "x", "permessage-deflate"]) is None


@given(st.text(st.sampled_from('permessage-deflate; =,"x18_bits\t'), max_size=200))
def test_anything_else_is_no_offer(text: str) -> None:
    found = negotiate_deflate([text])
    assert found is None or 9 <= found.bits <= 15


@pytest.mark.parametrize("piece", [";", "; a", ';a="', "; a=b", " ", "\t;", ",", "a,", 'a;b="c",'])
def test_a_long_header_takes_no_long_time(piece: str) -> None:
    """16 KiB is what a request head has at most; the bound is far more than a linear search takes."""
    before = time.process_time()
    negotiate_deflate(["permessage-deflate" + piece * (16_384 // len(piece)) + "\x00"])
    assert time.process_time() - before < 5
