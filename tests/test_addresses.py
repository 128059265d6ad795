from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.addresses import (
    AddressLimiter,
    TrustedProxies,
    client_address,
    is_loopback,
    peer_address,
    rate_key,
)
from valtronics_fast.units import Rate

PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::/8", "127.0.0.1"])
FORWARDED_FOR = "x-forwarded-for"


def client(peer: str, *, xff: list[str] | None = None, forwarded: list[str] | None = None) -> str:
    sent = {FORWARDED_FOR: xff, "forwarded": forwarded}
    headers = {name: values for name, values in sent.items() if values is not None}
    return client_address(peer, headers, PROXIES)


@pytest.mark.parametrize(
    ("peer", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", "unknown"),
    ],
)
def test_peer_is_the_client_without_a_proxy(peer: str, canonical: str) -> None:
    assert client(peer) == canonical


@pytest.mark.parametrize(
    ("peer", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", "unknown"),
    ],
)
def test_peer_is_the_client_when_no_proxy_is_trusted(peer: str, canonical: str) -> None:
    assert client_address(peer, {FORWARDED_FOR: ["198.51.100.7"]}, TrustedProxies()) == canonical


def test_header_of_a_stranger_is_not_believed() -> None:
    assert client("192.0.2.1", xff=["198.51.100.7"], forwarded=["for=198.51.100.7"]) == "192.0.2.1"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["6.6.6.6, 198.51.100.7"], "198.51.100.7"),  # what the client wrote itself stands left
        (["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7, 10.1.2.3 ,\t10.9.9.9"], "198.51.100.7"),
        (["not an address, 198.51.100.7"], "198.51.100.7"),
        (["10.1.1.1, 10.2.2.2"], "10.1.1.1"),  # a client within the trusted network
        (["198.51.100.7:4711"], "198.51.100.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["[2001:db8::7]:443"], "2001:db8::7"),
        (["::ffff:198.51.100.7"], "198.51.100.7"),
    ],
)
def test_x_forwarded_for(values: list[str], found: str) -> None:
    assert client("10.0.0.1", xff=values) == found
    assert client("::ffff:10.0.0.1", xff=values) == found


@pytest.mark.parametrize(
    "value",
    ["", "unknown", "198.51.100.7,", "198.51.100.7, x", "[2001:db8::7", "[2001:db8::7]x", "1.2.3", "01.2.3.4",
     "fe80::1%<script>", "198.51.100.7 10.0.0.1", "\u0661.2.3.4", "1.2.3.4:5:6"],
)  # fmt: skip
def test_garbage_makes_it_the_peer(value: str) -> None:
    assert client("10.0.0.1", xff=[value]) == "10.0.0.1"
    assert client("10.0.0.1", forwarded=[f"for={value}"]) == "10.0.0.1"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["for=198.51.100.7"], "198.51.100.7"),
        (['For="[2001:db8::7]:4711"; proto=https;by=10.0.0.9'], "2001:db8::7"),
        (["for=6.6.6.6, for=198.51.100.7;proto=http, for=10.5.5.5"], "198.51.100.7"),
        (["proto=https"], "10.0.0.1"),
        (["for=_hidden"], "10.0.0.1"),
        (["for=unknown, for=10.5.5.5"], "10.0.0.1"),
        (['for=198.51.100.7;by="a,b"'], "10.0.0.1"),
    ],
)
def test_forwarded(values: list[str], found: str) -> None:
    assert client("10.0.0.1", forwarded=values) == found


def test_forwarded_is_read_for_the_client_alone() -> None:
    assert client("10.0.0.1", forwarded=["by=203.0.113.1;for=198.51.100.7;host=6.6.6.6"]) == "198.51.100.7"


def test_who_was_gone_before_the_accept_has_no_address() -> None:
    assert peer_address(asyncio.BaseTransport({"peername": None})) == "unknown"


def test_two_headers_count_only_when_they_agree() -> None:
    assert client("10.0.0.1", xff=["198.51.100.7"], forwarded=["for=198.51.100.7"]) == "198.51.100.7"
    assert client("10.0.0.1", xff=["198.51.100.7"], forwarded=["for=6.6.6.6"]) == "10.0.0.1"
    assert client("10.0.0.1", xff=["198.51.100.7"], forwarded=["for=_x"]) == "10.0.0.1"


def test_trusted_proxies_must_be_addresses() -> None:
    with pytest.raises(ValueError, match="localhost"):
        TrustedProxies(["localhost"])


