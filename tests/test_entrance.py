"""PROXY headers and TLS handshakes through real sockets: who gets to the door, and as whom."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import struct
import threading
from typing import TYPE_CHECKING

import pytest
import trustme
from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]

from certificates import tls_config, trusting, write_authority
from front_server import PATIENCE, Answer, FrontServer, SmallGate, frame, read_frame, request, tls_contexts
from valtronics_fast import reception
from valtronics_fast.entrance import Entrance
from valtronics_fast.front import Front
from valtronics_fast.proxy_protocol import SIGNATURE
from valtronics_fast.refusals import Reason
from valtronics_fast.suspects import Suspicion
from valtronics_fast.tls import ServerTls
from valtronics_fast.units import Rate

if TYPE_CHECKING:
    from pathlib import Path

SHORT = 0.3
LOOPBACK = ("127.0.0.1",)
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
BINARY = SIGNATURE + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 56324, 443)
BINARY6 = SIGNATURE + b"\x21\x21\x00\x28" + bytes.fromhex("20010db8" + "00" * 11 + "01") * 2 + bytes(4) + b"\x04\0\1x"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


def cut(client: socket.socket) -> bool:
    """Say whether the server ends a connection without a word."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def proxied(**settings: object) -> FrontServer:
    return FrontServer(**{"proxy_protocol": True, "trusted": LOOPBACK, **settings})  # type: ignore[arg-type]


# The PROXY protocol


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (LINE, "192.0.2.7"),
        (BINARY, "192.0.2.7"),
        (b"PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", "2001:db8::1"),
        (BINARY6, "2001:db8::1"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "192.0.2.7"),
        (LOCAL, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ],
)
def test_the_header_tells_the_client(header: bytes, address: str) -> None:
    with proxied() as server, server.connect() as client:
        client.sendall(header + request() + frame(b"early"))
        answer = Answer(client)
        assert answer.status == 101
        assert read_frame(client, answer.body) == (1, b"early")
        assert server.gate.seen[0][1] == address


@pytest.mark.parametrize("header", [LINE, BINARY])
def test_split_at_every_byte(header: bytes) -> None:
    with proxied() as server:
        for place in range(1, len(header)):
            with server.connect() as client:
                client.sendall(header[:place])
                server.wait_for(lambda size=place: received(server) == size)  # type: ignore[misc]
                client.sendall(header[place:] + request())
                assert Answer(client).status == 101
        assert {address for _, address in server.gate.seen} == {"192.0.2.7"}


def received(server: FrontServer) -> int:
    return sum(len(each._received) for each in server.reception._half_open if isinstance(each, Entrance))


@pytest.mark.parametrize(
    "sent", [request(), b"PROXY TCP4 x y 1 2\r\n", BINARY[:13] + b"\x12" + BINARY[14:], b"\x16\x03\x01" + bytes(500)]
)
def test_what_is_no_header_is_refused_and_counted(sent: bytes) -> None:
    with proxied() as server, server.connect() as client:
        client.sendall(sent)
        assert cut(client)
        assert server.reception.ended[Reason.PROXY_HEADER] == 1
        assert server.reception.half_open == 0


def test_one_byte_is_enough_to_see_that_it_is_no_header() -> None:
    with proxied() as server, server.connect() as client:
        client.sendall(b"G")
        assert cut(client)
        assert server.reception.ended[Reason.PROXY_HEADER] == 1


@pytest.mark.parametrize("tls", [False, True])
def test_only_trusted_proxies_may_connect(tls: bool) -> None:
    server_side = tls_contexts()[0] if tls else None
    with proxied(trusted=("192.0.2.0/24",), tls=server_side) as server, server.connect() as client:
        with contextlib.suppress(OSError):
            client.sendall(LINE + request())
        assert cut(client)
        assert server.reception.ended[Reason.UNTRUSTED_PROXY] == 1
        assert server.reception.half_open == 0


def test_a_header_that_does_not_end() -> None:
    with proxied(timeout=SHORT) as server:
        for sent in (b"", b"PROXY TC", BINARY[:-1]):
            reason = Reason.PROXY_TIMEOUT if sent else Reason.IDLE
            before = server.reception.ended[reason]
            with server.connect() as client:
                client.sendall(sent)
                assert cut(client)
                assert server.reception.ended[reason] == before + 1


def test_who_goes_within_the_header_is_counted() -> None:
    with proxied() as server:
        with server.connect() as client:
            client.sendall(b"PROXY")
        server.wait_for(lambda: server.reception.ended[Reason.GONE] == 1)
        assert server.reception.half_open == 0


