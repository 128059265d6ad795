"""What may stand in commands: the edge cases 37 and 42 to 46, each through a real socket against a whole server."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import orjson
import pytest

from core.wire_client import CLOSE, TEXT, frame
from harness import running, until
from stranger import Log, code, stranger
from valtronics_fast.logging import JsonFormatter, TextFormatter

HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]")
NASTY = ["a\r\nb", "\x1b[2J", "\x00", "\u2028", "\u202e", "%s%n", "x" * 500]


async def test_row_37_no_authentication_in_time(caplog: Log) -> None:
    """Row 37: whatever else it sends meanwhile."""
    async with stranger(caplog, 4002, auth={"timeout": 1.0}) as one:
        assert (await one.peer.ask(type="ping"))["type"] == "pong"
        assert await one.ends(4002) == []
        await one.peer.send(CLOSE, code(4002))


async def test_row_37_three_bad_tokens() -> None:
    """Row 37: the third one ends it, with its answer first."""
    async with running() as site, site.connect() as client:
        for number in range(3):
            await client.send(type="auth", token=f"bad-{number}")
        number, answers = await client.closed()
        assert (number, [answer["error"] for answer in answers]) == (4001, ["invalid_token"] * 3)
        assert site.server.stats()["auth_failures"] == {"malformed": 3}


async def answer_to(one: Any, text: bytes) -> dict[str, Any]:
    await one.peer.write(frame(TEXT, text))
    answer: dict[str, Any] = await one.peer.hear()
    return answer


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" \n",
        b"NaN",
        b'{"type":"ping","timestamp":NaN}',
        b'{"type":"ping","timestamp":-Infinity}',
        b'{"type":"ping","timestamp":1e400}',
        b'{"type":"ping","timestamp":"\\ud800"}',
        b'{"type":"ping","timestamp":"\\udc00\\ud800"}',
        b'\xef\xbb\xbf{"type":"ping"}',
        b'{"type":"ping"} x',
        b'{"type":"ping"}{"type":"ping"}',
        b'{"type":"ping"}\x00',
        b'{"type":"ping",}',
        b"{'type':'ping'}",
        b'{"type":"ping"',
        b'{"type":"pi\nng"}',
    ],
)
async def test_row_42_what_is_no_json(caplog: Log, text: bytes) -> None:
    """Row 42: answered, and the connection lives on."""
    async with stranger(caplog, 0) as one:
        assert (await answer_to(one, text))["error"] == "invalid_json"
        assert (await one.peer.ask(type="ping"))["type"] == "pong"


@pytest.mark.parametrize("kinds", ["[", "{", "[{"])
async def test_row_42_nesting(caplog: Log, kinds: str) -> None:
    """Row 42: sixteen levels, the message's own with them."""
    async with stranger(caplog, 0) as one:
        for depth, error in ((16, None), (17, "invalid_message"), (150, "invalid_message")):
            value: object = 1
            for level in range(depth - 1):
                value = [value] if kinds[level % len(kinds)] == "[" else {"a": value}
            answer = await answer_to(one, orjson.dumps({"type": "ping", "x": value}))
            assert answer.get("error") == error, depth


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**30, 1.5, True, None, [1], {"a": 1}, "x" * 65])
async def test_row_43_an_id_that_is_none(caplog: Log, number: object) -> None:
    """Row 43: integers of 64 bits and short strings; others are not rounded, and not echoed."""
    async with stranger(caplog, 0) as one:
        answer = await answer_to(one, json.dumps({"type": "ping", "id": number}).encode())
        assert (answer["type"], answer.get("error")) == ("error", "invalid_message")
        assert "id" not in answer
        for good in (2**63 - 1, -(2**63), "x" * 64):
            assert (await one.peer.ask(type="ping", id=good))["id"] == good


async def test_row_43_of_duplicate_keys_the_last_one_wins(caplog: Log) -> None:
    """Row 43: also of a token among several, and of the type that decides on the bound."""
    async with stranger(caplog, 0) as one:
        answer = await answer_to(one, b'{"type":"nothing","id":1,"type":"ping","id":2}')
        assert (answer["type"], answer["id"]) == ("pong", 2)
        text = f'{{"type":"auth","token":"x","token":"{one.site.token("eve")}"}}'
        assert (await answer_to(one, text.encode()))["success"] is True
        text = f'{{"type":"auth","type":"ping","pad":"{"x" * 2000}"}}'
        assert (await answer_to(one, text.encode()))["error"] == "message_too_large"


