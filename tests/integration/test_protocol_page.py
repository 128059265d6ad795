"""docs/protocol.md is true: its dialogues are held as they stand there, with a server whose time is made up."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.paced import FOREVER, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.wire_client import Client

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
DIALOGUES: list[str] = re.findall(r"^```dialogue\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
UNITS = {"temperature": "°C", "humidity": "%"}
EPOCH = "b2f1"
SMALL = 4096  # bytes of the socket buffers, so that a reader is soon a slow one
MARK = 20_000


def lines_of(dialogue: str) -> Iterator[tuple[str, str]]:
    """Return the sign and the text of each line; what is indented belongs to the line above."""
    for line in re.sub(r"\n +", " ", dialogue).splitlines():
        sign, _, text = line.partition(" ")
        yield sign, text


def agrees(shown: Any, got: Any) -> bool:
    """Say whether a value is the one that the page shows; "..." stands for any."""
    if shown == "...":
        return True
    if isinstance(shown, dict) and isinstance(got, dict):
        return list(shown) == list(got) and all(agrees(shown[key], got[key]) for key in shown)
    if isinstance(shown, list) and isinstance(got, list):
        return len(shown) == len(got) and all(map(agrees, shown, got))
    return bool(shown == got)


class Play:
    """A dialogue under way."""

    def __init__(self, stage: Stage, client: Client) -> None:
        self.stage = stage
        self.client = client
        self.received: list[Any] = []
        self.milliseconds = 0

    def now(self) -> str:
        time = NOON + timedelta(milliseconds=self.milliseconds)
        return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def publish(self, device: int, values: dict[str, float]) -> None:
        telemetry = {
            name: {"value": value, "unit": UNITS[name], "timestamp": self.now()} for name, value in values.items()
        }
        message = {"type": "telemetry_update", "device_id": device, "telemetry": telemetry}
        self.stage.hub.publish(message, self.stage.now)

    def happens(self, text: str) -> None:
        """Do what a line with a * says."""
        if match := re.fullmatch(r"device (\d+): (\w+) 1 to (\d+), faster than the client reads", text):
            for value in range(1, int(match[3]) + 1):
                self.publish(int(match[1]), {match[2]: value})
        elif match := re.fullmatch(r"device (\d+): (.*)", text):
            pairs = [pair.split() for pair in match[2].split(",")]
            self.publish(int(match[1]), {name: json.loads(value) for name, value in pairs})
        elif match := re.fullmatch(r"alert on device (\d+): (\w+)", text):
            alert = {"type": "alert", "device_id": int(match[1]), "severity": "critical", "title": match[2]}
            self.stage.hub.publish(alert, self.stage.now)
        else:
            match = re.fullmatch(r"system: (\w+) (\d+), and at once (\w+) (\d+)", text)
            assert match, text
            for name, value in (match.group(1, 2), match.group(3, 4)):
                metrics = {"type": "system_status_update", "metrics": {name: int(value)}, "timestamp": self.now()}
                self.stage.hub.publish(metrics, self.stage.now)

    async def read(self) -> None:
        """Take in what the client has been sent, which has had its commands handled."""
        if self.client.session not in self.stage.host.closed_sessions:
            self.received += await self.client.settled()

    async def line(self, sign: str, text: str) -> None:
        if sign == "*":
            await self.read()
            self.happens(text)
            return
        if sign == "~":
            milliseconds = int(text.removesuffix(" ms"))
            for _ in range(milliseconds // 10):
                self.milliseconds += 10
                self.stage.at(self.milliseconds)
                self.stage.hub.advance(self.stage.now)
            return
        await self.read()
        if sign == "<":
            shown = json.loads(text)
            assert self.received, f"nothing came for {text}"
            got = self.received.pop(0)
            assert agrees(shown, got), got
        elif sign == "<<":
            while len(self.received) > 2 or self.stage.hub.behind:
                del self.received[:-2]
                await self.read()
        else:
            assert self.received == [], "something came that the page does not show"
            await self.acts(sign, text)

    async def acts(self, sign: str, text: str) -> None:
        """Do what the client does."""
        if sign == ">":
            command = json.loads(text)
            if command["type"] == "auth":
                command["token"] = self.stage.token(seconds=FOREVER)
            await self.client.say(**command)
            return
        assert sign == "/", sign
        if text == "the connection is lost":
            self.client.close()
            await self.stage.gone(self.client)
        else:
            assert text == "a new connection, authenticated", text
            self.client = await self.stage.user()


def test_there_is_one_for_each_way_to_get_less_or_more() -> None:
    asked = ["frequency", "deadband", "snapshot", "recover", "since", "notices", "batch"]
    assert [word for word in asked if not any(f'"{word}"' in dialogue for dialogue in DIALOGUES)] == []


@pytest.mark.parametrize("dialogue", DIALOGUES)
async def test_a_dialogue(dialogue: str) -> None:
    async with Stage(
        history=100, epoch=EPOCH, send_buffer=SMALL, queue_mark=MARK, queue_limit=0, max_latest=1 << 20
    ) as stage:
        client = await stage.connect(receive_buffer=SMALL)
        if '"auth"' not in dialogue:
            await client.ask(type="auth", token=stage.token(seconds=FOREVER))
        play = Play(stage, client)
        for sign, text in lines_of(dialogue):
            await play.line(sign, text)
        await play.read()
        assert play.received == []
