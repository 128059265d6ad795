"""Addresses that are banned, what they are told, and what bans them."""

from __future__ import annotations

import logging
import socket

import pytest

from front_server import Answer, FrontServer, request
from valtronics_fast.refusals import Reason
from valtronics_fast.suspects import Suspicion


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
