from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING

import orjson
import pytest
from aiohttp import web

from harness import TIMEOUT
from valtronics_fast import http_listener
from valtronics_fast.http_listener import (
    HEADERS,
    BodyReader,
    HttpError,
    HttpListener,
    json_answer,
    send_continue,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
LAST = b"Connection: close\r\n\r\n"


class Counter:
    """A handler that answers with the number of bytes of the body, and with errors on demand."""

    def __init__(self) -> None:
        self.port = 0
        self.received = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/refused":
            raise HttpError(418, "teapot", "no coffee", close=True, headers={"X-Pot": "short"})
        if request.path == "/broken":
            raise ZeroDivisionError("inner detail")
        await send_continue(request)
        size = 0
        try:
            reader = BodyReader(request)
            while data := await reader.read():
                size += len(data)
                self.received.set()
        except HttpError as error:
            error.more = {"bytes": size}
            raise
        return json_answer(200, {"bytes": size, 1000: "a key that is no string"})

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def raw(self, *pieces: bytes) -> bytes:
        """Send bytes, then return all that comes until the server closes."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(TIMEOUT):
            answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def counter(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Counter]:
    """A listener; a test's parameters are constants of the module to be set before it is made."""
    for name, value in getattr(request, "param", {}).items():
        monkeypatch.setattr(http_listener, name, value)
    counter = Counter()
    runner = web.ServerRunner(HttpListener(counter.handle), shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    counter.port = runner.addresses[0][1]
    yield counter
    await runner.cleanup()


def parse(answer: bytes) -> tuple[int, dict[str, str], dict[str, object]]:
    """Take an answer apart: status, headers, body; it has the headers of every answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    for name, value in HEADERS.items():
        assert headers[name] == value
    assert headers["Content-Type"] == "application/json"
    return int(status.split()[1]), headers, orjson.loads(body)


class TestAnswers:
    async def test_json(self, counter: Counter) -> None:
        status, headers, body = parse(await counter.raw(POST + b"Content-Length: 3\r\n" + LAST + b"abc"))
        assert (status, body) == (200, {"bytes": 3, "1000": "a key that is no string"})
        assert "Python" not in str(headers)

    async def test_http_error(self, counter: Counter) -> None:
        status, headers, body = parse(await counter.raw(GET.replace(b"/", b"/refused", 1) + b"\r\n"))
        assert (status, body) == (418, {"error": "teapot", "message": "no coffee"})
        assert headers["X-Pot"] == "short"
        assert headers["Connection"] == "close"

    async def test_unexpected_exception(self, counter: Counter, caplog: pytest.LogCaptureFixture) -> None:
        status, _, body = parse(await counter.raw(GET.replace(b"/", b"/broken", 1) + LAST))
        assert (status, body) == (500, {"error": "internal", "message": "internal error"})
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError

    async def test_keep_alive_and_pipelining(self, counter: Counter) -> None:
        answer = await counter.raw(GET + b"\r\n", (GET + b"\r\n") * 2, GET + LAST)
        assert answer.count(b"HTTP/1.1 200 OK\r\n") == 4

    async def test_a_body_left_unread_is_not_taken_for_a_request(self, counter: Counter) -> None:
        head = POST.replace(b"/", b"/refused", 1) + b"Content-Length: %d\r\n\r\n" % len(GET + LAST)
        answer = await counter.raw(head, GET + LAST)
        assert answer.count(b"HTTP/1.1") == 1

    async def test_no_unpacking(self, counter: Counter) -> None:
        """A body that says it is gzip (and is not) comes as it is."""
        head = POST + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n"
        assert parse(await counter.raw(head + LAST + b"abc"))[2]["bytes"] == 3


class TestBody:
    CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"

    @pytest.mark.parametrize("expectation", [b"100-continue", b"100-Continue"])
    async def test_expect_continue(self, counter: Counter, expectation: bytes) -> None:
        reader, writer = await counter.connect()
        writer.write(POST + b"Expect: " + expectation + b"\r\nContent-Length: 3\r\n" + LAST)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert parse(await reader.read())[2]["bytes"] == 3
        writer.close()

    async def test_an_old_client_is_not_asked(self, counter: Counter) -> None:
        head = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
        assert parse(await counter.raw(head))[0] == 200

    @pytest.mark.parametrize("more", [b"", b"3\r\nab", b"zz-secret\r\n", b"3;secret" + b"x" * 70_000])
    async def test_it_does_not_go_on(
        self, counter: Counter, monkeypatch: pytest.MonkeyPatch, more: bytes
    ) -> None:
        """Silence gives 408; a broken chunk 400, or 408 too, as aiohttp's compiled parser doesn't tell."""
        monkeypatch.setattr(http_listener, "BODY_TIMEOUT", 0.05)
        reader, writer = await counter.connect()
        writer.write(self.CHUNKED)
        await counter.received.wait()
        writer.write(more)
        status, headers, body = parse(await reader.readuntil(b"}\n"))
        writer.close()
        assert headers["Connection"] == "close"
        if b"secret" in more:
            assert (status, body["error"]) in {(400, "bad_request"), (408, "request_timeout")}
            assert body["bytes"] == 3
        else:
            assert (status, body["error"]) == (408, "request_timeout")
        assert "secret" not in str(body)

    async def test_what_came_while_the_process_was_stopped_is_in_time(
        self, counter: Counter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_listener, "BODY_TIMEOUT", 0.3)
        reader, writer = await counter.connect()
        writer.write(self.CHUNKED)
        await counter.received.wait()
        sock = writer.get_extra_info("socket")
        os.write(sock.fileno(), b"2\r\nde\r\n0\r\n\r\n")
        time.sleep(1)  # as SIGSTOP does
        status, _, body = parse(await reader.readuntil(b"}\n"))
        writer.close()
        assert (status, body["bytes"]) == (200, 5)

    @pytest.mark.parametrize("counter", [{"LINGER_TIMEOUT": 0.05}], indirect=True)
    @pytest.mark.parametrize("more", [b"", b"zz-secret\r\n"])
    async def test_a_body_left_unread(
        self, counter: Counter, caplog: pytest.LogCaptureFixture, more: bytes
    ) -> None:
        """The answer doesn't wait for the body, the connection not long, and a broken rest is not quoted."""
        caplog.set_level(logging.DEBUG)
        reader, writer = await counter.connect()
        writer.write(self.CHUNKED.replace(b"/", b"/refused", 1))
        assert parse(await reader.readuntil(b"}\n"))[0] == 418
        writer.write(more)
        assert await reader.read() == b""
        writer.close()
        assert "secret" not in caplog.text

    async def test_the_client_goes_away(self, counter: Counter, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "valtronics_fast")
        _, writer = await counter.connect()
        writer.write(self.CHUNKED)
        await counter.received.wait()
        writer.transport.abort()
        assert parse(await counter.raw(GET + LAST))[0] == 200
        assert caplog.records == []


class TestBounds:
    async def test_connections(self, counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_listener, "MAX_CONNECTIONS", 2)
        open_ones = [await counter.connect() for _ in range(2)]
        status, headers, body = parse(await counter.raw())
        assert (status, headers["Retry-After"], body["error"]) == (503, "1", "server_full")
        for reader, writer in open_ones:
            writer.write(GET + LAST)
            assert parse(await reader.read())[0] == 200
            writer.close()
        assert parse(await counter.raw(GET + LAST))[0] == 200

    @pytest.mark.parametrize("counter", [{"KEEPALIVE_TIMEOUT": 0.05}], indirect=True)
    @pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHo"])
    async def test_a_silent_connection(self, counter: Counter, start: bytes) -> None:
        assert await counter.raw(start) == b""


class TestMalformed:
    REQUESTS = (
        b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nAuthor ization: Bearer s3cret\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: s3cret" + b"x" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-API-Key: s3cret\r\n" * 200 + b"\r\n",
        b"GET /?token=s3cret HTTP/9.x\r\n\r\n",
        b"s3cret\r\n\r\n",
        b"\x16\x03\x01s3cret\r\n\r\n",
        b"GET http://[s3cret/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: s3cret\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\ns3cret",
        b"GET / HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n\r\n",
    )

    @pytest.mark.parametrize("request_bytes", REQUESTS, ids=range(len(REQUESTS)))
    async def test_nothing_of_it_is_quoted(
        self, counter: Counter, caplog: pytest.LogCaptureFixture, request_bytes: bytes
    ) -> None:
        caplog.set_level(logging.DEBUG)
        answer = await counter.raw(request_bytes)
        status, _, body = parse(answer)
        assert (status, body["error"]) == (400, "bad_request")
        assert b"s3cret" not in answer
        assert "s3cret" not in caplog.text
        assert "malformed HTTP request from 127.0.0.1" in caplog.text
