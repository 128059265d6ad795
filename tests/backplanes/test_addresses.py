"""The URLs of backplanes."""

from __future__ import annotations

import pytest

from valtronics_fast.backplanes.addresses import parse_address


@pytest.mark.parametrize(
    ("url", "kind", "tls", "hosts", "path"),
    [
        ("memory://", "memory", False, (), ""),
        ("redis://r", "redis", False, (("r", 6379),), ""),
        ("rediss://r:1/3", "redis", True, (("r", 1),), "3"),
        ("valkey://r/", "redis", False, (("r", 6379),), ""),
        ("valkeys://[::1]:5", "redis", True, (("::1", 5),), ""),
        ("unix:///run/redis.sock", "unix", False, (), "/run/redis.sock"),
        ("redis+sentinel://a,b:2/main", "sentinel", False, (("a", 26379), ("b", 2)), "main"),
        ("valkeys+sentinel://a/main/4", "sentinel", True, (("a", 26379),), "main/4"),
        ("redis+cluster://a:1,b", "cluster", False, (("a", 1), ("b", 6379)), ""),
        ("rediss+cluster://a", "cluster", True, (("a", 6379),), ""),
        ("nats://a,b:1", "nats", False, (("a", 4222), ("b", 1)), ""),
        ("tls://a", "nats", True, (("a", 4222),), ""),
    ],
)
def test_where_it_is(url: str, kind: str, tls: bool, hosts: tuple[tuple[str, int], ...], path: str) -> None:
    address = parse_address(url)
    assert address[:3] == (kind, tls, hosts)
    assert (address.user, address.password, address.path, address.options) == (None, None, path, {})


def test_as_whom() -> None:
    assert parse_address("redis://me:p%40ss%2f@r")[3:5] == ("me", "p@ss/")
    assert parse_address("redis://:secret@r")[3:5] == (None, "secret")
    assert parse_address("nats://token@r")[3:5] == ("token", None)
    assert parse_address("unix://me:pw@/run/x?db=2") == ("unix", False, (), "me", "pw", "/run/x", {"db": "2"})


def test_options() -> None:
    assert parse_address("rediss://r/?ssl_ca_certs=%2Fca.pem&x=").options == {"ssl_ca_certs": "/ca.pem", "x": ""}


@pytest.mark.parametrize(
    "url",
    [
        "", "memory", "memory://x", "http://r", "redis:", "redis://", "redis://:1", "redis://r:0", "redis://r:65536",
        "redis://r:x", "redis://a,b", "redis://r/x", "redis://r/1#f", "redis://s3cret#x@r", "redis://r r", "redis://r\n",
        "unix://", "unix://run/x", "redis+sentinel://a", "redis+sentinel://a/", "redis+sentinel://a/b/c",
        "redis+sentinel:///main", "redis+cluster://a/1", "redis+cluster://a,,b", "nats://a/x", "nats://", "REDIS://r",
        "redis+x://r", "nats://a?replicas=0", "nats://a?replicas=x", "tls+cluster://r",
    ],
)  # fmt: skip
def test_no_backplanes(url: str) -> None:
    with pytest.raises(ValueError, match=r"^must (be|have) ") as caught:
        parse_address(url)
    assert "s3cret" not in str(caught.value)