@given(st.lists(st.text(st.characters(max_codepoint=255)), max_size=4), st.lists(st.text(), max_size=4))
def test_no_header_raises(forwarded_for: list[str], forwarded: list[str]) -> None:
    found = client("10.0.0.1", xff=forwarded_for, forwarded=[f"for={value}" for value in forwarded])
    assert found == rate_key(found) or ":" in found


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
    ],
)
def test_rate_key(address: str, key: str) -> None:
    assert rate_key(address) == key


def test_limiter_allows_the_burst_and_then_the_rate() -> None:
    limiter = AddressLimiter(Rate(10, 60.0), 100)
    now = 1_234_567.891
    assert [limiter.take("a", now) for _ in range(10)] == [0.0] * 10
    assert limiter.take("a", now) == pytest.approx(6.0)
    assert limiter.take("a", now + 2.0) == pytest.approx(4.0)
    assert limiter.take("b", now) == 0.0
    assert limiter.take("a", now + 6.0) == 0.0
    assert limiter.take("a", now + 6.0) == pytest.approx(6.0)


@given(st.integers(1, 100), st.integers(1, 4000), st.floats(0.0, 1e9))
def test_rounding_never_costs_a_token_of_the_burst(count: int, seconds: int, now: float) -> None:
    limiter = AddressLimiter(Rate(count, float(seconds)), 10)
    assert [limiter.take("a", now) for _ in range(count)] == [0.0] * count
    assert limiter.take("a", now) == pytest.approx(seconds / count, rel=1e-3)


def test_a_refused_attempt_costs_nothing() -> None:
    limiter = AddressLimiter(Rate(1, 10.0), 100)
    assert limiter.take("a", 0.0) == 0.0
    for second in range(1, 10):
        assert limiter.take("a", float(second)) == pytest.approx(10.0 - second)
    assert limiter.take("a", 10.0) == 0.0


def test_the_clock_may_stand_still_or_start_anywhere() -> None:
    limiter = AddressLimiter(Rate(1, 10.0), 100)
    assert limiter.take("a", -5.0) == 0.0
    assert limiter.take("a", -5.0) == pytest.approx(10.0)


def test_full_buckets_are_dropped() -> None:
    limiter = AddressLimiter(Rate(10, 60.0), 1000)
    for source in range(500):
        limiter.take(str(source), 0.0)
    assert len(limiter) == 500
    for take in range(300):
        limiter.take("busy", 100.0 + take)
    assert len(limiter) == 1


def test_the_table_is_bounded_and_forgets_the_one_that_is_quiet_for_longest() -> None:
    limiter = AddressLimiter(Rate(1, 1000.0), 3)
    for source in "abc":
        limiter.take(source, 0.0)
    assert limiter.take("a", 1.0) > 0.0  # heard of again: no longer the quietest
    limiter.take("d", 1.0)
    assert len(limiter) == 3
    assert limiter.take("a", 1.0) > 0.0
    assert limiter.take("b", 1.0) == 0.0


def test_off() -> None:
    limiter = AddressLimiter(Rate(0, 1.0), 1)
    assert [limiter.take("a", 0.0) for _ in range(1000)] == [0.0] * 1000
    assert len(limiter) == 0


def test_no_table_without_a_bound() -> None:
    with pytest.raises(ValueError, match="one at least"):
        AddressLimiter(Rate(1, 1.0), 0)


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.0, 20.0)), max_size=60),
)
def test_limiter_matches_a_plain_token_bucket(count: int, takes: list[tuple[str, float]]) -> None:
    """Quarter seconds, so that the oracle and the limiter compute without rounding."""
    limiter = AddressLimiter(Rate(count, 4.0 * count), 10)
    now = 0.0
    tokens = dict.fromkeys("ab", float(count))
    last = dict.fromkeys("ab", 0.0)
    for key, pause in takes:
        now += round(pause * 4) / 4
        tokens[key] = min(float(count), tokens[key] + (now - last[key]) / 4.0)
        last[key] = now
        wait = limiter.take(key, now)
        if tokens[key] >= 1.0:
            assert wait == 0.0
            tokens[key] -= 1.0
        else:
            assert wait == pytest.approx((1.0 - tokens[key]) * 4.0)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("::", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("address", "included"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1%eth0", True),
        ("192.0.2.1", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_addresses_of_trusted_proxies(address: str, *, included: bool) -> None:
    assert TrustedProxies(["10.0.0.0/8", "fd00::/8"]).include(address) == included
    assert not TrustedProxies().include(address)
