"""The Redis that has a log: one that is named, the master that sentinels know, or the node of a cluster.

All keys of a log are in one slot of a cluster, so that one node has them, and one script can append.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError

from valtronics_fast.backplanes.log import LogError

if TYPE_CHECKING:
    from valtronics_fast.backplanes.addresses import Address

__all__ = ["CONNECTIONS", "TIMEOUT", "find_redis"]

TIMEOUT = 3.0
"""Seconds that Redis has to answer."""

CONNECTIONS = 8
"""Commands that are under way at a time; others wait for them."""

_SENTINEL = "sentinel_"
"""Options that begin so are for the connections to the sentinels."""


async def find_redis(address: Address, key: str) -> redis.asyncio.Redis:
    """Return a client of the server that has a key, as far as one is known.

    Args:
        address: of kind redis, unix, sentinel or cluster.
        key: in a cluster, it says which node.

    Raises:
        LogError: nobody knows it.
        RedisError: what else went wrong.
    """
    if address.kind == "unix":
        return _client(address, f"unix://{address.path}")
    if address.kind == "sentinel":
        return _client(address, _url(address, await _ask_sentinels(address)))
    if address.kind == "cluster":
        return _client(address, _url(address, await _ask_cluster(address, key)))
    return _client(address, _url(address, address.hosts[0]))


def _url(address: Address, place: tuple[str, int]) -> str:
    host, port = place
    scheme = "rediss" if address.tls else "redis"
    database = address.path.rpartition("/")[2] if address.kind in {"redis", "sentinel"} else ""
    if address.kind == "sentinel" and "/" not in address.path:
        database = ""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{database}"


def _client(address: Address, url: str) -> redis.asyncio.Redis:
    options = "&".join(f"{name}={value}" for name, value in address.options.items() if not name.startswith(_SENTINEL))
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        f"{url}?{options}",
        username=address.user,
        password=address.password,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
    )
    return redis.asyncio.Redis.from_pool(pool)


async def _ask_sentinels(address: Address) -> tuple[str, int]:
    """Return the master of a service; the first sentinel that knows it is believed."""
    more: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, "protocol": 2}
    more["retry"] = Retry(NoBackoff(), 0)  # the next one is asked instead
    for name, value in address.options.items():
        if name.startswith(_SENTINEL):
            more[name.removeprefix(_SENTINEL)] = value
        elif name.startswith("ssl_"):
            more[name] = value
    sentinel = Sentinel(address.hosts, sentinel_kwargs={**more, "ssl": address.tls})  # type: ignore[no-untyped-call]
    try:
        host, port = await sentinel.discover_master(address.path.partition("/")[0])
    finally:
        await asyncio.gather(*[one.aclose() for one in sentinel.sentinels], return_exceptions=True)
    return host, int(port)


async def _ask_cluster(address: Address, key: str) -> tuple[str, int]:
    """Return the master of a key's slot; the first node that answers is believed."""
    slot = key_slot(key.encode())
    problem: Exception = LogError("Redis: no node of the cluster has the slot")
    for place in address.hosts:
        client = _client(address, _url(address, place))
        try:
            slots = await client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
            for first, last, master, *_ in slots:
                if first <= slot <= last:
                    # A node that does not know its own name is where it was asked.
                    return (master[0] or b"").decode() or place[0], int(master[1])
        except (RedisError, OSError) as error:
            problem = error
        finally:
            await client.aclose()
    raise problem
