"""`limits.publication_size`: what it refuses, what the publisher is told, and that its subscribers live on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from documented import ALERT, TELEMETRY
from harness import Message, Site, http, running, telemetry
from valtronics_fast import PublicationError
from valtronics_fast._core.wire import ErrorCode

KEY = "an-api-key-of-the-backend"
LARGE = telemetry(text="x" * 100_000, small=1.5)
REFUSED = {"error": "message_too_large", "message": "a data message has at most 65536 bytes"}


async def post(site: Site, *messages: Message, lines: bool = False) -> tuple[int, Message]:
    """Publish over HTTP: one message as it is, several in one object, or one a line."""
    if lines:
        data = "\n".join(map(json.dumps, messages))
    else:
        data = json.dumps(messages[0] if len(messages) == 1 else {"messages": messages})
    kind = "application/x-ndjson" if lines else "application/json"
    headers = {"X-API-Key": KEY, "Content-Type": kind}
    status, answer, _ = await http("POST", site.http_url("/api/v1/publish"), data=data.encode(), headers=headers)
    return status, answer


@pytest.mark.parametrize("message", [LARGE, ALERT | {"metadata": {"text": "x" * 100_000}}], ids=["values", "event"])
async def test_a_message_that_is_too_large_is_refused_and_its_subscriber_lives(message: Message) -> None:
    async with running(http={"api_key": KEY}) as site, site.client() as client:
        for channel in ("telemetry", "alerts"):
            await client.subscribe(channel)
        refused = {"accepted": 0, "matched": 0, "rejected": [{"index": 0} | REFUSED], "rejected_total": 1}
        assert await post(site, message) == (422, refused)
        await client.nothing_more()
        status, answer = await post(site, TELEMETRY, message, ALERT)
        assert (status, answer["accepted"], answer["matched"]) == (200, 2, 2)
        assert answer["rejected"] == [{"index": 1} | REFUSED]
        assert [await client.receive(), await client.receive()] == [TELEMETRY, ALERT]
        await client.nothing_more()
        stats: Any = site.server.stats()
        assert (stats["active_connections"], stats["close_codes"]) == (1, {})
        assert [stats["channels"][name]["publications"] for name in ("telemetry", "alerts")] == [1, 1]


async def test_refused_for_one_is_refused_for_all() -> None:
    async with running(http={"api_key": KEY}) as site, site.client() as frugal, site.client() as greedy:
        await frugal.subscribe("telemetry", metrics="small")
        await greedy.subscribe("telemetry")
        status, answer = await post(site, LARGE)
        assert (status, answer["rejected"][0]["error"]) == (422, "message_too_large")
        for client in (frugal, greedy):
            await client.nothing_more()


async def test_what_counts_is_the_whole_message_whoever_would_get_what_of_it() -> None:
    async with running(http={"api_key": KEY}) as site:
        assert (await post(site, LARGE))[0] == 422  # to nobody
        async with site.client() as client:
            await client.subscribe("telemetry", metrics="small")
            assert (await post(site, LARGE))[0] == 422
            await client.nothing_more()


@pytest.mark.parametrize("lines", [False, True])
async def test_the_limit_is_a_setting_and_holds_to_the_byte(lines: bool) -> None:
    size = len(json.dumps(TELEMETRY, separators=(",", ":"), ensure_ascii=False).encode())
    for limit, accepted in ((size, 1), (size - 1, 0)):
        async with running(http={"api_key": KEY}, limits={"publication_size": limit}) as site, site.client() as client:
            await client.subscribe("telemetry")
            status, answer = await post(site, TELEMETRY, lines=lines)
            assert (status, answer["accepted"]) == (200 if accepted else 422, accepted)
            assert [refusal["error"] for refusal in answer["rejected"]] == ["message_too_large"] * (1 - accepted)
            if accepted:
                assert await client.receive() == TELEMETRY
            await client.nothing_more()


async def test_zero_is_no_limit() -> None:
    async with running(http={"api_key": KEY}, limits={"publication_size": 0}) as site, site.client() as client:
        await client.subscribe("telemetry")
        assert (await post(site, LARGE))[0] == 200
        assert (await client.receive())["telemetry"]["text"]["value"] == "x" * 100_000


async def test_in_process_it_raises() -> None:
    async with running() as site, site.client() as client:
        await client.subscribe("telemetry")
        with pytest.raises(PublicationError) as caught:
            site.server.publish(LARGE)
        assert caught.value.code == ErrorCode.MESSAGE_TOO_LARGE
        await client.nothing_more()
