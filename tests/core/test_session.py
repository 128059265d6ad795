"""What a command is, and the commands beside subscribe and unsubscribe (protocol.md, section 3)."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from websockets.asyncio.client import connect

from core.harness import Message, Server, telemetry
from core.wire_client import TEXT, frame, text

ALERT: Message = {"type": "alert", "severity": "high", "device_id": 1}
SYSTEM: Message = {"type": "system_status_update", "metrics": {"cpu": 1}}


async def test_a_session_of_the_library_client() -> None:
    async with Server() as server, connect(server.url) as socket:

        async def ask(**command: object) -> Message:
            await socket.send(orjson.dumps(command).decode())
            message: Message = orjson.loads(await socket.recv())
            return message

        assert (await ask(type="auth", token=server.token(publish=15)))["success"] is True
        answer = await ask(type="subscribe", id=1, channel="telemetry", filters={"device_id": [1], "metrics": ["t"]})
        assert answer == {
            "type": "subscribe_response",
            "id": 1,
            "success": True,
            "channel": "telemetry",
            "filters": {"device_id": [1], "metrics": ["t"]},
            "frequency": "real-time",
        }
        assert (await ask(type="publish", message=telemetry(1, t=1, h=2))) == telemetry(1, t=1) | {
            "channel": "telemetry"
        }
        assert (await ask(type="unsubscribe", id=2, channel="telemetry"))["success"] is True
        assert (await ask(type="publish", id=3, message=telemetry(1, t=1)))["type"] == "publish_response"


@pytest.mark.parametrize("given", ["2024-01-01T12:00:00Z", 1704110400, 1.5, ""])
async def test_ping_shows_the_clients_time_and_the_servers(given: object) -> None:
    async with Server() as server:
        client = await server.connect()
        answer = await client.ask(type="ping", timestamp=given)
        moment = datetime.fromisoformat(answer.pop("timestamp"))
        assert abs((datetime.now(UTC) - moment).total_seconds()) < 30
        assert answer == {"type": "pong", "client_timestamp": given}
        assert set(await client.ask(type="ping")) == {"type", "timestamp"}


@pytest.mark.parametrize("number", ["", "a", "x" * 64, "é" * 32, 0, -1, 2**63 - 1, -(2**63)])
async def test_an_id_is_echoed_in_whatever_answers(number: object) -> None:
    async with Server() as server:
        client = await server.login(server.token(publish=15))
        for command in (
            {"type": "ping"},
            {"type": "auth", "token": "bad"},
            {"type": "auth", "token": server.token()},
            {"type": "subscribe", "channel": "alerts"},
            {"type": "subscribe", "channel": "nowhere"},
            {"type": "subscribe"},
            {"type": "unsubscribe", "channel": "alerts"},
            {"type": "unsubscribe", "channel": "alerts"},
            {"type": "publish", "message": {}},
            {"type": "batch", "messages": []},
            {"type": "batch"},
            {"type": "nonsense"},
            {},
        ):
            answer = await client.ask(**command, id=number)
            assert answer["id"] == number
            assert type(answer["id"]) is type(number)
            assert await client.settled() == []


async def test_an_internal_error_echoes_the_id_too() -> None:
    async with Server() as server:
        client = await server.login(server.token(publish=15))

        def publish(_: object) -> int:
            raise RuntimeError("broken")

        server.host.publisher = publish
        answer = await client.ask(type="publish", id=5, message=telemetry(1, t=1))
        server.host.errors.clear()
        assert (answer["error"], answer.get("id")) == ("internal", 5)


@pytest.mark.parametrize("number", ["x" * 65, "é" * 33, 1.0, 1.5, True, [], {}, 2**63, 10**30], ids=repr)
async def test_an_id_that_is_none(number: object) -> None:
    async with Server() as server:
        client = await server.login()
        command = f'{{"type":"subscribe","channel":"alerts","id":{orjson_or_int(number)}}}'
        await client.write(frame(TEXT, command.encode()))
        answer = await client.hear()
        assert answer["error"] == "invalid_message"
        assert "id" not in answer
        assert client.session.subscription_count == 0


def orjson_or_int(value: object) -> str:
    return str(value) if type(value) is int else orjson.dumps(value).decode()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "invalid_json"),
        (b"ping", "invalid_json"),
        (b'{"type":"ping"', "invalid_json"),
        (b'{"type":"ping"} x', "invalid_json"),
        (b'{"type":"ping","x":NaN}', "invalid_json"),
        (b'{"type":"ping","x":"\\ud800"}', "invalid_json"),
        (b'\xef\xbb\xbf{"type":"ping"}', "invalid_json"),
        (b"7", "invalid_message"),
        (b'"ping"', "invalid_message"),
        (b"null", "invalid_message"),
        (b'[{"type":"ping"}]', "invalid_message"),
        (b'{"type":7}', "invalid_message"),
        (b'{"type":null}', "invalid_message"),
        (b"{}", "missing_type"),
        (b'{"Type":"ping"}', "missing_type"),
        (b'{"type":""}', "unknown_type"),
        (b'{"type":"PING"}', "unknown_type"),
        (b'{"type":"pong"}', "unknown_type"),
        (b'{"type":"telemetry_update"}', "unknown_type"),
    ],
)
async def test_what_is_no_command(data: bytes, error: str) -> None:
    async with Server() as server:
        for client in (await server.connect(), await server.login()):
            await client.write(frame(TEXT, data))
            answer = await client.hear()
            assert (answer["type"], answer["error"]) == ("error", error)
            assert answer["message"]
            assert (await client.ask(type="ping"))["type"] == "pong"


async def test_keys_that_nobody_knows_are_ignored_and_the_last_of_equal_ones_wins() -> None:
    async with Server() as server:
        client = await server.login()
        assert (await client.ask(type="ping", more=1, nested={"a": [1]}))["type"] == "pong"
        await client.write(frame(TEXT, b'{"type":"auth","id":1,"type":"ping","id":2}'))
        answer = await client.hear()
        assert (answer["type"], answer["id"]) == ("pong", 2)


async def test_nesting_is_bounded() -> None:
    async with Server() as server:
        client = await server.connect()
        for depth, expected in ((16, "pong"), (17, "error"), (400, "error")):
            inner = b"[" * (depth - 1) + b"]" * (depth - 1)
            await client.write(frame(TEXT, b'{"type":"ping","x":' + inner + b"}"))
            answer = await client.hear()
            assert (answer["type"], answer.get("error", "")) == (expected, "invalid_message" * (expected == "error"))


async def test_publishing_reaches_the_subscribers() -> None:
    async with Server() as server:
        publisher, reader = await server.login(server.token(publish=15)), await server.login()
        for channel in ("telemetry", "alerts", "devices", "system"):
            await reader.ask(type="subscribe", id=1, channel=channel)
        status: Message = {"type": "device_status_update", "device_id": 1, "new_status": "on"}
        messages = [telemetry(1, t=1), ALERT, status, SYSTEM]
        for message in messages:
            assert await publisher.ask(type="publish", id=7, message=message) == {
                "type": "publish_response",
                "id": 7,
                "success": True,
            }
            await publisher.say(type="publish", message=message)  # no id, no answer
        assert await publisher.settled() == []
        received = await reader.settled()
        assert [message["type"] for message in received] == [m["type"] for m in messages for _ in range(2)]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (None, "invalid_message"),
        ("x", "invalid_message"),
        ([], "invalid_message"),
        ({}, "missing_type"),
        ({"type": "ping"}, "unknown_type"),
        ({"type": "telemetry_update", "device_id": 1}, "invalid_message"),
        ({**ALERT, "channel": "devices"}, "unknown_channel"),
        ({"type": "alert"}, "invalid_message"),
    ],
)
async def test_publishing_what_is_no_data_message(data: object, error: str) -> None:
    async with Server() as server:
        client = await server.login(server.token(publish=15))
        answer = await client.ask(type="publish", id=1, message=data)
        assert (answer["type"], answer["error"], answer["id"]) == ("error", error, 1)
        assert await client.settled() == []


async def test_publishing_needs_a_token_that_says_so() -> None:
    async with Server() as server:
        reader = await server.login()
        assert (await reader.ask(type="publish", id=1, message=ALERT))["error"] == "forbidden"
        some = await server.login(server.token(publish=0b0010))
        answer = await some.ask(type="publish", id=1, message=SYSTEM)
        assert (answer["error"], answer["channel"]) == ("forbidden", "system")
        assert (await some.ask(type="publish", id=1, message=ALERT))["success"] is True


async def test_publishing_keeps_within_the_devices_of_the_token() -> None:
    async with Server() as server:
        client = await server.login(server.token(publish=15, devices=frozenset({1})))
        for device, expected in ((1, None), ("1", None), (2, "forbidden"), (None, "forbidden")):
            answer = await client.ask(type="publish", id=1, message=ALERT | {"device_id": device})
            assert answer.get("error") == expected
        assert (await client.ask(type="publish", id=1, message=SYSTEM))["success"] is True


async def test_publishing_keeps_to_the_endpoints_channel() -> None:
    async with Server() as server:
        client = await server.login(server.token(publish=15), endpoint=1, implicit=False)
        answer = await client.ask(type="publish", id=1, message=SYSTEM)
        assert (answer["error"], answer["channel"]) == ("channel_not_allowed", "system")
        assert (await client.ask(type="publish", id=1, message=ALERT))["success"] is True


async def test_error_reports_go_to_the_host_and_nowhere_else() -> None:
    async with Server() as server:
        client, other = await server.login(), await server.login()
        report: Message = {"type": "error_report", "id": 1, "error": "no such chart", "details": {"a": 1}}
        await client.write(text(report) * 2)
        assert await server.settled(client, other) == [[], []]
        assert server.host.reports == [report] * 2


async def test_what_the_host_is_told_of_connections() -> None:
    async with Server() as server:
        client = await server.connect()
        assert server.host.opened_sessions == [client.session]
        assert server.host.closed_sessions == []
        assert (client.session.address, client.session.endpoint) == ("127.0.0.1", -1)
