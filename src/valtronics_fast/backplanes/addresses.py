"""The URLs of backplanes: which kind of log, where, and as whom."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["ALLOWED", "Address", "parse_address"]

ALLOWED = (
    "memory://, redis://, valkey:// or nats://, with TLS rediss://, valkeys:// or tls://; "
    "redis+sentinel:// and redis+cluster:// (and the like); unix:// for a Redis on this host"
)

_SCHEMES = {
    "memory": ("memory", False),
    "unix": ("unix", False),
    "nats": ("nats", False),
    "tls": ("nats", True),
    **{
        f"{name}{tls}{more}": (more[1:] or "redis", bool(tls))
        for name in ("redis", "valkey")
        for tls in ("", "s")
        for more in ("", "+sentinel", "+cluster")
    },
}
_PORTS = {"redis": 6379, "cluster": 6379, "sentinel": 26379, "nats": 4222}
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?")


class Address(NamedTuple):
    """Where a log is.

    Attributes:
        kind: memory, redis, unix, sentinel, cluster or nats.
        tls: the connection is encrypted, and the server's certificate checked.
        hosts: names and ports; several of sentinels, of a cluster and of NATS.
        user: None: nobody in particular.
        password: None: none.
        path: without the first slash: a database; of sentinels the name of the service before it; of a socket its path.
        options: of the query.
    """

    kind: str
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    user: str | None
    password: str | None
    path: str
    options: dict[str, str]


def parse_address(url: str) -> Address:
    """Return what a backplane's URL says.

    Raises:
        ValueError: it says nothing that can be used; the text ("must be ...") has nothing of the URL.
    """
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in _SCHEMES or not re.fullmatch(r"[\x21-\x7e]*", rest):
        raise ValueError(f"must be {ALLOWED}")
    kind, tls = _SCHEMES[scheme]
    if kind == "memory":
        if rest:
            raise ValueError("must be memory:// without anything behind it")
        return Address(kind, tls, (), None, None, "", {})
    netloc, path, query, fragment = urlsplit(f"//{rest}")[1:]
    if fragment:
        raise ValueError("must be a URL without a #; in a password it is %23")
    person, at, places = netloc.rpartition("@")
    name, has_password, password = person.partition(":")
    if kind == "unix" and places:
        raise ValueError("must be unix:///path/of/the/socket")
    address = Address(
        kind,
        tls,
        tuple(_host(place, kind) for place in places.split(",")) if kind != "unix" else (),
        unquote(name) if name else None,
        unquote(password) if at and has_password else None,
        unquote(path) if kind == "unix" else unquote(path).strip("/"),
        dict(parse_qsl(query, keep_blank_values=True)),
    )
    _check(address)
    return address


def _host(text: str, kind: str) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    port = int(match["port"] or _PORTS[kind]) if match else 0
    if match is None or not 0 < port < 65536:
        raise ValueError("must have a host, or host:port, behind ://")
    return match["host"].strip("[]"), port


def _check(address: Address) -> None:
    kind, path = address.kind, address.path
    if kind == "unix":
        if len(path) < 2:
            raise ValueError("must be unix:///path/of/the/socket")
    elif kind == "redis":
        if len(address.hosts) > 1 or not re.fullmatch(r"\d{0,5}", path):
            raise ValueError("must be redis://[user:password@]host[:port][/database]")
    elif kind == "sentinel":
        if not re.fullmatch(r"[A-Za-z0-9._-]+(/\d{1,5})?", path):
            raise ValueError("must be redis+sentinel://host:port,host:port/service[/database]")
    elif not re.fullmatch("[1-5]", address.options.get("replicas", "1")):
        raise ValueError("must have 1 to 5 replicas")
    elif path:
        raise ValueError(f"must have nothing behind the hosts of {'a cluster' if kind == 'cluster' else 'NATS'}")
