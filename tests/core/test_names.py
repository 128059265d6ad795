"""Interned names, as the subscriptions of a running server use them."""

from __future__ import annotations

from core.harness import Server, metrics_of, sizes, subscribe, telemetry
from valtronics_fast._core.names import Names


def test_there_are_none_at_first() -> None:
    names = Names(5)
    assert (len(names), names.limit) == (0, 5)


async def test_the_bound_refuses_and_changes_nothing() -> None:
    async with Server(names=2) as server:
        client = await server.login()
        await subscribe(client, "telemetry", metrics=["a"])
        before = sizes(server)
        refused: list[tuple[str, dict[str, object]]] = [
            ("telemetry", {"metrics": ["b", "c"]}),
            ("telemetry", {"metrics": ["x", "y", "a"], "device_id": 1}),
            ("alerts", {"severity": ["b"], "alert_type": ["c"]}),
        ]
        for channel, filters in refused:
            answer = await subscribe(client, channel, **filters)
            assert (answer["error"], answer["id"], answer["channel"]) == ("too_many_subscriptions", 1, channel)
            assert sizes(server) == before
        assert server.hub.publish(telemetry(1, a=1, b=2)) == 1
        assert metrics_of(await client.settled()) == [["a"]]
        # There is room again when a name is no longer used.
        assert (await subscribe(client, "alerts", severity=["b"]))["success"] is True
        assert (await subscribe(client, "system", metrics=["c"]))["error"] == "too_many_subscriptions"
        await client.ask(type="unsubscribe", id=1, channel="telemetry")
        assert (await subscribe(client, "system", metrics=["c"]))["success"] is True
        assert len(server.hub.index.names) == 2


async def test_a_number_that_is_used_again_stands_for_its_new_name_only() -> None:
    async with Server() as server:
        client = await server.login()
        for name, other in [("a", "b"), ("b", "a"), ("a", "b")]:
            await subscribe(client, "telemetry", metrics=[name])
            assert server.hub.publish(telemetry(1, **{other: 1})) == 0
            assert server.hub.publish(telemetry(1, **{name: 1})) == 1
            assert metrics_of(await client.settled()) == [[name]]
            await client.ask(type="unsubscribe", id=1, channel="telemetry")
        assert sizes(server)["names"] == 0


async def test_a_name_stays_until_its_last_user_has_gone() -> None:
    async with Server() as server:
        clients = [await server.login() for _ in range(3)]
        for i, client in enumerate(clients):
            await subscribe(client, "telemetry", metrics=["shared", f"own {i}"])
        assert sizes(server)["names"] == 4
        for left, client in zip((2, 1, 0), clients, strict=True):
            await client.ask(type="unsubscribe", id=1, channel="telemetry")
            assert sizes(server)["names"] == (left + 1 if left else 0)
            assert server.hub.publish(telemetry(1, shared=1)) == left
