"""Each way to say where Redis is, with real ones: TLS, users, a socket, sentinels, a cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import redis.asyncio
import trustme

from backplanes.nodes import Node, cluster, hear, number
from certificates import write_authority, write_certificate
from core.harness import until
from redis_server import Redis, RedisCluster, SentinelSite
from valtronics_fast.backplanes.addresses import parse_address
from valtronics_fast.backplanes.log import LogError
from valtronics_fast.backplanes.redis_log import RedisLog
from valtronics_fast.backplanes.redis_servers import find_redis
from valtronics_fast.config import BackplaneConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


async def carries(url: str) -> None:
    """Have one node tell another one something."""
    async with cluster(url) as (first, second):
        client = await second.subscribed()
        first.publish(1, 7)
        assert [number(message) for message in await hear(client, 1)] == [7]


async def refused(url: str) -> str:
    """Return why a log can't be opened."""
    log = RedisLog(BackplaneConfig(url=url))
    with pytest.raises(LogError) as caught:
        await log.open("1", None, "", 0)  # type: ignore[arg-type]
    await log.close()
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
async def test_tls(tmp_path: Path, scheme: str) -> None:
    authority = trustme.CA()
    files = write_certificate(authority, tmp_path)
    ca = write_authority(authority, tmp_path)
    settings = ["--tls-cert-file", files["certfile"]]
    settings += ["--tls-key-file", files["keyfile"], "--tls-ca-cert-file", ca, "--tls-auth-clients", "no"]
    with Redis(tmp_path, tls=settings) as server:
        url = f"{scheme}://127.0.0.1:{server.port}"
        await carries(f"{url}?ssl_ca_certs={ca}")
        assert "certificate verify failed" in await refused(url)
        assert "Redis" in await refused(f"redis://127.0.0.1:{server.port}")


async def test_a_user_and_a_password(tmp_path: Path) -> None:
    user = ["--user", *["node", "on", ">s3cret/@", "~*", "&*", "+@all"], "--requirepass", "other"]
    with Redis(tmp_path, settings=user) as server:
        await carries(f"redis://node:s3cret%2F%40@127.0.0.1:{server.port}")
        await carries(f"valkey://:other@127.0.0.1:{server.port}/1")
        for url in (f"redis://node:wr0ng@127.0.0.1:{server.port}", server.url):
            problem = await refused(url)
            assert "auth" in problem.lower()
            assert "wr0ng" not in problem


async def test_a_socket(tmp_path: Path) -> None:
    with Redis(tmp_path, settings=["--unixsocket", str(tmp_path / "redis.sock")]):
        await carries(f"unix://{tmp_path}/redis.sock")
        await carries(f"unix://{tmp_path}/redis.sock?db=3")


async def test_databases_are_apart(tmp_path: Path) -> None:
    """Their keys are; what is told is told to all of a server's, so two clusters need two prefixes."""
    with Redis(tmp_path) as server:
        async with cluster(f"{server.url}/1", 1) as [first], cluster(f"{server.url}/2", 1, prefix="b") as [second]:
            first.publish(1, 1)
            await first.synced()
            await second.synced()
            assert first.hub.epoch != second.hub.epoch
            assert second.stat("nodes") == 0


async def test_a_failover_by_sentinels_heals_by_itself(tmp_path: Path) -> None:
    with SentinelSite(tmp_path) as site:
        sentinel = redis.asyncio.Redis.from_url(site.sentinels[0].url)
        try:
            await until_true(lambda: is_replicated(site.master))
            await until_true(lambda: has(sentinel.sentinel_master("main"), "num-other-sentinels", 2))
            await until_true(lambda: has(sentinel.sentinel_master("main"), "num-slaves", 1))
        finally:
            await sentinel.aclose()
        async with cluster(site.url) as nodes:
            await fails_over(nodes, site.master)


async def test_a_failover_in_a_cluster_heals_by_itself(tmp_path: Path) -> None:
    with RedisCluster(tmp_path) as site:
        async with cluster(site.url) as nodes:
            place = await find_redis(parse_address(site.url), "{valtronics}:log")
            port = place.connection_pool.connection_kwargs["port"]
            await place.aclose()
            [owner] = [server for server in site.servers if server.port == port]
            await until_true(lambda: is_replicated(owner))
            await fails_over(nodes, owner)


async def test_a_slot_that_moves_is_followed(tmp_path: Path) -> None:
    with RedisCluster(tmp_path) as site:
        async with cluster(site.url) as nodes:
            clients = [await node.subscribed() for node in nodes]
            find = parse_address(site.url)
            place = await find_redis(find, "{valtronics}:log")
            port = place.connection_pool.connection_kwargs["port"]
            slot = await place.execute_command("CLUSTER KEYSLOT", "{valtronics}:log")
            source = (await place.execute_command("CLUSTER MYID")).decode()
            [target] = [server for server in site.servers[:3] if server.port != port][:1]
            there = redis.asyncio.Redis.from_url(target.url)
            aim = (await there.execute_command("CLUSTER MYID")).decode()
            await there.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source)
            await place.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", aim)
            while keys := await place.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
                await place.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            for one in (there, place):
                await one.execute_command("CLUSTER SETSLOT", slot, "NODE", aim)
            for one in (there, place):
                await one.aclose()
            await until(lambda: all(node.stat("losses") and node.backplane.ready() for node in nodes))
            nodes[0].publish(1, 1)
            for client in clients:
                assert [number(message) for message in await hear(client, 1)] == [1]


async def test_nobody_who_knows() -> None:
    for url in ("redis://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/main", "redis+cluster://127.0.0.1:1"):
        assert "Redis: " in await refused(url)


async def test_a_cluster_without_the_slot(tmp_path: Path) -> None:
    with Redis(tmp_path, settings=["--cluster-enabled", "yes"]) as lonely:
        assert "no node" in await refused(f"redis+cluster://127.0.0.1:{lonely.port}")


async def fails_over(nodes: list[Node], master: Redis) -> None:
    """Let the server go on which the log is; what is published meanwhile reaches everybody in the end."""
    first, second = nodes
    here, there = await first.subscribed(), await second.subscribed()
    first.publish(1, 1)
    for client in (here, there):
        assert [number(message) for message in await hear(client, 1)] == [1]
    master.kill()
    await until(lambda: not first.backplane.ready() and not second.backplane.ready())
    first.publish(1, 2)
    await until(lambda: first.backplane.ready() and second.backplane.ready())
    first.publish(1, 3)
    for client, node in ((here, first), (there, second)):
        heard = [number(message) for message in await hear(client, 2)]
        while heard[-1] != 3:  # with a resync the newest values come once more
            heard += [number(message) for message in await hear(client, 1)]
        assert 2 in heard
        await node.settled(client)


async def is_replicated(server: Redis) -> bool:
    """Say whether a replica has all that a server has: before that it is not made the master."""
    client = redis.asyncio.Redis.from_url(server.url)
    try:
        info = await client.info("replication")
        return "slave0" in info and info["slave0"]["state"] == "online"
    finally:
        await client.aclose()


async def has(answer: object, name: str, value: int) -> bool:
    return (await answer).get(name) == value  # type: ignore[misc, attr-defined, no-any-return]


async def until_true(ask: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await ask():
            await asyncio.sleep(0.05)
