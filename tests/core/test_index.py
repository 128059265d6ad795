from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.harness import EMPTY_INDEX, Message, Server, metrics_of, sizes, subscribe, telemetry, until
from valtronics_fast._core.index import Index
from valtronics_fast.errors import PublicationError

if TYPE_CHECKING:
    from core.wire_client import Client


async def got(server: Server, clients: list[Client], message: Message) -> list[int]:
    """Publish a message; return the positions of the clients that received it, once each."""
    matched = server.hub.publish(message)
    received = await server.settled(*clients)
    assert all(len(messages) <= 1 for messages in received)
    positions = [i for i, messages in enumerate(received) if messages]
    assert matched == len(positions)
    return positions


def test_a_new_index_is_empty() -> None:
    assert Index().stats() == EMPTY_INDEX


async def test_equal_filters_are_kept_once_however_they_are_spelled() -> None:
    async with Server() as server:
        alice, bob, carol = [await server.login() for _ in range(3)]
        await subscribe(alice, "telemetry", metrics=["t", "h"])
        await subscribe(bob, "telemetry", filters={"metrics": ["h", "t", "h"]})
        assert sizes(server) == {"entries": 2, "devices": 0, "names": 2, "terms": 1, "filters": 1}
        await subscribe(carol, "telemetry", metrics="t")
        assert sizes(server) == {"entries": 3, "devices": 0, "names": 2, "terms": 2, "filters": 2}


async def test_a_name_is_one_name_on_all_channels_and_its_terms_are_different() -> None:
    async with Server() as server:
        client = await server.login()
        await subscribe(client, "telemetry", metrics="on")
        await subscribe(client, "devices", status_types="on")
        await subscribe(client, "alerts", severity="on", alert_type="on")
        await subscribe(client, "system", metrics="on")
        assert sizes(server) == {"entries": 4, "devices": 0, "names": 1, "terms": 4, "filters": 4}
        status = {"type": "device_status_update", "device_id": 1, "new_status": "on"}
        assert server.hub.publish(status) == 1
        assert server.hub.publish(status | {"new_status": "off"}) == 0
        alert = {"type": "alert", "device_id": 1, "severity": "on"}
        assert server.hub.publish(alert) == 0
        assert server.hub.publish(alert | {"alert_type": "on"}) == 1
        assert server.hub.publish(telemetry(1, on=1)) == 1
        assert server.hub.publish({"type": "system_status_update", "metrics": {"off": 1}}) == 0


async def test_what_is_replaced_ended_or_left_is_forgotten() -> None:
    async with Server() as server:
        client, other = await server.login(), await server.login()
        await subscribe(client, "telemetry", device_id=[1, 2], metrics=["a", "b"])
        assert sizes(server) == {"entries": 2, "devices": 2, "names": 2, "terms": 1, "filters": 1}
        assert server.hub.index.stats()["bytes"] > 0
        await subscribe(client, "telemetry", device_id=[2, 1], metrics=["c"])
        assert sizes(server) == {"entries": 2, "devices": 2, "names": 1, "terms": 1, "filters": 1}
        await subscribe(other, "telemetry", device_id=1, metrics=["c"])
        await client.ask(type="unsubscribe", id=1, channel="telemetry")
        assert sizes(server) == {"entries": 1, "devices": 1, "names": 1, "terms": 1, "filters": 1}
        other.close()
        await until(lambda: other.session in server.host.closed_sessions)
        assert server.hub.index.stats() == EMPTY_INDEX


async def test_projections_of_the_widest_message() -> None:
    """256 metrics: every word of the mask, its first and its last bit."""
    wanted = [["m0"], ["m63"], ["m64"], ["m127", "m128"], ["m191", "m192"], ["m255"], ["m0", "m255", "no"]]
    async with Server() as server:
        clients = [await server.login() for _ in range(len(wanted) + 2)]
        for client, names in zip(clients, [*wanted, ["no"]], strict=False):
            await subscribe(client, "telemetry", metrics=names)
        await subscribe(clients[-1], "telemetry")
        values = {f"m{i}": i for i in range(256)}
        assert server.hub.publish(telemetry(1, **values)) == len(wanted) + 1
        received = await server.settled(*clients)
        assert [metrics_of(messages) for messages in received[: len(wanted)]] == [
            [[name for name in names if name != "no"]] for names in wanted
        ]
        assert received[-2] == []
        assert received[-1] == [telemetry(1, **values) | {"channel": "telemetry"}]
        with pytest.raises(PublicationError):
            server.hub.publish(telemetry(1, **values, one_more=1))


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128])
async def test_a_subscription_to_everything_gets_all_metrics_at_every_count(count: int) -> None:
    async with Server() as server:
        client, narrow = await server.login(), await server.login()
        await subscribe(client, "telemetry")
        await subscribe(narrow, "telemetry", metrics=[f"m{count - 1}", f"m{count}"])
        values = {f"m{i}": i for i in range(count)}
        assert server.hub.publish(telemetry(1, **values)) == 2
        assert metrics_of(await client.settled()) == [list(values)]
        assert metrics_of(await narrow.settled()) == [[f"m{count - 1}"]]


async def test_many_connections_at_a_few_devices() -> None:
    """Enough slots for every shape of a slot set; they come and go."""
    async with Server() as server:
        clients = [await server.login() for _ in range(140)]
        for i, client in enumerate(clients):
            if i % 3:
                await subscribe(client, "telemetry", device_id=i % 3)
        for device in (1, 2):
            here = [i for i in range(140) if i % 3 == device]
            assert await got(server, clients, telemetry(device, t=1)) == here
        # All but every tenth leave.
        for i, client in enumerate(clients):
            if i % 10:
                client.close()
        clients = clients[::10]
        await until(lambda: len(server.hub.connections()) == len(clients))
        for device in (0, 1, 2):
            here = [i for i in range(14) if device and i * 10 % 3 == device]
            assert await got(server, clients, telemetry(device, t=1)) == here


async def test_many_filters_at_one_device() -> None:
    async with Server() as server:
        clients = [await server.login() for _ in range(40)]
        for i, client in enumerate(clients):
            await subscribe(client, "telemetry", device_id=7, metrics=[f"m{i}", f"m{i + 1}"])
        assert sizes(server) == {"entries": 40, "devices": 1, "names": 41, "terms": 40, "filters": 40}
        for i in (0, 1, 20, 39, 40):
            here = [position for position in (i - 1, i) if 0 <= position < 40]
            assert await got(server, clients, telemetry(7, **{f"m{i}": 1})) == here
        # From the middle outwards, so that groups go at every place.
        for i in range(36):
            clients.pop(len(clients) // 2).close()
            await until(lambda: len(server.hub.connections()) == len(clients))
            assert sizes(server)["filters"] == 39 - i
        for i in (0, 1, 2, 38, 39, 40):
            here = [position for position, m in enumerate((0, 1, 38, 39)) if m in (i - 1, i)]
            assert await got(server, clients, telemetry(7, **{f"m{i}": 1})) == here
