"""limits.connections_per_user over several machines, through a real Redis."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from harness import running, until
from redis_server import Redis

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_user_has_so_many_connections_on_all_machines_together(tmp_path: Path) -> None:
    with Redis(tmp_path) as redis:
        settings = {"backplane": {"url": redis.url}, "limits": {"connection_rate": 0, "connections_per_user": 3}}
        async with running(**settings) as one, running(**settings) as two:

            def known(site: object, count: int) -> bool:
                return site.server._backplane.connections_elsewhere("alice") == count  # type: ignore[attr-defined]

            async with AsyncExitStack() as stack:
                for _ in range(2):
                    await stack.enter_async_context(one.client())
                await until(lambda: known(two, 2))
                await stack.enter_async_context(two.client())
                async with two.connect() as client:
                    answer = await client.ask(type="auth", token=two.token())
                    assert answer["error"] == "too_many_connections"
                    assert (await client.closed())[0] == 4005
                await stack.enter_async_context(two.client(user="bob"))
                headers = {"Authorization": f"Bearer {two.token()}"}
                refused = await two.refusal(additional_headers=headers)
                assert refused.status_code == 429
                await until(lambda: known(one, 1))
                assert (await one.refusal(additional_headers=headers)).status_code == 429
            await until(lambda: known(two, 0) and known(one, 0))
            async with two.client(), two.client(), two.client():
                pass


async def test_the_connections_of_a_node_that_is_gone_do_not_count(tmp_path: Path) -> None:
    with Redis(tmp_path) as redis:
        settings = {"backplane": {"url": redis.url}, "limits": {"connection_rate": 0, "connections_per_user": 1}}
        async with running(**settings) as one:
            async with running(**settings) as two, two.client():
                await until(lambda: one.server._backplane.connections_elsewhere("alice") == 1)
            await until(lambda: one.server._backplane.connections_elsewhere("alice") == 0)
            async with one.client():
                pass
