"""docs/mqtt.md is true: its commands are run as they stand there, and give what stands below them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mqtt_harness import send
from mqtt_site import figures, serving
from valtronics_fast.config import Config, MqttConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Message

PAGE = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^mosquitto_pub ", re.MULTILINE)
TIMEOUT = 30.0

# What stands on the page for a time and an id that the server makes up.
SOME_TIME = "2024-01-01T12:00:00.123Z"
SOME_ID = 1704110400123456


def decoded(text: str) -> list[Message]:
    """Return the JSON values that stand in a text one behind the other."""
    values, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:]
    return values


def find_examples() -> Iterator[tuple[str, list[Message]]]:
    """Return the commands of each block that publishes, and the messages that stand in the block below."""
    for (language, text), (below, shown) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if COMMAND.search(text):
            assert (language, below) == ("sh", "json"), text
            yield text, decoded(shown)


EXAMPLES = list(find_examples())


def with_placeholders(message: Any) -> Any:
    """Return a message as the page would show it."""
    if isinstance(message, dict):
        shown = {name: with_placeholders(value) for name, value in message.items()}
        if re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(shown.get("timestamp"))):
            shown["timestamp"] = SOME_TIME
        if isinstance(shown.get("alert_id"), int):
            shown["alert_id"] = SOME_ID
        return shown
    return message


def test_no_command_of_the_page_is_left_out() -> None:
    found = sum(len(COMMAND.findall(text)) for text, _ in EXAMPLES)
    assert found == PAGE.count("mosquitto_pub") >= 9
    assert found == sum(len(shown) for _, shown in EXAMPLES)


@pytest.mark.parametrize(("commands", "shown"), EXAMPLES, ids=[text.split()[2] for text, _ in EXAMPLES])
async def test_the_commands_give_what_the_page_shows(tmp_path: Path, commands: str, shown: list[Message]) -> None:
    async with serving(tmp_path) as (broker, site), site.client() as client:
        # mosquitto_pub takes options from there as well, so that the commands themselves need no change.
        (tmp_path / "mosquitto_pub").write_text(f"-h 127.0.0.1\n-p {broker.port}\n")
        environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
        for channel in ("telemetry", "alerts", "devices", "system"):
            await client.subscribe(channel)
        await asyncio.to_thread(
            subprocess.run, ["sh", "-euc", commands], env=environment, check=True, capture_output=True, timeout=TIMEOUT
        )
        assert [with_placeholders(await client.receive()) for _ in shown] == shown
        await client.nothing_more()
        assert figures(site)["messages"] == len(shown)


def topics_on_the_page() -> list[list[str]]:
    """Return the lists of rules that the page shows."""
    texts = [text for language, text in BLOCKS if language == "toml" and "topics" in text]
    settings = [tomllib.loads(text) for text in texts]
    return [each.get("mqtt", each)["topics"] for each in settings]


def test_the_rules_of_the_platform_are_those_of_the_page() -> None:
    assert tuple(topics_on_the_page()[1]) == MqttConfig().topics


def test_the_settings_on_the_page_are_settings() -> None:
    (text,) = (text for language, text in BLOCKS if language == "toml" and "client_id" in text)
    mqtt = Config.load(tomllib.loads(text), environ={}).mqtt
    assert (mqtt.url, mqtt.client_id) == ("mqtt://server:password@broker.example:1883", "valtronics-1")


async def test_rules_of_ones_own(tmp_path: Path) -> None:
    topics = topics_on_the_page()[0]
    async with serving(tmp_path, topics=topics) as (broker, site), site.client() as client:
        for channel in ("telemetry", "alerts", "devices"):
            await client.subscribe(channel)
        await send(broker, "valtronics/1/heartbeat")  # no rule any more
        await send(broker, "plant/hall-2/17/rpm", 1450)
        await send(broker, "plant/hall-2/17", {"metrics": [{"name": "rpm", "value": 1451, "unit": "1/min"}]})
        await send(broker, "plant/alarms/critical", {"title": "Fire"})
        await send(broker, "gateways/gate-7/some/thing", b"\xff whatever")
        await send(broker, "gateways/gate-8")
        received = [with_placeholders(await client.receive()) for _ in range(5)]
        await client.nothing_more()
    telemetry = {"type": "telemetry_update", "channel": "telemetry", "device_id": 17}
    status = {
        "type": "device_status_update", "channel": "devices", "old_status": "unknown", "new_status": "online",
        "timestamp": SOME_TIME, "reason": "Heartbeat", "metadata": {},
    }  # fmt: skip
    assert received == [
        telemetry | {"telemetry": {"rpm": {"value": 1450, "unit": None, "timestamp": SOME_TIME}}},
        telemetry | {"telemetry": {"rpm": {"value": 1451, "unit": "1/min", "timestamp": SOME_TIME}}},
        {
            "type": "alert", "channel": "alerts", "alert_id": SOME_ID, "device_id": None, "severity": "critical",
            "title": "Fire", "message": "Fire", "timestamp": SOME_TIME, "metadata": {},
        },
        status | {"device_id": "gate-7"},
        status | {"device_id": "gate-8"},
    ]  # fmt: skip


async def test_with_the_permissions_of_the_page_a_device_speaks_for_itself_alone(tmp_path: Path) -> None:
    (rights,) = (text for language, text in BLOCKS if not language and "pattern write" in text)
    (tmp_path / "rights").write_text(rights)
    (tmp_path / "rights").chmod(0o600)
    users, settings = {"17": "of-the-device", "server": "of-the-server"}, [f"acl_file {tmp_path / 'rights'}"]
    async with serving(tmp_path, users=users, settings=settings) as (broker, site), site.client() as client:
        for channel in ("telemetry", "alerts", "devices"):
            await client.subscribe(channel)
        for topic in ("18/heartbeat", "devices/18/telemetry/t", "system/alerts/info"):
            await send(broker, f"valtronics/{topic}", 1)
        await send(broker, "valtronics/17/heartbeat")
        await send(broker, "valtronics/devices/17/telemetry/t", 1)
        assert [(await client.receive())["device_id"] for _ in range(2)] == [17, 17]
        await client.nothing_more()
