"""The publish route of valtronics_fast.http_api, from its headers to its answers."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from typing import TYPE_CHECKING

import orjson
import pytest

from http_served import HALF_A_STREAM, JSON, KEY, NDJSON, WITH_KEY, Serve, Served, bearer, serving, telemetry
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve()


class TestPublishJson:
    async def test_one(self, served: Served) -> None:
        answer = {"accepted": 1, "matched": 2, "rejected": [], "rejected_total": 0}
        assert await served.publish(telemetry()) == (200, answer)
        assert served.hub.messages == [telemetry()]

    async def test_the_answer_waits_until_the_backplane_has_it(self, served: Served) -> None:
        served.hub.settling.clear()
        asking = asyncio.create_task(served.publish(telemetry()))
        await served.hub.arrived.wait()
        assert (await served.publish(telemetry(bad=True)))[0] == 422  # nothing to wait for
        assert not asking.done()
        served.hub.settling.set()
        assert (await asking)[1]["accepted"] == 1

    async def test_one_refused(self, served: Served) -> None:
        refusal = {"index": 0, "error": "invalid_message", "message": "it is bad"}
        answer = {"accepted": 0, "matched": 0, "rejected": [refusal], "rejected_total": 1}
        assert await served.publish(telemetry(bad=True)) == (422, answer)

    @pytest.mark.parametrize(
        ("devices", "status"),
        [([], 200), ([1], 200), ([1, 0], 200), ([0, 1], 200), ([0], 422), ([0, 0], 422)],
    )
    async def test_several(self, served: Served, devices: list[int], status: int) -> None:
        messages = [telemetry(device, bad=not device) for device in devices]
        got, answer = await served.publish({"messages": messages})
        assert (got, answer["accepted"], answer["rejected_total"]) == (status, sum(devices), devices.count(0))

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b"", "invalid_json"),
            (b"secret{", "invalid_json"),
            (b"[1]", "invalid_message"),
            (b'{"messages":1}', "invalid_message"),
        ],
    )
    async def test_no_such_body(self, served: Served, body: bytes, error: str) -> None:
        status, answer = await served.publish(body)
        assert (status, answer["error"]) == (400, error)
        assert "secret" not in answer["message"]

    @pytest.mark.parametrize("size", [100, 101])
    @pytest.mark.parametrize("chunked", [False, True])
    async def test_the_body_cap(self, serve: Serve, size: int, chunked: bool) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(body), 30):
                yield body[at : at + 30]

        served = await serve(body_size=100)
        body = orjson.dumps(telemetry()).ljust(size)
        status, answer = await served.publish(pieces() if chunked else body)
        assert status == (200 if size == 100 else 413)
        assert answer.get("error") == (None if size == 100 else "message_too_large")

    async def test_no_body_cap(self, serve: Serve) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield orjson.dumps(telemetry())
            for _ in range(300):
                yield b" " * 10_000

        served = await serve(body_size=0)
        assert (await served.publish(pieces()))[0] == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"Content-Type": "application/json; charset=latin-1"},
            {"Content-Type": ""},
            {"Content-Encoding": "gzip"},
            {"Content-Encoding": "rot13"},
        ],
    )
    async def test_unsupported_body(self, served: Served, headers: dict[str, str]) -> None:
        status, answer = await served.publish(gzip.compress(orjson.dumps(telemetry())), WITH_KEY | headers)
        assert (status, answer["error"]) == (415, "unsupported_media_type")

    async def test_the_content_type_may_say_utf8(self, served: Served) -> None:
        headers = WITH_KEY | {"Content-Type": "Application/JSON; charset=UTF-8"}
        assert (await served.publish(telemetry(), headers))[0] == 200

    async def test_a_fault_of_the_hub(self, served: Served, caplog: pytest.LogCaptureFixture) -> None:
        status, answer = await served.publish({"messages": [telemetry(), telemetry(fatal=True)]})
        assert (status, answer["error"]) == (500, "internal")
        assert len(caplog.records) == 1
        assert (await served.publish(telemetry()))[0] == 200


class TestPublishNdjson:
    @pytest.mark.parametrize("size", [1, 7, 64, 100_000])
    async def test_pieces(self, served: Served, size: int) -> None:
        lines = [orjson.dumps(telemetry(1)), b"", b"{bad", b"\r", orjson.dumps(telemetry(2, bad=True))]
        body = b"\n".join([*lines, orjson.dumps(telemetry("drei"))])

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(body), size):
                yield body[at : at + size]

        status, answer = await served.publish(pieces(), WITH_KEY | NDJSON)
        assert (status, answer["accepted"], answer["matched"]) == (200, 2, 4)
        assert [(r["index"], r["error"]) for r in answer["rejected"]] == [
            (1, "invalid_json"),
            (2, "invalid_message"),
        ]
        assert [message["device_id"] for message in served.hub.messages] == [1, "drei"]

    async def test_nothing_accepted(self, served: Served) -> None:
        assert (await served.publish(b"no\n", WITH_KEY | NDJSON))[0] == 422
        assert (await served.publish(b"\n", WITH_KEY | NDJSON))[0] == 200

    async def test_the_body_cap_is_not_for_streams(self, serve: Serve) -> None:
        served = await serve(body_size=100)
        body = (orjson.dumps(telemetry()) + b"\n") * 5000
        status, answer = await served.publish(body, WITH_KEY | NDJSON)
        assert (status, answer["accepted"]) == (200, 5000)

    async def test_a_line_too_long(self, served: Served) -> None:
        line = orjson.dumps(telemetry())
        body = line + b"\n" + line.ljust(70_000) + b"\n" + line
        status, answer = await served.publish(body, WITH_KEY | NDJSON)
        assert (status, answer["accepted"]) == (200, 2)
        assert [(r["index"], r["error"]) for r in answer["rejected"]] == [(1, "message_too_large")]

    async def test_it_is_published_as_it_arrives(self, served: Served) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield orjson.dumps(telemetry(1)) + b"\n"
            await served.hub.arrived.wait()
            yield orjson.dumps(telemetry(2)) + b"\n"

        status, answer = await served.publish(pieces(), WITH_KEY | NDJSON)
        assert (status, answer["accepted"]) == (200, 2)

    async def test_a_token_that_expires_on_the_way(self, serve: Serve) -> None:
        """Each piece that arrives after `exp` is published only if the token still verifies."""
        verified = 0

        def verify_twice(token: object) -> Grant:
            nonlocal verified
            verified += 1
            if verified > 2:
                raise AuthError("expired", ErrorCode.TOKEN_EXPIRED)
            return Grant("w", time.time() - 1, publish=15)

        served = await serve(verify=verify_twice)

        async def pieces() -> AsyncIterator[bytes]:
            yield orjson.dumps(telemetry(1)) + b"\n"
            await served.hub.arrived.wait()
            yield orjson.dumps(telemetry(2)) + b"\n"

        status, answer = await served.publish(pieces(), bearer("t") | NDJSON)
        assert (status, answer["error"], answer["accepted"]) == (401, "token_expired", 1)
        assert served.hub.messages == [telemetry(1)]

    async def test_a_sender_that_goes_away(self, served: Served, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        _, writer = await served.connect()
        writer.write(HALF_A_STREAM)
        await served.hub.arrived.wait()
        writer.transport.abort()
        await served.ask("GET", "/health/live")
        await served.api.stop()
        assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize("method", ["json", "ndjson"])
async def test_the_body_is_asked_for_only_when_it_is_wanted(served: Served, method: str) -> None:
    content_type = JSON if method == "json" else NDJSON
    head = f"POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type['Content-Type']}\r\n"
    head += "Expect: 100-continue\r\n"
    too_large = (413 if method == "json" else 100, KEY, 2 << 20)
    for status, key, size in ((100, KEY, 2), (401, "wrong", 2), too_large):
        reader, writer = await served.connect()
        writer.write(f"{head}X-API-Key: {key}\r\nContent-Length: {size}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 %d " % status)
        writer.close()