@pytest.mark.parametrize(
    "filters",
    [{"metrics": ["a\0b"]}, {"device_id": "a\0b"}, {"metrics": ["\0"]}, {"metrics": [""]}, {"metrics": ["m" * 129]}],
)
async def test_row_43_a_nul_in_a_name(caplog: Log, filters: dict[str, object]) -> None:
    """Row 43: and nothing is subscribed."""
    async with stranger(caplog, 0) as one:
        await one.authenticate()
        answer = await one.peer.ask(type="subscribe", channel="telemetry", id=1, **filters)
        assert answer["error"] == "invalid_filter"
        assert one.site.server.stats()["index"]["entries"] == 0  # type: ignore[index]


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "subscribe", "channel": "alerts"}] * 51,
        [{"type": "subscribe", "channel": "alerts"}, {"type": "batch", "messages": []}],
        [{"type": "batch", "messages": []}],
    ],
)
async def test_row_44_a_batch_of_which_nothing_is_done(caplog: Log, messages: list[object]) -> None:
    """Row 44: too many, or one within another."""
    async with stranger(caplog, 0) as one:
        await one.authenticate()
        assert (await one.peer.ask(type="batch", id=1, messages=messages))["error"] == "batch_too_large"
        assert one.site.server.stats()["index"]["entries"] == 0  # type: ignore[index]


async def test_row_44_each_item_counts_for_the_rate_and_for_its_size(caplog: Log) -> None:
    """Row 44: three batches of fifty are fifty over the rate, and what is too large is the item, not the batch."""
    async with stranger(caplog, 0) as one:
        batch = {"type": "batch", "messages": [{"type": "ping"}] * 50}
        for _ in range(3):
            await one.peer.say(**batch)
        await until(lambda: one.session.dropped > 0)
        assert 1 <= one.session.dropped <= 50
    async with stranger(caplog, 0) as one:
        items = [{"type": "ping", "pad": "x" * size} for size in (10, 2000, 10)]
        await one.peer.say(type="batch", id=1, messages=items)
        answers = [await one.peer.hear() for _ in range(4)]
        assert [answer.get("error", answer["type"]) for answer in answers] == [
            "pong", "message_too_large", "pong", "batch_response",
        ]  # fmt: skip


async def test_row_45_a_flood_of_subscriptions(caplog: Log) -> None:
    """Row 45: beyond the bound nothing more is kept, neither the sets nor the names in them, and all goes with it."""
    limits = {"messages_per_second": 0, "subscriptions": 100}
    async with stranger(caplog, 1000, limits=limits) as one:
        await one.authenticate()

        def kept() -> dict[str, int]:
            figures: dict[str, int] = one.site.server.stats()["index"]  # type: ignore[assignment]
            return figures

        for number in range(100):
            await one.peer.say(type="subscribe", channel="telemetry", device_id=number, metrics=f"metric-{number}")
        assert (await one.peer.ask(type="ping"))["type"] == "pong"
        before = kept()
        assert before["entries"] == 100
        for number in range(100, 2100):
            await one.peer.say(type="subscribe", channel="telemetry", device_id=number, metrics=f"metric-{number}")
            assert (await one.peer.hear())["error"] == "too_many_subscriptions"
        assert kept() == before
        await one.peer.send(CLOSE, code(1000))
        await until(lambda: kept()["entries"] == kept()["names"] == 0)


async def test_row_45_a_flood_of_device_ids(caplog: Log) -> None:
    """Row 45: over all subscriptions of a connection, whatever their channel."""
    limits = {"messages_per_second": 0, "device_ids": 1000}
    async with stranger(caplog, 0, limits=limits) as one:
        await one.authenticate()
        refused = 0
        for start in range(0, 20_000, 100):
            channel = ("telemetry", "alerts", "devices")[start // 100 % 3]
            devices = list(range(start, start + 100))
            answer = await one.peer.ask(type="subscribe", id=1, channel=channel, device_id=devices)
            refused += answer.get("error") == "too_many_subscriptions"
        assert refused == 190
        assert one.site.server.stats()["index"]["entries"] == 1000  # type: ignore[index]


@pytest.mark.parametrize("text", NASTY)
async def test_row_46_control_characters_and_names_that_nobody_has(caplog: Log, text: str) -> None:
    """Row 46: no log line can be forged, and no figure gets a name that a client has made up."""
    caplog.set_level(logging.DEBUG)
    async with running(limits={"messages_per_second": 0}) as site, site.connect() as client:
        before = site.server.stats()
        await client.fails("unknown_type", type=text)
        await client.authenticate(site.token())
        await client.fails("unknown_channel", type="subscribe", channel=text)
        await client.fails("unknown_channel", type="unsubscribe", channel=text)
        await client.send(type="error_report", error=text)
        for number in range(100):
            await client.fails("unknown_channel", type="subscribe", channel=f"{text[:20]}{number}")
        after = site.server.stats()
        assert after.keys() == before.keys()
        for part in ("channels", "index", "producers", "auth_failures", "refused"):
            assert after[part].keys() == before[part].keys()  # type: ignore[attr-defined]
    assert "a client reports an error" in caplog.messages
    for record in caplog.records:
        for formatter in (TextFormatter(), JsonFormatter()):
            assert not HARMFUL.search(formatter.format(record))
