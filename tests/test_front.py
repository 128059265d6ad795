"""Every row of the table of edge cases that ends before the upgrade, through real sockets."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import pytest

from front_server import ACCEPT, KEY, Answer, FrontServer, SmallGate, frame, read_frame, request
from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.errors import AuthError
from valtronics_fast.handshake import MAX_HEAD
from valtronics_fast.logging import LINES, TextFormatter
from valtronics_fast.refusals import Reason
from valtronics_fast.units import Rate

if TYPE_CHECKING:
    from collections.abc import Iterator



@pytest.fixture(scope="module")
def shared() -> Iterator[FrontServer]:
    """For the tests that leave nothing behind."""
    with FrontServer(origins=("https://app.example.org",)) as server:
        yield server
        server.wait_for(lambda: server.gate.slots == 0 and server.reception.half_open == 0)


def written(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines of the log as they are written, but for their ends."""
    return [TextFormatter().format(record) for record in caplog.records]


UPGRADE = {"upgrade": "websocket", "connection": "close, Upgrade"}
VERSION = {"sec-websocket-version": "13"}
BEARER = {"www-authenticate": "Bearer"}
REFUSED: list[tuple[str, bytes, Reason, dict[str, str]]] = [
    ("row 1 no upgrade", request(Upgrade=None), Reason.NOT_UPGRADE, UPGRADE),
    ("row 1 bad upgrade", request(Upgrade="h2c"), Reason.NOT_UPGRADE, UPGRADE),
    ("row 3 version", request(Sec_WebSocket_Version="8"), Reason.WEBSOCKET_VERSION, UPGRADE | VERSION),
    ("row 4 no key", request(Sec_WebSocket_Key=None), Reason.BAD_KEY, {}),
    ("row 4 short key", request(Sec_WebSocket_Key="AAAA"), Reason.BAD_KEY, {}),
    ("row 4 two keys", request("/ws", f"Sec-WebSocket-Key: {KEY}"), Reason.BAD_KEY, {}),
    ("row 5 no host", request(Host=None), Reason.BAD_HOST, {}),
    ("row 5 two hosts", request("/ws", "Host: y"), Reason.BAD_HOST, {}),
    ("row 5 two origins", request("/ws", "Origin: x", Origin="x"), Reason.TWO_ORIGINS, {}),
    ("row 6 origin", request(Origin="https://evil.net"), Reason.ORIGIN, {}),
    ("row 6 null", request(Origin="null"), Reason.ORIGIN, {}),
    ("row 6 prefix", request(Origin="https://app.example.org.evil.net"), Reason.ORIGIN, {}),
    ("row 6 suffix", request(Origin="https://evil-app.example.org"), Reason.ORIGIN, {}),
    ("row 6 not ASCII", request(Origin="https://app.example.org\xe9"), Reason.ORIGIN, {}),
    ("row 7 line feed", request("/ws\nx"), Reason.BAD_TARGET, {}),
    ("row 7 escape", request("/ws\x1b[31m"), Reason.BAD_TARGET, {}),
    ("row 7 NUL", request("/ws\x00"), Reason.BAD_TARGET, {}),
    ("row 7 absolute", request("http://example.org/ws"), Reason.BAD_TARGET, {}),
    ("row 7 dots", request("/ws/../ws"), Reason.NOT_FOUND, {}),
    ("row 7 slashes", request("//ws"), Reason.NOT_FOUND, {}),
    ("row 7 percent", request("/%77s"), Reason.NOT_FOUND, {}),
    ("row 8 size", request("/ws", "A: " + "b" * 20_000), Reason.HEAD_TOO_LARGE, {}),
    ("row 8 far too large", request("/ws", "A: " + "b" * 500_000), Reason.HEAD_TOO_LARGE, {}),
    ("row 8 number", request("/ws", *["A: b"] * 128), Reason.HEAD_TOO_LARGE, {}),
    ("row 11 POST", request(method="POST"), Reason.METHOD, {"allow": "GET"}),
    ("row 11 body", request("/ws", "Content-Length: 5") + b"hello", Reason.BODY, {}),
    ("row 11 chunked", request("/ws", "Transfer-Encoding: chunked") + b"0\r\n\r\n", Reason.BODY, {}),
    ("row 11 HTTP/1.0", request().replace(b"HTTP/1.1", b"HTTP/1.0"), Reason.HTTP_VERSION, {}),
    ("row 16 token in the query", request("/ws?token=good"), Reason.TOKEN_IN_QUERY, BEARER),
    ("bad token", request("/ws", "Authorization: Bearer x"), Reason.INVALID_TOKEN, BEARER),
    ("scope", request("/ws/system", "Authorization: Bearer alerts-only"), Reason.FORBIDDEN, {}),
    ("garbage behind it", request("/nope") + b"\x00\r\n\r\nGET /ws" * 20_000, Reason.NOT_FOUND, {}),
]