def test_headers_of_http_count_when_the_header_names_a_trusted_proxy_and_never_when_it_names_nobody() -> None:
    forwarded = request("/ws", "X-Forwarded-For: 203.0.113.9")
    inner = b"PROXY TCP4 127.0.0.1 198.51.100.1 56324 443\r\n"
    with proxied() as server:
        for header, address in (
            (inner, "203.0.113.9"), (LINE, "192.0.2.7"), (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (LOCAL, "127.0.0.1"),
        ):  # fmt: skip
            assert server.ask(header + forwarded).status == 101
            assert server.gate.seen[-1][1] == address


def test_rates_are_those_of_the_client_behind_the_proxy() -> None:
    with proxied(gate=SmallGate(rate=Rate(1, 3600.0))) as server:
        other = LINE.replace(b"192.0.2.7", b"192.0.2.8")
        assert [server.ask(header + request()).status for header in (LINE, LINE, other)] == [101, 429, 101]


def test_without_the_setting_a_header_is_no_request() -> None:
    with FrontServer(trusted=LOOPBACK) as server:
        assert server.ask(LINE + request()).status == 400


@pytest.mark.parametrize("header", [LINE, BINARY, BINARY6])
@pytest.mark.parametrize("apart", [True, False])
def test_in_front_of_tls(header: bytes, apart: bool) -> None:
    server_side, client_side = tls_contexts()
    with proxied(tls=server_side) as server, server.connect() as plain:
        hello, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_side.wrap_bio(incoming, hello, server_hostname="localhost")
        if apart:
            plain.sendall(header)
        first = b"" if apart else header

        def exchange() -> None:
            nonlocal first
            plain.sendall(first + hello.read())
            first = b""
            incoming.write(plain.recv(65536))

        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                exchange()
        client.write(request())
        plain.sendall(hello.read())
        answer = b""
        while b"\r\n\r\n" not in answer:
            try:
                answer += client.read()
            except ssl.SSLWantReadError:
                incoming.write(plain.recv(65536))
        assert answer.startswith(b"HTTP/1.1 101")
        assert server.gate.seen[0][1] in {"192.0.2.7", "2001:db8::1"}


def test_the_header_in_front_of_tls_split_at_every_byte_and_the_hello_right_behind() -> None:
    server_side, client_side = tls_contexts()
    hello = ssl.MemoryBIO()
    client = client_side.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    message = BINARY + hello.read()
    with proxied(tls=server_side) as server:
        for place in range(1, len(message), 7):
            with server.connect() as plain:
                plain.sendall(message[:place])
                if place < len(BINARY):
                    server.wait_for(lambda size=place: received(server) == size)  # type: ignore[misc]
                plain.sendall(message[place:])
                assert plain.recv(3) == b"\x16\x03\x03"  # a ServerHello


# TLS


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "half"])
def test_strangers_within_tls_are_bounded_like_all_others(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MAX_HALF_OPEN", 3)
    server_side, client_side = tls_contexts()
    with FrontServer(tls=server_side) as server, contextlib.ExitStack() as stack:
        clients = []
        for number in range(5):
            clients.append(stack.enter_context(server.connect()))
            clients[-1].sendall(sent)
            server.wait_for(lambda count=number + 1: server.reception.half_open == min(count, 3))  # type: ignore[misc]
        assert [cut(client) for client in clients[:2]] == [True, True]
        assert server.reception.ended[Reason.EVICTED] == 2
        with server.connect(client_side) as good:
            good.sendall(request())
            assert Answer(good).status == 101
        server.call(server.reception.close)
        assert server.reception.half_open == 0


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (request(), Reason.TLS_FAILED),
        (b"\x16\x03\x01\xff\xff" + bytes(70_000), Reason.TLS_FAILED),
        (b"\x16", Reason.GONE),
    ],
    ids=["HTTP", "garbage", "gone"],
)
def test_row_10_what_becomes_of_a_handshake_is_counted(sent: bytes, reason: Reason) -> None:
    with FrontServer(tls=tls_contexts()[0]) as server:
        with server.connect() as client, contextlib.suppress(OSError):
            client.sendall(sent)
            if reason is Reason.GONE:
                client.shutdown(socket.SHUT_WR)
            while client.recv(1000):
                pass
        server.wait_for(lambda: server.reception.ended[reason] == 1)
        server.wait_for(lambda: server.reception.half_open == 0)
        assert sum(server.reception.ended.values()) == 1


