"""The commands subscribe and unsubscribe: their forms, answers and errors (protocol.md, section 3)."""

from __future__ import annotations

import pytest

from core.harness import Message, Server, metrics_of, telemetry

CHANNELS = ("telemetry", "alerts", "devices", "system")


def subscribe(**more: object) -> Message:
    return {"type": "subscribe", "id": 1, **more}


@pytest.mark.parametrize(
    ("channel", "given", "normal"),
    [
        ("telemetry", {}, {}),
        ("telemetry", {"device_id": 1}, {"device_id": [1]}),
        ("telemetry", {"device_id": ["2", 1, "a", 2, "01"]}, {"device_id": [2, 1, "a", "01"]}),
        ("telemetry", {"metrics": "t"}, {"metrics": ["t"]}),
        ("telemetry", {"metrics": ["t", "h", "t"], "device_id": None}, {"metrics": ["h", "t"]}),
        ("alerts", {"severity": ["low", "high"]}, {"severity": ["high", "low"]}),
        ("alerts", {"severity": "low", "alert_type": "heat"}, {"severity": ["low"], "alert_type": ["heat"]}),
        ("alerts", {"device_id": [-5]}, {"device_id": [-5]}),
        ("devices", {"status_types": "on", "device_id": "x" * 64}, {"status_types": ["on"], "device_id": ["x" * 64]}),
        ("system", {"metrics": ["cpu"]}, {"metrics": ["cpu"]}),
    ],
)
async def test_the_answer_shows_what_is_in_force(channel: str, given: Message, normal: Message) -> None:
    async with Server() as server:
        client = await server.login()
        expected = {"type": "subscribe_response", "id": 1, "success": True, "channel": channel, "filters": normal}
        if channel in ("telemetry", "system"):
            expected["frequency"] = "real-time"
        for form in ({"filters": given}, given):
            assert await client.ask(**subscribe(channel=channel, **form)) == expected
        assert client.session.subscription_count == 1


async def test_filters_inside_win_over_those_at_the_top() -> None:
    async with Server() as server:
        client = await server.login()
        answer = await client.ask(
            **subscribe(channel="telemetry", metrics=["a"], device_id=1, filters={"metrics": ["b"]})
        )
        assert answer["filters"]["metrics"] == ["b"]
        server.hub.publish(telemetry(1, a=1, b=2))
        assert metrics_of(await client.settled()) == [["b"]]


async def test_without_an_id_success_is_silent() -> None:
    async with Server() as server:
        client = await server.login(server.token(devices=frozenset({1})))
        await client.say(type="subscribe", channel="telemetry", device_id=[1, 2])
        await client.say(type="unsubscribe", channel="telemetry")
        await client.say(type="subscribe", channel="telemetry")
        assert await client.settled() == []
        assert client.session.subscription_count == 1