@pytest.mark.parametrize(
    ("message", "reason", "headers"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused(shared: FrontServer, message: bytes, reason: Reason, headers: dict[str, str]) -> None:
    before = shared.reception.ended[reason]
    answer = shared.ask(message)
    assert answer.status == reason.status
    assert answer.body == f"{reason.text}\n".encode()
    expected = {
        "connection": "close",
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(answer.body)),
    }
    assert answer.headers.items() >= (expected | headers).items()
    assert shared.reception.ended[reason] == before + 1
    assert shared.gate.slots == 0


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://app.example.org", 101),
        ("https://a.example.com", 101),
        ("https://b.a.example.com", 101),
        ("null", 101),
        (None, 403),
        ("https://example.com", 403),
        ("https://a.example.com.evil.net", 403),
        ("https://evilexample.com", 403),
        ("http://app.example.org", 403),
        ("", 403),
    ],
)
def test_row_6_rules_for_origins(origin: str | None, status: int) -> None:
    rules = ("https://app.example.org", "https://*.example.com", "null")
    with FrontServer(origins=rules, require_origin=True) as server:
        assert server.ask(request(Origin=origin)).status == status
        reason = Reason.NO_ORIGIN if origin is None else Reason.ORIGIN
        assert server.reception.ended[reason] == (status == 403)


def test_row_6_without_an_origin_it_is_no_browser(shared: FrontServer) -> None:
    assert shared.ask(request(Origin=None)).status == 101


def test_row_2_firefox(shared: FrontServer) -> None:
    answer = shared.ask(request(Connection="keep-alive, Upgrade", Origin="https://app.example.org"))
    assert answer.status == 101
    assert answer.headers["sec-websocket-accept"] == ACCEPT


def test_row_11_head_has_no_body(shared: FrontServer) -> None:
    answer = shared.ask(request(method="HEAD"))
    assert (answer.status, answer.body) == (405, b"")
    assert int(answer.headers["content-length"]) > 0


def test_row_17_no_extension(shared: FrontServer) -> None:
    answer = shared.ask(request("/ws", "Sec-WebSocket-Extensions: permessage-deflate"))
    assert answer.status == 101
    assert "sec-websocket-extensions" not in answer.headers


def test_health(shared: FrontServer) -> None:
    for path in ("/health", "/health?x=1"):
        answer = shared.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("place", ["early", "token", "session"])
def test_row_12_an_exception_is_not_shown(place: str, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SmallGate):
        def fail(self) -> None:
            raise RuntimeError("inner details")

        def refuse_early(self, upgrade, address):  # type: ignore[no-untyped-def]
            return self.fail() if place == "early" else None

        def authenticate(self, upgrade, address):  # type: ignore[no-untyped-def]
            return self.fail() if place == "token" else None

        def open_session(self, upgrade, address, grant):  # type: ignore[no-untyped-def]
            return self.fail()

    with FrontServer(Broken()) as server:
        answer = server.ask(request())
        assert (answer.status, answer.body) == (500, b"internal error\n")
        assert server.gate.slots == 0
    assert "inner details" in caplog.text


def test_row_12_health_too() -> None:
    with FrontServer() as server:
        server.health = lambda: {"a": object()}
        assert server.ask(request("/health")).body == b"internal error\n"


def test_row_13_server_full() -> None:
    with FrontServer(SmallGate(slots=2)) as server, server.connect() as one, server.connect() as two:
        for client in (one, two):
            client.sendall(request())
            assert Answer(client).status == 101
        answer = server.ask(request())
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        one.close()
        server.wait_for(lambda: server.gate.slots == 1)
        assert server.ask(request()).status == 101


def test_row_14_rate_of_an_address() -> None:
    with FrontServer(SmallGate(rate=Rate(10, 60.0)), trusted=("127.0.0.1",)) as server:
        assert [server.ask(request()).status for _ in range(10)] == [101] * 10
        answer = server.ask(request())
        assert answer.status == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 6
        assert server.ask(request(Origin="\xe9")).status == 403  # judged before, and not counted
        assert server.ask(request("/ws", "X-Forwarded-For: 192.0.2.9")).status == 101
        assert server.gate.seen[-1][1] == "192.0.2.9"


@pytest.mark.parametrize(
    ("addresses", "statuses"),
    [
        (("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"), [101, 429, 101]),
        (("2001:db8::1", "2001:db8::ffff:0:0:2", "2001:db8:0:1::1"), [101, 429, 101]),
    ],
)
def test_row_14_mapped_addresses_and_networks_are_one_source(addresses: tuple[str, ...], statuses: list[int]) -> None:
    with FrontServer(SmallGate(rate=Rate(1, 3600.0)), trusted=("127.0.0.1",)) as server:
        forwarded = [request("/ws", f"X-Forwarded-For: {address}") for address in addresses]
        assert [server.ask(message).status for message in forwarded] == statuses


