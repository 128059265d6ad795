"""Why a connection does or does not get a device's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.harness import Server, telemetry
from core.paced import Stage
from core.wire_client import CLOSE, frame
from valtronics_fast._core.explain import explain

if TYPE_CHECKING:
    from core.wire_client import Client

ALERT = {"type": "alert", "device_id": 1, "severity": "critical"}
STATUS = {"type": "device_status_update", "device_id": 1, "new_status": "offline"}
SMALL = 4096


def verdicts(client: Client, device: int | str | None = 1) -> dict[str, str]:
    channels: Any = explain(client.session, device, 0)["channels"]
    assert all(found["message"] for found in channels.values())
    return {name: found["verdict"] for name, found in channels.items()}


def on_telemetry(client: Client, device: int | str = 1, now: float = 0) -> dict[str, Any]:
    channels: Any = explain(client.session, device, now)["channels"]
    found: dict[str, Any] = channels["telemetry"]
    return found


async def test_before_and_after_the_token_is_in_force() -> None:
    async with Server() as server:
        client = await server.connect()
        assert set(verdicts(client).values()) == {"not_authenticated"}
        scoped = await server.login(server.token("bob", channels=0b0101, devices=frozenset([1])))
        assert verdicts(scoped) == {
            "telemetry": "not_subscribed", "alerts": "channel_not_permitted", "devices": "not_subscribed",
        }  # fmt: skip
        assert verdicts(scoped, 2)["telemetry"] == "out_of_scope"
        assert verdicts(scoped, None) == {"system": "channel_not_permitted"}
        whole = explain(scoped.session, 2, 0)
        assert (whole["connection"], whole["user"], whole["device_id"]) == (scoped.session.number, "bob", 2)
        assert whole["backpressure"] == {"queued_bytes": 0, "blocked": False, "behind": False, "conflated": 0}


async def test_a_connection_that_is_being_closed() -> None:
    async with Server(close_timeout=30) as server:
        client = await server.login()
        client.session.disconnect(4003)
        assert set(verdicts(client).values()) == {"closing"}
        await client.write(frame(CLOSE, b"\x0f\xa3"))


async def test_input_and_filters_decide() -> None:
    async with Server(history=10) as server:
        client = await server.login()
        filters: dict[str, Any] = {
            "telemetry": {"metrics": ["t", "h"]}, "alerts": {}, "devices": {"status_types": "on"},
        }  # fmt: skip
        for channel, names in filters.items():
            await client.ask(type="subscribe", id=1, channel=channel, device_id=[1, 2], **names)
        assert set(verdicts(client).values()) == {"no_input"}
        server.hub.publish(telemetry(1, p=1))
        server.hub.publish(ALERT)
        server.hub.publish(STATUS)
        assert verdicts(client) == {"telemetry": "filtered", "alerts": "delivered", "devices": "filtered"}
        found = on_telemetry(client)
        assert found["metrics"] == ["p"]
        assert found["metrics_wanted"] == []
        assert found["subscriptions"] == [
            {"device_id": [1, 2], "metrics": ["h", "t"], "frequency": "real-time", "implicit": False}
        ]
        server.hub.publish(telemetry(1, h=1))
        server.hub.publish(STATUS | {"new_status": "on"})
        assert verdicts(client) == dict.fromkeys(["telemetry", "alerts", "devices"], "delivered")
        assert on_telemetry(client)["metrics_wanted"] == ["h"]
        assert verdicts(client, 2) == dict.fromkeys(["telemetry", "alerts", "devices"], "no_input")


async def test_the_age_of_the_last_message() -> None:
    async with Stage(history=10) as stage:
        client = await stage.subscriber()
        assert on_telemetry(client, now=5)["last_input"] is None
        stage.at(2000).publish(1, t=1)
        stage.hub.publish(ALERT, 3)
        stage.hub.publish(ALERT | {"device_id": 2}, 4)
        channels: Any = explain(client.session, 1, 5)["channels"]
        assert {name: found["last_input"] for name, found in channels.items()} == {
            "telemetry": 3, "alerts": 2, "devices": None,
        }  # fmt: skip


@pytest.mark.parametrize("everywhere", [False, True])
async def test_a_frequency(everywhere: bool) -> None:
    async with Stage() as stage:
        devices = {} if everywhere else {"device_id": 1}
        client = await stage.subscriber("1s", **devices)
        stage.publish(1, t=1, h=1)
        assert on_telemetry(client)["verdict"] == "delivered_at_frequency"
        stage.at(100).publish(1, h=2)
        found = on_telemetry(client, now=0.25)
        assert found["verdict"] == "waiting"
        assert found["pending"] == ["h"]
        assert found["next_in"] == pytest.approx(0.75)
        assert found["interval"] == 1


async def test_a_slow_reader() -> None:
    async with Server(send_buffer=SMALL, queue_mark=10_000, queue_limit=0) as server:
        client = await server.connect(receive_buffer=SMALL)
        await client.ask(type="auth", token=server.token())
        await client.ask(type="subscribe", id=1, channel="telemetry")
        await client.ask(type="subscribe", id=1, channel="devices")
        server.hub.publish(STATUS)
        with server.held():
            while not server.hub.behind:
                server.hub.publish(telemetry(1, t="x" * 1000))
        server.hub.publish(telemetry(1, t=1))
        assert verdicts(client) == {"telemetry": "behind", "alerts": "not_subscribed", "devices": "blocked"}
        waits: Any = explain(client.session, 1, 0)["backpressure"]
        assert waits["queued_bytes"] > 10_000
        assert waits | {"queued_bytes": 0} == {"queued_bytes": 0, "blocked": True, "behind": True, "conflated": 1}


async def test_the_system() -> None:
    async with Server() as server:
        client = await server.login()
        await client.ask(type="subscribe", id=1, channel="system", metrics="cpu")
        assert verdicts(client, None) == {"system": "no_input"}
        server.hub.publish({"type": "system_status_update", "metrics": {"cpu": 1}})
        assert verdicts(client, None) == {"system": "delivered"}
