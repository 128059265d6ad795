from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.origins import Origins

LISTED = Origins(["https://app.example.org", "http://localhost:3000", "https://*.Example.com", "https://[::1]:8443"])


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.org",
        "https://app.example.org:443",
        "HTTPS://APP.example.ORG",
        "http://localhost:3000",
        "https://a.example.com",
        "https://a.b.example.com",
        "https://[::1]:8443",
    ],
)
def test_listed_origins_are_allowed(origin: str) -> None:
    assert LISTED.allow(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "http://app.example.org",  # another scheme
        "https://app.example.org:8443",  # another port
        "https://app.example.org.evil.net",
        "https://evil.net/https://app.example.org",
        "https://evilapp.example.org",
        "https://app.example.org@evil.net",
        "https://evil.net#app.example.org",
        "https://app.example.org/",
        "https://app.example.org ",
        " https://app.example.org",
        "https://app.example.org\n",
        "https://app.example.org.",
        "app.example.org",
        "https://",
        "https://app.example.org:0443",
        "https://app.example.org:",
        "http://localhost",
        "https://example.com",  # the domain itself is not one of its sub-domains
        "https://evilexample.com",
        "https://.example.com",
        "https://*.example.com",
        "https://*.app.example.org",
        "https://a..example.com",
        "https://a.example.com:8443",
        "http://a.example.com",
        "http://a.example.com:443",
        "https://a.example.com.evil.net",
        "https://[::1]",
        "null",
        "*",
        "",
        "https://\u0430pp.example.org",
        "https://app.example.org\x00",
        "https://\u212a.example.com",  # the Kelvin sign is a k in lower case
    ],
)
def test_anything_else_is_not(origin: str) -> None:
    assert not LISTED.allow(origin)


@pytest.mark.parametrize("entries", [[], ["*"], ["https://app.example.org", "*"]])
def test_any_origin(entries: list[str]) -> None:
    origins = Origins(entries)
    assert origins.allow("https://anywhere.example")
    assert origins.allow("null")
    assert not origins.allow("https://anywh\xe9re.example")


def test_null_must_be_listed() -> None:
    assert Origins(["null"]).allow("null")
    assert not Origins(["null"]).allow("https://null")
    assert not LISTED.allow("null")


def test_a_wildcard_has_its_own_port() -> None:
    origins = Origins(["http://*.example.org:8080"])
    assert origins.allow("http://a.example.org:8080")
    assert not origins.allow("http://a.example.org")


def test_schemes_without_a_default_port() -> None:
    origins = Origins(["capacitor://localhost"])
    assert origins.allow("capacitor://localhost")
    assert not origins.allow("capacitor://localhost:80")


@pytest.mark.parametrize(
    "entry", ["example.org", "https://example.org/", "https://a.*.org", "https://*", "", "NULL"]
)
def test_bad_entries_are_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is none of"):
        Origins([entry])


@given(st.text() | st.from_regex(r"https://[a-z.:@/*-]*example\.(com|org)[a-z.:@/]*", fullmatch=True))
def test_only_the_listed_hosts_ever_pass(origin: str) -> None:
    if LISTED.allow(origin):
        host = origin.lower().partition("://")[2].removesuffix(":443")
        assert host == "app.example.org" or host.endswith(".example.com")