def test_row_15_connections_of_a_user() -> None:
    gate = SmallGate()
    gate.max_sessions = 0
    with FrontServer(gate) as server:
        answer = server.ask(request("/ws", "Authorization: Bearer good"))
        assert (answer.status, answer.headers["retry-after"]) == (429, "30")
        assert server.gate.slots == 0


def test_row_16_a_token_in_the_query_when_configured(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with FrontServer(query_token=True) as server:
        assert server.ask(request("/ws?token=good")).status == 101
        assert server.gate.seen[0][0].token == "good"
        assert server.ask(request("/ws?token=SECRET")).status == 401
        assert server.ask(request("/nope?token=SECRET", "Authorization: Bearer SECRET")).status == 404
    lines = written(caplog)
    assert [line for line in lines if "reason=not_found" in line]
    assert [line for line in lines if "SECRET" in line] == []


def test_one_line_is_logged_and_it_is_escaped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="valtronics_fast.reception")
    with FrontServer() as server:
        server.ask(request("/ws\x1b[31m\nfake line"))
        server.ask(request("/'" + "x" * 1000))
    lines = written(caplog)
    assert len(lines) == 2
    assert "\x1b" not in lines[0]
    assert "fake line" not in lines[0]
    assert len(lines[1]) < 200


def test_lines_are_limited_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="valtronics_fast.reception")
    with FrontServer() as server:
        for _ in range(LINES + 5):
            server.ask(request("/nope"))
        server.ask(request("/ws", "Authorization: Bearer bad"))
    lines = written(caplog)
    assert len([line for line in lines if "reason=not_found" in line]) == LINES
    assert len([line for line in lines if "reason=invalid_token" in line]) == 1


def test_expired_tokens_are_told_apart() -> None:
    gate = SmallGate()
    gate.failure = AuthError("expired", ErrorCode.TOKEN_EXPIRED)
    with FrontServer(gate) as server:
        assert server.ask(request()).body == b"the token has expired\n"


def test_a_good_request_split_at_every_byte(shared: FrontServer) -> None:
    message = request("/ws/alerts", "Authorization: Bearer good", Sec_WebSocket_Protocol="valtronics.v1")
    for place in range(1, len(message)):
        with shared.connect() as client:
            client.sendall(message[:place])
            shared.wait_for(lambda size=place: received(shared) == size)  # type: ignore[misc]
            client.sendall(message[place:])
            answer = Answer(client)
            assert (answer.status, answer.headers["sec-websocket-protocol"]) == (101, "valtronics.v1")


def received(server: FrontServer) -> int:
    return sum(len(front._received or b"") for front in server.reception._half_open)


def test_a_good_request_byte_by_byte(shared: FrontServer) -> None:
    message = request()
    with shared.connect() as client:
        for place in range(len(message) - 1):
            client.sendall(message[place : place + 1])
            shared.wait_for(lambda size=place + 1: received(shared) == size)  # type: ignore[misc]
        client.sendall(message[-1:])
        assert Answer(client).headers["sec-websocket-accept"] == ACCEPT


def test_one_buffer_serves_all(shared: FrontServer) -> None:
    """Clients whose requests come in turns never read each other's bytes."""
    keys = [f"{number:022d}==" for number in range(20)]
    messages = [request(f"/ws?{key}", Sec_WebSocket_Key=key) for key in keys]
    clients = [socket.create_connection(("127.0.0.1", shared.port), timeout=20) for _ in keys]
    for start in range(0, max(map(len, messages)), 10):
        for client, message in zip(clients, messages, strict=True):
            client.sendall(message[start : start + 10])
    shared.wait_for(lambda: shared.gate.slots == len(keys))
    assert sorted(upgrade.key for upgrade, _ in shared.gate.seen[-20:]) == keys
    for client in clients:
        client.close()
    shared.wait_for(lambda: shared.gate.slots == 0)


def test_the_largest_head_with_frames_right_behind(shared: FrontServer) -> None:
    filler = MAX_HEAD + 4 - len(request("/ws", "A: "))
    with shared.connect() as client:
        client.sendall(request("/ws", "A: " + "b" * filler) + frame(b"early"))
        answer = Answer(client)
        assert answer.status == 101
        assert read_frame(client, answer.body) == (1, b"early")
    assert shared.ask(request("/ws", "A: " + "b" * (filler + 1))).status == 431


def test_a_head_that_is_too_large_after_a_slow_start(shared: FrontServer) -> None:
    with shared.connect() as client:
        client.sendall(b"G")
        shared.wait_for(lambda: received(shared) == 1)
        client.sendall(b"b" * 50_000)
        assert Answer(client).status == 431
