"""Connections by slot, and what is counted of the frames that they get."""

from __future__ import annotations

from core.harness import until
from core.paced import Stage
from valtronics_fast._core.fanout import Fanout
from valtronics_fast._core.wire import COMMANDS, ERROR_NAMES


def test_a_new_one_has_nobody_and_has_counted_nothing() -> None:
    fanout = Fanout(lambda flush: None, 0.0, tick=0.25)
    assert fanout.connections() == []
    assert (fanout.attached, fanout.wheel.tick, fanout.turn.flushes) == (0, 0.25, 0)
    assert set(fanout.stats()) == {"telemetry", "alerts", "devices", "system"}
    for counters in fanout.stats().values():
        assert counters == {
            "publications": 0, "matched": 0, "deliveries": 0, "conflated": 0, "kept_back": 0, "caught_up": 0,
            "bytes": 0, "received": 0,
        }  # fmt: skip


async def test_connections_come_and_go() -> None:
    async with Stage() as stage:
        clients = [await stage.user() for _ in range(70)]  # more slots than there is room for at first
        assert stage.hub.connections() == [client.session for client in clients]
        assert [client.session.number for client in clients] == list(range(1, 71))
        for client in clients[1::2]:
            client.close()
        await until(lambda: len(stage.host.closed_sessions) == 35)
        assert stage.hub.connections() == [client.session for client in clients[::2]]
        late = await stage.user()
        assert late.session.number == stage.hub.attached == 71
        assert set(stage.hub.connections()) == {client.session for client in [*clients[::2], late]}


async def test_a_frame_counts_for_everybody_who_gets_it_at_once_or_later() -> None:
    async with Stage() as stage:
        live = await stage.subscriber()
        paced = [await stage.subscriber("100ms") for _ in range(3)]
        for value in (1, 2):
            assert stage.publish(t=value) == 4
        size = 4 + len((await live.receive()).payload)  # with its header
        counters = stage.hub.stats()["telemetry"]
        assert counters == {
            "publications": 2, "matched": 8, "deliveries": 2 + 3, "conflated": 0, "kept_back": 0,
            "caught_up": 0, "bytes": 5 * size, "received": 4,
        }  # fmt: skip
        stage.at(200).tick()
        assert stage.hub.stats()["telemetry"] == counters | {"deliveries": 2 + 3 + 3, "bytes": 8 * size}
        for client in paced:
            assert await stage.heard(client) == [(1, {"t": 1}), (1, {"t": 2})]


async def test_who_stands_at_a_device_and_at_all_of_them_gets_a_frame_once() -> None:
    """In each of the four ways in which the two can be paced."""
    async with Stage() as stage:
        clients = []
        for everywhere in ("real-time", "100ms"):
            for at_device in ("real-time", "50ms"):
                client = await stage.subscriber(everywhere, metrics=["t"])
                await stage.order(client, at_device, device_id=1, metrics=["h"])
                clients.append(client)
        assert stage.publish(1, t=1, h=1) == 8
        assert stage.publish(1, t=2, h=2) == 8
        assert stage.publish(2, t=3, h=3) == 4
        stage.at(500).tick()
        for client in clients:
            assert await stage.heard(client) in (
                [(1, {"t": 1, "h": 1}), (1, {"t": 2, "h": 2}), (2, {"t": 3})],
                [(1, {"t": 1, "h": 1}), (2, {"t": 3}), (1, {"t": 2, "h": 2})],
            )


async def test_commands_are_counted_by_name_and_errors_by_code() -> None:
    async with Stage() as stage:
        client = await stage.user()
        before, _ = stage.hub.commands_and_errors()
        assert before == {**dict.fromkeys(COMMANDS, 0), "auth": 1}
        await client.ask(type="ping")
        await client.ask(type="batch", id=1, messages=[{"type": "ping"}, {"type": "subscribe", "channel": "x"}])
        await client.settled()
        commands, errors = stage.hub.commands_and_errors()
        assert {name: count for name, count in commands.items() if count} == {
            "auth": 1, "ping": 2, "batch": 1, "subscribe": 1,
        }  # fmt: skip
        assert {name: count for name, count in errors.items() if count} == {"unknown_channel": 1}
        assert errors.keys() == set(ERROR_NAMES.values())
        await client.ask(type="auth", token="wrong")
        assert stage.hub.commands_and_errors()[1]["invalid_token"] == 1
