"""Combinations of subscriptions at devices: what is the same is kept once, and goes with its last device."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from core.harness import EMPTY_INDEX, Server, metrics_of, sizes, subscribe, telemetry

if TYPE_CHECKING:
    from core.wire_client import Client

BITS = 6


async def taken(client: Client, *devices: int) -> None:
    answer = await client.ask(type="unsubscribe", id=1, channel="telemetry", device_id=list(devices))
    assert answer["type"] == "unsubscribe_response"


async def test_every_combination_of_some_subscriptions() -> None:
    """Device n has the subscriptions whose bits n has; subscription i asks for metric i."""
    async with Server() as server:
        client = await server.login()
        names = [f"m{bit}" for bit in range(BITS)]
        for bit in range(BITS):
            devices = [n for n in range(1 << BITS) if n >> bit & 1]
            await subscribe(client, "telemetry", device_id=devices, metrics=[names[bit]])
        assert sizes(server)["filters"] == (1 << BITS) - 1
        for n in range(1 << BITS):
            wanted = [name for bit, name in enumerate(names) if n >> bit & 1]
            assert server.hub.publish(telemetry(n, **dict.fromkeys(names, 1))) == len(wanted)
            assert metrics_of(await client.settled()) == ([wanted] if wanted else [])
        for n in range(1, 1 << BITS):
            await taken(client, n)
            assert sizes(server)["filters"] == (1 << BITS) - 1 - n
        assert server.hub.index.stats() == EMPTY_INDEX


async def test_it_does_not_matter_in_which_order_subscriptions_came_to_a_device() -> None:
    async with Server() as server:
        client = await server.login()
        sets = {"a": [1, 2, 3, 10], "b": [1, 2, 3, 11], "c": [1, 2, 3, 12]}
        for order in itertools.permutations(sets):
            for name in order:
                await subscribe(client, "telemetry", device_id=sets[name], metrics=[name])
            assert sizes(server) == {"entries": 6, "devices": 6, "names": 3, "terms": 3, "filters": 4}
            await taken(client, 10, 11, 12)
            assert sizes(server) == {"entries": 3, "devices": 3, "names": 3, "terms": 3, "filters": 1}
            await client.ask(type="unsubscribe", id=1, channel="telemetry")
            assert server.hub.index.stats() == EMPTY_INDEX


async def test_devices_move_from_one_combination_to_another_and_back() -> None:
    async with Server() as server:
        client, other = await server.login(), await server.login()
        await subscribe(other, "telemetry", device_id=list(range(50)), metrics=["a"])
        await subscribe(client, "telemetry", device_id=list(range(100)), metrics=["a"])
        for _ in range(20):
            await subscribe(client, "telemetry", device_id=list(range(40, 60)), metrics=["b"])
            assert sizes(server) == {"entries": 150, "devices": 100, "names": 2, "terms": 2, "filters": 2}
            await subscribe(client, "telemetry", device_id=list(range(40, 60)), metrics=["a"])
            assert sizes(server) == {"entries": 150, "devices": 100, "names": 1, "terms": 1, "filters": 2}
            await subscribe(client, "telemetry", metrics=["c"])
            assert sizes(server) == {"entries": 151, "devices": 100, "names": 2, "terms": 2, "filters": 4}
            await client.ask(type="unsubscribe", id=1, channel="telemetry")
            await subscribe(client, "telemetry", device_id=list(range(100)), metrics=["a"])
            assert sizes(server) == {"entries": 150, "devices": 100, "names": 1, "terms": 1, "filters": 1}
