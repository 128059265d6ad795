"""Every row of the table of edge cases that ends before the upgrade, through real sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from front_server import ACCEPT, KEY, Answer, FrontServer, SmallGate, frame, read_frame, request
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.errors import AuthError
from valtronics_fast.handshake import MAX_HEAD
from valtronics_fast.logging import LINES, TextFormatter
from valtronics_fast.refusals import Reason
from valtronics_fast.suspects import Suspicion
from valtronics_fast.units import Rate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

SHORT = 0.2  # a timeout that is meant to be reached


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


# --- tokens that take time


class SlowGate(SmallGate):
    """Grants when it is told to; `asked` is set once a handshake waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.pending: list[asyncio.Future[Grant | None]] = []
        self.granting = self.wait

    async def wait(self) -> Grant | None:
        self.pending.append(asyncio.get_running_loop().create_future())
        self.asked.set()
        return await self.pending[-1]


def test_a_token_that_takes_time_is_granted() -> None:
    with FrontServer(gate := SlowGate()) as server, server.connect() as client:
        client.sendall(request("/ws/alerts") + frame(b"one"))
        assert gate.asked.wait(20)
        client.sendall(frame(b"two"))
        server.call(lambda: gate.pending[0].set_result(Grant("u", 2e9)))
        answer = Answer(client)
        assert answer.status == 101
        expected = b"\x81\x03one\x81\x03two"
        while len(answer.body) < len(expected):
            answer.body += client.recv(100)
        assert answer.body == expected


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (AuthError("unknown_key"), 401),
        (RuntimeError("x"), 500),
        (Grant("u", 2e9, channels=0), 403),
        (None, 503),
    ],
)
def test_a_token_that_takes_time_is_refused(outcome: object, status: int) -> None:
    with FrontServer(gate := SlowGate()) as server, server.connect() as client:
        client.sendall(request("/ws/alerts"))
        assert gate.asked.wait(20)

        def settle() -> None:
            future = gate.pending[0]
            if outcome is None:
                future.cancel()
            elif isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                assert isinstance(outcome, Grant)
                future.set_result(outcome)

        server.call(settle)
        assert Answer(client).status == status
        server.wait_for(lambda: server.gate.slots == 0)


def test_a_token_that_takes_too_long() -> None:
    with FrontServer(gate := SlowGate(), timeout=SHORT) as server:
        answer = server.ask(request())
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert gate.pending[0].cancelled()


def test_a_client_that_goes_while_its_token_is_judged() -> None:
    with FrontServer(gate := SlowGate()) as server:
        with server.connect() as client:
            client.sendall(request())
            assert gate.asked.wait(20)
        server.call(lambda: gate.pending[0].set_result(None))
        server.wait_for(lambda: server.reception.half_open == 0 and server.gate.slots == 0)


def test_a_dropped_client_cancels_the_judging_of_its_token() -> None:
    with FrontServer(gate := SlowGate()) as server, server.connect() as client:
        client.sendall(request())
        assert gate.asked.wait(20)
        server.call(server.reception.close)
        assert client.recv(1) == b""
        server.wait_for(gate.pending[0].cancelled)
        server.call(lambda: None)
        assert sum(server.reception.ended.values()) == 1


def test_a_grant_that_comes_as_the_client_is_dropped() -> None:
    gate = SmallGate()
    grants: list[asyncio.Future[Grant | None]] = []

    def ask() -> asyncio.Future[Grant | None]:
        grants.append(asyncio.get_running_loop().create_future())
        return grants[0]

    gate.granting = ask
    with FrontServer(gate) as server, server.connect() as client:
        client.sendall(request())
        server.wait_for(lambda: len(grants) == 1)

        def settle() -> None:
            grants[0].set_result(None)
            server.reception.close()

        server.call(settle)
        assert client.recv(1) == b""
        assert gate.seen == []


def test_a_plain_awaitable_will_do() -> None:
    class Ready:
        def __await__(self):  # type: ignore[no-untyped-def]
            return (yield from asyncio.sleep(0, Grant("u", 2e9)).__await__())

    def grant() -> Awaitable[Grant | None]:
        return Ready()

    gate = SmallGate()
    gate.granting = grant
    with FrontServer(gate) as server:
        assert server.ask(request()).status == 101


# Bans


def banned(server: FrontServer, *extra: str) -> Answer:
    """Be banned for three bad tokens, and return what is answered then."""
    for _ in range(3):
        server.suspects.note(Suspicion.AUTHENTICATION, "127.0.0.1")
    return server.ask(request("/ws", *extra))


def test_a_banned_address_is_told_at_its_first_byte() -> None:
    with FrontServer(ban_after=3) as server:
        answer = banned(server)
        assert (answer.status, answer.headers["retry-after"]) == (429, "600")
        with server.connect() as client:
            client.sendall(b"G")
            assert Answer(client).status == 429
        assert server.reception.ended[Reason.BANNED] == 2
        assert server.gate.seen == []
        server.wait_for(lambda: server.reception.half_open == 0)


def test_a_ban_is_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="valtronics_fast.reception")
    with FrontServer(ban_after=3) as server:
        banned(server)
    assert [record for record in caplog.records if record.name == "valtronics_fast.reception"] == []


def test_behind_a_trusted_proxy_the_client_is_banned_and_not_the_proxy() -> None:
    with FrontServer(ban_after=3, trusted=("127.0.0.1",)) as server:
        for address in ("2001:db8::1", "2001:db8::2", "127.0.0.1", "127.0.0.1", "2001:db8::3", "127.0.0.1"):
            server.suspects.note(Suspicion.VIOLATION, address)
        forwarded = [request("/ws", f"X-Forwarded-For: {address}") for address in ("2001:db8::4", "2001:db8:1::1")]
        assert [server.ask(message).status for message in (*forwarded, request())] == [429, 101, 101]


@pytest.mark.parametrize("sent", [b"\r\n\r\n", request("/ws\x00"), request(Host=None), request(Sec_WebSocket_Key="x")])
def test_malformed_requests_ban(sent: bytes) -> None:
    with FrontServer(ban_after=3) as server:
        assert [server.ask(sent).status for _ in range(4)] == [400, 400, 400, 429]


@pytest.mark.parametrize(
    "sent",
    [
        request("/nope"),
        request("/" + "x" * 20_000),
        request(Upgrade=None),
        request(Origin="https://evil.net"),
        request(method="POST"),
        request(Origin="https://evil.net", Sec_WebSocket_Protocol="bearer.a, bearer.b"),
        b"GET",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_a_page_can_have_a_browser_do_does_not_ban(sent: bytes) -> None:
    with FrontServer(ban_after=3, origins=("https://app.example.org",)) as server:
        for _ in range(10):
            with server.connect() as client:
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
                Answer(client)
        assert server.suspects.bans == 0
