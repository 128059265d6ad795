"""Who a connection comes from, and how many connections a source may open."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping, Sequence

    from valtronics_fast.units import Rate

__all__ = [
    "UNKNOWN_ADDRESS",
    "AddressLimiter",
    "TrustedProxies",
    "canonical_address",
    "client_address",
    "is_loopback",
    "peer_address",
    "rate_key",
]

UNKNOWN_ADDRESS: Final = "unknown"
"""Stands for the address of a peer that is gone: the kernel does not tell it any more."""

# A provider hands a household or a machine a whole /64, so one IPv6 address says nothing about the source.
_IPV6_SOURCE_BITS: Final = 64

# Sums of floats end a little beside the exact bound: what is missing to a token may be this part of one.
_ROUNDING: Final = 0.01


class TrustedProxies:
    """The reverse proxies whose word about the client's address is taken.

    Args:
        entries: addresses and networks, e.g. `127.0.0.1`, `10.0.0.0/8`, `fd00::/8`.

    Raises:
        ValueError: an entry is neither.
    """

    __slots__ = ("_networks",)

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._networks = tuple(ip_network(entry, strict=False) for entry in entries)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)

    def include(self, address: str) -> bool:
        """Say whether an address is one of theirs, IPv4-mapped IPv6 being IPv4; what is no address is not."""
        parsed = _parse(address.partition("%")[0]) if self._networks else None
        return parsed is not None and parsed in self


def peer_address(transport: asyncio.BaseTransport) -> str:
    """Return the address at the other end; UNKNOWN_ADDRESS when the peer was gone before it was accepted."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else UNKNOWN_ADDRESS


def client_address(peer: str, headers: Mapping[str, Sequence[str]], trusted: TrustedProxies) -> str:
    """Return the address of the client itself, in canonical form.

    A forwarding header counts only when the peer is a trusted proxy. It is read from its right end, where the
    nearest proxy wrote, past the proxies that are trusted; the first address that is not is the client. What
    stands left of it is the client's own word and is not looked at. When any of that is not an address, or
    when `X-Forwarded-For` and `Forwarded` disagree (a proxy sets one of them and may pass the other one on
    unread), the peer is the answer: it is then the one thing that is known.

    Args:
        peer: the socket's peer address; IPv4-mapped IPv6 becomes IPv4, a scope (`%eth0`) is left out.
        headers: lower-case names and their values, in the order of arrival.
        trusted: the proxies to believe.
    """
    if not trusted and ":" not in peer:
        return peer  # IPv4: the kernel writes each address in one way
    direct = _parse(peer.partition("%")[0])
    if direct is None:
        return peer
    if direct in trusted:
        found = {
            _nearest_stranger(chain, trusted)
            for name, split in (("x-forwarded-for", _split_list), ("forwarded", _split_forwarded))
            if (chain := split(headers.get(name, ())))
        }
        if len(found) == 1 and (client := found.pop()) is not None:
            return str(client)
    return str(direct)


def rate_key(address: str) -> str:
    """Return the source that an address counts for: itself (IPv4), or its /64 network (IPv6)."""
    parsed = _parse(address) if ":" in address else None
    if not isinstance(parsed, IPv6Address):
        return address if parsed is None else str(parsed)
    host_bits = 128 - _IPV6_SOURCE_BITS
    return f"{IPv6Address(int(parsed) >> host_bits << host_bits)}/{_IPV6_SOURCE_BITS}"


def canonical_address(text: str) -> str | None:
    """Return an address as it is told of connections, IPv4-mapped IPv6 as IPv4; None when the text is none."""
    address = _parse(text)
    return None if address is None else str(address)


def is_loopback(host: str) -> bool:
    """Say whether an address, or a host to listen on, is this machine's alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class AddressLimiter:
    """A token bucket for each source address, in a table of bounded size.

    A bucket is one number, the time at which it will be full again (the generic cell rate algorithm): full
    buckets are the same as absent ones and are dropped in passing. When the table is full, the source that
    has been quiet for longest is forgotten.

    Args:
        rate: connections a period, all of them at once if they come so; a count of 0 allows any number.
        size: sources kept at most (`limits.addresses`).
    """

    __slots__ = ("_burst", "_cost", "_full_at", "_size")

    def __init__(self, rate: Rate, size: int) -> None:
        if size < 1:
            raise ValueError("the table of addresses needs room for one at least")
        self._cost = rate.seconds / rate.count if rate.count else 0.0
        self._burst = self._cost * (rate.count - 1)
        self._size = size
        self._full_at: dict[str, float] = {}  # ordered: the source that was quiet for longest comes first

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, now: float) -> float:
        """Take one token of a source.

        Args:
            key: the source, see `rate_key`.
            now: seconds of a monotonic clock.

        Returns:
            0.0 when it was there, else the seconds until there will be one.
        """
        if not self._cost:
            return 0.0
        full_at = max(self._full_at.pop(key, now), now)
        wait = full_at - now - self._burst
        if wait <= _ROUNDING * self._cost:
            full_at += self._cost
            wait = 0.0
        self._full_at[key] = full_at
        self._forget(now)
        return wait

    def _forget(self, now: float) -> None:
        """Drop the bucket over the bound, and up to two full ones: more than one take can add."""
        if len(self._full_at) > self._size:
            del self._full_at[next(iter(self._full_at))]
        for key in [key for key, full_at in islice(self._full_at.items(), 2) if full_at <= now]:
            del self._full_at[key]


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address, IPv4-mapped IPv6 as IPv4; None when the text is none.

    A scope may be any text, and means nothing to another host: with one it is no address.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return None if address.scope_id is not None else address.ipv4_mapped or address
    return address


def _parse_node(node: str) -> IPv4Address | IPv6Address | None:
    """Return the address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`."""
    if node.startswith("["):
        host, closed, port = node[1:].partition("]")
        well_formed = bool(closed) and (not port or port.startswith(":"))
        return _parse(host) if well_formed else None
    if node.count(":") == 1:
        node = node.partition(":")[0]
    return _parse(node)


def _nearest_stranger(chain: Sequence[str], trusted: TrustedProxies) -> IPv4Address | IPv6Address | None:
    """Return the last address of the chain that is no trusted proxy; the first one when all of them are."""
    address = None
    for node in reversed(chain):
        address = _parse_node(node)
        if address is None or address not in trusted:
            return address
    return address


def _split_list(values: Sequence[str]) -> list[str]:
    """Return the elements of X-Forwarded-For."""
    return [element.strip(" \t") for value in values for element in value.split(",")]


def _split_forwarded(values: Sequence[str]) -> list[str]:
    """Return the `for` of each element of Forwarded (RFC 7239), "" where there is none.

    A comma within a quoted string splits it too; the pieces are then no addresses, which is the safe side.
    """
    nodes = []
    for element in _split_list(values):
        pairs = (pair.strip(" \t").partition("=") for pair in element.split(";"))
        nodes.append(next((node.strip('"') for name, _, node in pairs if name.lower() == "for"), ""))
    return nodes