def test_a_client_that_refuses_the_certificate_is_counted() -> None:
    server_side, _ = tls_contexts()
    with FrontServer(tls=server_side) as server:
        with pytest.raises(ssl.SSLCertVerificationError), server.connect(ssl.create_default_context()):
            pass
        server.wait_for(lambda: server.reception.ended[Reason.TLS_FAILED] + server.reception.ended[Reason.GONE] == 1)


def test_who_begins_too_many_handshakes_is_cut_before_the_next() -> None:
    server_side, client_side = tls_contexts()
    gate = SmallGate()
    gate.max_handshakes = 1
    with FrontServer(gate, tls=server_side) as server:
        with server.connect(client_side) as client:
            client.sendall(request())
            assert Answer(client).status == 101
        with server.connect() as client:
            assert cut(client)
        assert server.reception.ended[Reason.TLS_RATE] == 1
        assert server.suspects.counts[Suspicion.RATE] == 1
        assert server.reception.half_open == 0


@pytest.mark.parametrize(
    ("client_auth", "known", "reason"),
    [
        ("required", True, None),
        ("required", False, Reason.CLIENT_CERTIFICATE),
        ("required", None, Reason.CLIENT_CERTIFICATE),
        ("optional", True, None),
        ("optional", False, Reason.CLIENT_CERTIFICATE),
        ("optional", None, None),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_certificates_of_clients(
    tmp_path: Path, client_auth: str, known: bool | None, reason: Reason | None, version: ssl.TLSVersion
) -> None:
    own, clients, strangers = trustme.CA(), trustme.CA(), trustme.CA()
    settings = {"client_ca": write_authority(clients, tmp_path), "client_auth": client_auth}
    shown = None if known is None else clients if known else strangers
    client_side = trusting(own, shown)
    client_side.maximum_version = client_side.minimum_version = version
    with FrontServer(tls=ServerTls(tls_config(own, tmp_path, **settings), 2.0)) as server:
        status = 0
        with contextlib.suppress(OSError), server.connect(client_side) as client:
            client.sendall(request())
            status = Answer(client).status
        assert status == (101 if reason is None else 0)
        if reason is not None:
            server.wait_for(lambda: server.reception.ended[reason] == 1)


def test_many_at_once_over_tls_leave_nothing_behind() -> None:
    server_side, client_side = tls_contexts()
    statuses: list[int] = []
    with FrontServer(tls=server_side) as server:

        def ask() -> None:
            with server.connect() as silent:
                silent.sendall(b"\x16\x03\x01")
            for path in ("/ws", "/nope"):
                with server.connect(client_side) as client:
                    client.sendall(request(path))
                    statuses.append(Answer(client).status)

        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        server.wait_for(lambda: server.reception.half_open == 0 and server.gate.slots == 0)
        gc.collect()
        assert [kept for kept in gc.get_objects() if isinstance(kept, Entrance | Front | SSLProtocol)] == []
    assert sorted(statuses) == [101] * 10 + [404] * 10


# Bans


def test_a_banned_address_is_not_worth_a_tls_handshake() -> None:
    server_side, client_side = tls_contexts()
    with FrontServer(tls=server_side, ban_after=1) as server:
        server.suspects.note(Suspicion.VIOLATION, "127.0.0.1")
        with pytest.raises(OSError, match=r"reset|EOF|closed"), server.connect(client_side):
            pass
        assert server.reception.ended[Reason.BANNED] == 1
        assert server.reception.half_open == 0


@pytest.mark.parametrize("tls", [False, True])
def test_the_client_that_a_header_tells_is_banned_and_not_the_proxy(tls: bool) -> None:
    with proxied(tls=tls_contexts()[0] if tls else None, ban_after=1) as server:
        for address in ("192.0.2.7", "127.0.0.1"):
            server.suspects.note(Suspicion.VIOLATION, address)
        with server.connect() as client:
            client.sendall(LINE + (b"" if tls else b"G"))
            if tls:
                assert cut(client)
            else:
                assert Answer(client).status == 429
        assert server.reception.ended[Reason.BANNED] == 1
        if not tls:
            assert server.ask(LOCAL + request()).status == 101


def test_what_a_page_can_have_a_browser_do_to_a_port_with_tls_does_not_ban() -> None:
    with FrontServer(tls=tls_contexts()[0], ban_after=1) as server:
        for _ in range(3):
            with server.connect() as client, contextlib.suppress(OSError):
                client.sendall(request())
                client.recv(1000)
        server.wait_for(lambda: server.reception.ended[Reason.TLS_FAILED] == 3)
        assert server.suspects.bans == 0
