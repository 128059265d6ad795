"""The sampled log of messages (`logging.messages`), and the ids of HTTP requests in the log."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from harness import configuration, http, running, telemetry, until
from valtronics_fast.clients import MESSAGE_LINES
from valtronics_fast.logging import PACKAGE, JsonFormatter, RateLimitFilter, setup

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Have the log written as a process does, as JSON."""
    stream = io.StringIO()
    levels = logging.getLogger().level, logging.getLogger(PACKAGE).level
    setup("debug", "json", stream)
    yield stream
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one.formatter, JsonFormatter)]:
        root.removeHandler(handler)
    root.setLevel(levels[0])
    logging.getLogger(PACKAGE).setLevel(levels[1])


def lines(log: io.StringIO, message: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["message"] == message]


async def test_nothing_is_logged_unless_it_is_asked_for(log: io.StringIO) -> None:
    async with running() as site, site.client() as client:
        await client.subscribe("telemetry")
        site.server.publish(telemetry())
        await client.receive()
        assert site.server._hub.sampler is None
    assert lines(log, "message") == []


async def test_a_line_a_message_that_is_picked(log: io.StringIO) -> None:
    async with running(logging={"messages": 1}) as site, site.client() as client:
        await client.subscribe("telemetry", device_id=1)
        site.server.publish(telemetry())
        await client.receive()
        await until(lambda: len(lines(log, "message")) == 5)
        (connected,) = lines(log, "connected")
        found = lines(log, "message")
        assert {line["connection"] for line in found} == {connected["connection"]}
        assert [(line["direction"], line["type"], line["channel"]) for line in found] == [
            ("in", "auth", None),
            ("out", "auth_response", None),
            ("in", "subscribe", "telemetry"),
            ("out", "subscribe_response", "telemetry"),
            ("out", "telemetry_update", "telemetry"),
        ]
        assert all(line["size"] > 20 for line in found)
        assert set(found[0]) == {
            "time", "level", "logger", "message", "direction", "connection", "type", "channel", "size",
        }  # fmt: skip
        assert site.token().split(".")[1] not in log.getvalue()


async def test_a_reload_turns_it_on_and_off(log: io.StringIO) -> None:
    async with running() as site, site.client() as client:
        assert await site.server.reload(configuration(logging={"messages": 1})) == []
        await client.nothing_more()
        await until(lambda: len(lines(log, "message")) == 2)
        sampler = site.server._hub.sampler
        await site.server.reload(configuration(logging={"messages": 1}, limits={"batch_items": 3}))
        assert site.server._hub.sampler is sampler
        await site.server.reload(configuration())
        await client.nothing_more()
        assert len(lines(log, "message")) == 2


async def test_not_without_end(log: io.StringIO) -> None:
    limiter = next(f for f in logging.getLogger("valtronics_fast.messages").filters if isinstance(f, RateLimitFilter))
    limiter.tell(at_once=True)
    async with running(logging={"messages": 1}) as site, site.client() as client:
        await client.subscribe("telemetry")
        for n in range(MESSAGE_LINES + 100):
            site.server.publish(telemetry(n=n))
            if n % 100 == 0:
                await asyncio.sleep(0)
        for _ in range(MESSAGE_LINES + 100):
            await client.receive()
    assert len(lines(log, "message")) == MESSAGE_LINES
    assert lines(log, "lines suppressed")[0]["suppressed"] >= 100


async def test_the_lines_of_a_request_have_its_id(log: io.StringIO) -> None:
    async with running(http={"api_key": "key-of-the-operator"}) as site:
        url = site.http_url("/api/v1/publish")
        ids = [f"request-{n}" for n in range(3)]
        requests = [http("POST", url, headers={"X-API-Key": "wrong", "X-Request-ID": each}) for each in ids]
        answers = await asyncio.gather(*requests)
        assert [headers["X-Request-ID"] for _, _, headers in answers] == ids
        assert (await http("POST", url, headers={"X-API-Key": "wrong"}))[0] == 401
    refused = lines(log, "HTTP authentication failed")
    assert sorted(line.get("request_id", "-") for line in refused) == ["-", *ids]
    assert not any("request_id" in line for line in lines(log, "stopped"))


async def test_a_fault_in_a_request_is_told_with_its_id(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as site:
        monkeypatch.setattr(site.server, "stats", lambda: 1 / 0)
        token = site.token("monitor", monitor=True)
        headers = {"X-Request-ID": "a\tb<c>", "Authorization": f"Bearer {token}"}
        status, _, _ = await http("GET", site.http_url("/api/v1/stats"), headers=headers)
        assert status == 500
    (line,) = lines(log, "an HTTP request failed")
    assert line["request_id"] == "abc"
    assert "ZeroDivisionError" in line["traceback"]