@pytest.mark.parametrize("command", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize(
    ("channel", "error"),
    [
        ({}, "invalid_message"),
        ({"channel": None}, "invalid_message"),
        ({"channel": 1}, "invalid_message"),
        ({"channel": ["telemetry"]}, "invalid_message"),
        ({"channel": "Telemetry"}, "unknown_channel"),
        ({"channel": ""}, "unknown_channel"),
        ({"channel": "all"}, "unknown_channel"),
    ],
)
async def test_channels_that_are_none(command: str, channel: Message, error: str) -> None:
    async with Server() as server:
        client = await server.login()
        answer = await client.ask(type=command, id=1, **channel)
        assert (answer["type"], answer["error"], answer["id"]) == ("error", error, 1)
        assert client.session.subscription_count == 0


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_channel_that_the_token_does_not_permit(channel: str) -> None:
    async with Server() as server:
        client = await server.login(server.token(channels=15 & ~(1 << CHANNELS.index(channel))))
        for other in CHANNELS:
            answer = await client.ask(**subscribe(channel=other))
            assert answer["channel"] == other
            assert answer.get("error") == ("forbidden" if other == channel else None)
        assert client.session.subscription_count == 3


@pytest.mark.parametrize("endpoint", range(4))
async def test_an_endpoint_serves_its_channel_only_and_knows_it(endpoint: int) -> None:
    async with Server() as server:
        client = await server.login(endpoint=endpoint)
        assert client.session.subscription_count == 1
        for other in CHANNELS:
            for command in ("subscribe", "unsubscribe"):
                if other != CHANNELS[endpoint]:
                    answer = await client.ask(type=command, id=1, channel=other)
                    assert (answer["error"], answer["channel"]) == ("channel_not_allowed", other)
        assert client.session.subscription_count == 1
        assert (await client.ask(type="unsubscribe", id=1))["channel"] == CHANNELS[endpoint]
        assert client.session.subscription_count == 0
        assert (await client.ask(type="subscribe", id=1))["channel"] == CHANNELS[endpoint]
        assert (await client.ask(type="subscribe", id=1, channel=CHANNELS[endpoint]))["success"] is True
        assert client.session.subscription_count == 1


@pytest.mark.parametrize(
    ("channel", "filters"),
    [
        ("telemetry", 5),
        ("telemetry", []),
        ("telemetry", "metrics"),
        ("telemetry", {"metric": ["t"]}),
        ("telemetry", {"severity": ["high"]}),
        ("alerts", {"metrics": ["t"]}),
        ("alerts", {"status_types": ["on"]}),
        ("devices", {"alert_type": ["x"]}),
        ("system", {"device_id": [1]}),
        ("telemetry", {"device_id": []}),
        ("telemetry", {"device_id": [1.5]}),
        ("telemetry", {"device_id": True}),
        ("telemetry", {"device_id": [1, None]}),
        ("telemetry", {"device_id": ""}),
        ("telemetry", {"device_id": "x" * 65}),
        ("telemetry", {"device_id": {"a": 1}}),
        ("telemetry", {"metrics": []}),
        ("telemetry", {"metrics": [1]}),
        ("telemetry", {"metrics": [""]}),
        ("telemetry", {"metrics": ["x" * 129]}),
        ("telemetry", {"metrics": [["t"]]}),
        ("alerts", {"severity": 3}),
        ("alerts", {"alert_type": [None]}),
        ("devices", {"status_types": {}}),
        ("alerts", {"frequency": "1s"}),
        ("devices", {"frequency": "real-time"}),
        ("telemetry", {"frequency": "fast"}),
        ("telemetry", {"frequency": "0s"}),
        ("telemetry", {"frequency": 5}),
        ("system", {"frequency": {"deadband": 1}}),
        ("system", {"frequency": {"every": "1s", "deadband": -1}}),
        ("system", {"frequency": {"every": "1s", "deadband": "2"}}),
        ("system", {"frequency": {"every": "1s", "more": 2}}),
    ],
)
async def test_filters_that_are_none(channel: str, filters: object) -> None:
    """They subscribe to nothing, and what there was stays."""
    async with Server() as server:
        client = await server.login()
        await client.ask(**subscribe(channel=channel))
        answer = await client.ask(**subscribe(channel=channel, filters=filters))
        assert (answer["error"], answer["id"], answer["channel"]) == ("invalid_filter", 1, channel)
        assert answer["message"]
        assert client.session.subscription_count == 1


@pytest.mark.parametrize("frequency", ["real-time", "500ms", "1s", "2m", "1h", {"every": "30s", "deadband": "2%"}])
async def test_frequencies_are_understood(frequency: object) -> None:
    async with Server() as server:
        client = await server.login()
        for form in ({"frequency": frequency}, {"filters": {"frequency": frequency}}):
            answer = await client.ask(**subscribe(channel="telemetry", **form))
            assert (answer["success"], answer["frequency"]) == (True, frequency)


@pytest.mark.parametrize("device", [[], [None], 1.5, True, "", {}])
@pytest.mark.parametrize("inside", [True, False])
async def test_devices_to_unsubscribe_that_are_none(device: object, inside: bool) -> None:
    async with Server() as server:
        client = await server.login()
        await client.ask(**subscribe(channel="telemetry", device_id=[1]))
        form = {"filters": {"device_id": device}} if inside else {"device_id": device}
        answer = await client.ask(type="unsubscribe", id=1, channel="telemetry", **form)
        assert (answer["error"], answer["channel"]) == ("invalid_filter", "telemetry")
        assert client.session.subscription_count == 1


async def test_unsubscribing_from_what_is_not_subscribed() -> None:
    async with Server() as server:
        client = await server.login()
        await client.ask(**subscribe(channel="alerts", device_id=[1]))
        await client.ask(**subscribe(channel="telemetry"))
        for channel, devices in (("devices", None), ("alerts", 2), ("telemetry", 1)):
            answer = await client.ask(type="unsubscribe", id=1, channel=channel, device_id=devices)
            assert (answer["error"], answer["id"], answer["channel"]) == ("not_subscribed", 1, channel)
        assert await client.ask(type="unsubscribe", id=1, channel="alerts", device_id=[1, 2]) == {
            "type": "unsubscribe_response",
            "id": 1,
            "success": True,
            "channel": "alerts",
        }
