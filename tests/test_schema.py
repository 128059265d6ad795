"""The schemas and a real server agree: what one takes the other takes, and what is sent is what is described."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from documented import BARE, MESSAGES
from harness import Client, Site, running
from valtronics_fast._core.wire import COMMANDS
from valtronics_fast.schema import PARTS, schema

VALIDATORS = {part: Draft202012Validator(schema(part)) for part in PARTS}
PAGE = (Path(__file__).parents[1] / "docs" / "protocol.md").read_text()

# What stands for "..." in the page's examples, where a text does not.
ANY = {"expires_in": 60, "channels": [], "count": 1, "id": 1, "results": []}


def valid(part: str, message: object) -> bool:
    return bool(VALIDATORS[part].is_valid(message))


def assert_valid(part: str, message: object) -> None:
    found = sorted(VALIDATORS[part].iter_errors(message), key=str)
    assert found == [], f"{message}: {found[0].message} {[each.message for each in found[0].context or ()]}"


def filled(value: Any, name: str = "") -> Any:
    """Return an example with something in place of "..."."""
    if isinstance(value, dict):
        return {key: filled(each, key) for key, each in value.items()}
    if value == ["..."]:
        return ANY.get(name, [])
    if isinstance(value, list):
        return [filled(each, name) for each in value]
    return ANY.get(name, value) if value == "..." else value


def examples() -> list[tuple[str, Any]]:
    """Return the examples of docs/protocol.md, and which part each belongs to."""
    texts = re.findall(r"^[<>] (\{(?:.*\n(?=   ))*.*\})$", PAGE, re.MULTILINE)  # of the dialogues
    texts += re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    texts += re.findall(r"\n\n    (\{.*\})$", PAGE, re.MULTILINE)
    texts += re.findall(r"`(\{\"type\": [^`]*\})`", PAGE)
    found = []
    for text in texts:
        whole = text.replace("[...]", '["..."]').replace("{...}", json.dumps(BARE[0])).replace(": ...,", ': "...",')
        message = filled(json.loads(whole.replace(", ...}", "}").replace("CODE", '"internal"')))
        found.append(("commands" if _is_command(message) else "messages", message))
    return found


def _is_command(message: dict[str, Any]) -> bool:
    """Say whether a client sends it: a batch is one of commands, or of data messages."""
    data = any(each["type"].endswith("_update") for each in message.get("messages", ()))
    return message["type"] in COMMANDS and not data


EXAMPLES = examples()


def test_the_page_has_examples_of_both() -> None:
    kinds = {part: {message["type"] for at, message in EXAMPLES if at == part} for part in ("commands", "messages")}
    assert kinds["commands"] == set(COMMANDS)
    assert len(kinds["messages"]) >= 14


@pytest.mark.parametrize(("part", "message"), EXAMPLES)
def test_the_examples_of_the_page(part: str, message: Any) -> None:
    assert_valid(part, message)


@pytest.mark.parametrize("part", PARTS)
def test_the_schemas_are_schemas(part: str) -> None:
    Draft202012Validator.check_schema(schema(part))
    assert not valid(part, {})
    assert not valid(part, [])
    assert not valid(part, {"type": "weather"})


GOOD: list[dict[str, Any]] = [
    {"type": "subscribe", "channel": "telemetry"},
    {"type": "subscribe", "channel": "telemetry", "device_id": 1, "metrics": "a", "frequency": "1s", "unknown": 1},
    {"type": "subscribe", "channel": "telemetry", "filters": {"device_id": [1, "pump"], "metrics": ["a", "b"]}},
    {"type": "subscribe", "channel": "telemetry", "filters": {"frequency": {"every": "10m", "deadband": "2.5%"}}},
    {"type": "subscribe", "channel": "telemetry", "filters": {"frequency": {"every": "real-time", "deadband": 0.5}}},
    {"type": "subscribe", "channel": "telemetry", "filters": {"metrics": None, "device_id": None}, "snapshot": None},
    {"type": "subscribe", "channel": "alerts", "severity": ["a"], "alert_type": "b", "recover": True},
    {"type": "subscribe", "channel": "alerts", "filters": None, "since": {"epoch": "a", "offset": 0}},
    {"type": "subscribe", "channel": "devices", "filters": {"status_types": ["offline"]}, "snapshot": True},
    {"type": "subscribe", "channel": "devices", "metrics": 7},
    {"type": "subscribe", "channel": "system", "filters": {"metrics": ["cpu"], "frequency": "500ms"}, "id": "x" * 64},
    {"type": "ping", "id": -(2**63)},
    {"type": "batch", "messages": [{"type": "ping"}] * 50},
    {"type": "batch", "messages": []},
    *({"type": "publish", "message": message} for message in (*MESSAGES, *BARE)),
]
BAD: list[dict[str, Any]] = [
    {"type": "subscribe", "channel": "weather"},
    {"type": "subscribe", "channel": "telemetry", "filters": []},
    {"type": "subscribe", "channel": "telemetry", "filters": {"severity": "a"}},
    {"type": "subscribe", "channel": "telemetry", "metrics": []},
    {"type": "subscribe", "channel": "telemetry", "metrics": [7]},
    {"type": "subscribe", "channel": "telemetry", "metrics": "a\x00"},
    {"type": "subscribe", "channel": "telemetry", "metrics": "a" * 129},
    {"type": "subscribe", "channel": "telemetry", "device_id": ""},
    {"type": "subscribe", "channel": "telemetry", "device_id": True},
    {"type": "subscribe", "channel": "telemetry", "device_id": "a" * 65},
    {"type": "subscribe", "channel": "telemetry", "frequency": "1"},
    {"type": "subscribe", "channel": "telemetry", "frequency": "0s"},
    {"type": "subscribe", "channel": "telemetry", "frequency": {"deadband": 1}},
    {"type": "subscribe", "channel": "telemetry", "frequency": {"every": "1s", "deadband": -1}},
    {"type": "subscribe", "channel": "telemetry", "frequency": {"every": "1s", "other": 1}},
    {"type": "subscribe", "channel": "telemetry", "snapshot": 1},
    {"type": "subscribe", "channel": "telemetry", "since": {"epoch": "a"}},
    {"type": "subscribe", "channel": "telemetry", "since": {"epoch": "a", "offset": 2**53}},
    {"type": "subscribe", "channel": "alerts", "frequency": "1s"},
    {"type": "subscribe", "channel": "devices", "filters": {"frequency": "1s"}},
    {"type": "subscribe", "channel": "system", "filters": {"device_id": 1}},
    {"type": "unsubscribe", "channel": "telemetry", "device_id": []},
    {"type": "unsubscribe", "channel": "weather"},
    {"type": "ping", "id": 2**63},
    {"type": "ping", "id": "x" * 65},
    {"type": "ping", "id": None},
    {"type": "batch", "messages": [{"type": "ping"}] * 51},
    {"type": "batch", "messages": [{"type": "batch", "messages": []}]},
    {"type": "batch"},
    {"type": "publish"},
    {"type": "publish", "message": {"type": "alert"}},
    {"type": "publish", "message": {"type": "alert", "severity": "a", "channel": "system"}},
    {"type": "publish", "message": {"type": "alert", "severity": "a", "alert_type": 7}},
    {"type": "publish", "message": {"type": "telemetry_update", "device_id": 1, "telemetry": {}}},
    {"type": "publish", "message": {"type": "telemetry_update", "telemetry": {"a": 1}}},
    {"type": "publish", "message": {"type": "telemetry_update", "device_id": 1, "telemetry": {"a": [1]}}},
    {"type": "publish", "message": {"type": "telemetry_update", "device_id": 1, "telemetry": {"a": {"unit": "b"}}}},
    {"type": "publish", "message": {"type": "telemetry_update", "device_id": 1, "telemetry": {"": 1}}},
    {"type": "publish", "message": {"type": "device_status_update", "device_id": 1, "old_status": "a"}},
    {"type": "publish", "message": {"type": "system_status_update", "metrics": []}},
]


async def errors(client: Client, command: dict[str, Any]) -> list[str]:
    """Send a command, and return the codes of the errors that come before the answer to a ping behind it."""
    await client.send(**command)
    await client.send(type="ping", id="behind")
    found = []
    while (answer := await client.receive()).get("id") != "behind":
        assert_valid("messages", answer)
        found += [answer["error"]] if answer["type"] == "error" else []
    return found


async def test_what_the_schema_takes_the_server_takes_and_the_other_way_round() -> None:
    limits = {"message_size": 0, "messages_per_second": 0}
    async with running(limits=limits) as site, site.client(publish=True) as client:
        for command in GOOD:
            assert_valid("commands", command)
            assert await errors(client, command) == [], command
        for command in BAD:
            assert not valid("commands", command), command
            assert await errors(client, command), command


OPTIONAL = {
    "id", "channel", "denied", "frequency", "position", "recovered", "offset", "device_id", "client_timestamp",
}  # fmt: skip


async def conversation(site: Site) -> list[dict[str, Any]]:
    """Have a server send as much as can be had in one go; return it."""
    heard = []
    async with site.connect() as client:
        token = site.token(publish=True, devices=[1, 2], expires=50)
        heard.append(await client.ask(type="auth", token="bad", id="a"))
        heard.append(await client.ask(type="auth", token=token, renew=True, notices=True, batch=True))
        while heard[-1]["type"] != "token_expiring":
            heard.append(await client.receive())
        heard.append(await client.ask(type="subscribe", channel="telemetry", device_id=[1, 7], recover=True, id=1))
        heard.append(await client.ask(type="subscribe", channel="telemetry", device_id=2, id=1))
        heard.append(await client.ask(type="subscribe", channel="devices", snapshot=True, id="two"))
        heard.append(await client.ask(type="subscribe", channel="alerts", since={"epoch": "x", "offset": 4}, id=3))
        heard.append(
            await client.ask(type="subscribe", channel="system", frequency={"every": "1s", "deadband": 1}, id=4)
        )
        for message in (*MESSAGES, *BARE):
            site.server.publish({**message, "more": 1})
        heard.append(await client.receive())
        await client.send(type="publish", message=BARE[0], id=5)
        await client.send(type="batch", id=6, messages=[{"type": "ping", "timestamp": 5}, {"type": "weather"}])
        await client.send(type="subscribe", channel="telemetry", device_id=9, id=7)
        await client.send(type="auth", token=site.token(publish=True, devices=[2], channels=["telemetry"]), id=8)
        await client.send(type="unsubscribe", channel="telemetry", id=9)
        await client.send(type="ping", id="end")
        while heard[-1].get("id") != "end":
            heard.append(await client.receive())
    return heard


async def test_what_the_server_sends_is_what_the_schema_has() -> None:
    async with running() as site:
        heard = await conversation(site)
        async with site.client("/ws/telemetry") as client:
            site.server.publish({**MESSAGES[0], "more": 1})
            heard.append(await client.receive())
    for message in heard:
        assert_valid("messages", message)
        if message["type"] not in {"alert", "batch"}:
            assert not valid("messages", {**message, "more": 1})
        for name in message.keys() - OPTIONAL:
            assert not valid("messages", {key: value for key, value in message.items() if key != name}), name
    assert {message["type"] for message in heard} >= {
        "auth_response", "subscribe_response", "unsubscribe_response", "publish_response", "batch_response", "pong",
        "error", "unsubscribed", "token_expiring", "batch", "telemetry_update",
    }  # fmt: skip
