"""Every close code of the registry, provoked through a real socket (protocol.md, section 5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from harness import Client, Site, alert, more, running, telemetry, text, until
from valtronics_fast._core.wire import CLOSE_REASONS, CloseCode

PING = text('{"type":"ping"}')

NOT_ON_THE_WIRE = {CloseCode.CLOSE_NO_STATUS, CloseCode.CLOSE_ABNORMAL}
"""Codes that the server only counts: no CLOSE frame can hold them (RFC 6455, section 7.4.1)."""

Provoke = Callable[[Site, Client], Awaitable[None]]


@dataclass
class Case:
    """How a close code is provoked by (or on) a client that is connected.

    Attributes:
        provoke: does it.
        settings: by section.
    """

    provoke: Provoke
    settings: dict[str, Any] = field(default_factory=dict)


def writing(*frames: Frame | bytes) -> Provoke:
    """Return what authenticates and then writes these."""

    async def provoke(site: Site, client: Client) -> None:
        await client.authenticate(site.token())
        client.write(*frames)

    return provoke


def told(code: CloseCode) -> Provoke:
    """Return what has the server close every connection."""

    async def provoke(site: Site, client: Client) -> None:
        await client.nothing_more()
        assert site.server.disconnect(code) == 1

    return provoke


async def go(site: Site, client: Client) -> None:
    client.write(Frame(Opcode.CLOSE, b"\x03\xe8bye"))


async def stop(site: Site, client: Client) -> None:
    await client.nothing_more()
    await site.server.stop()


async def break_it(site: Site, client: Client) -> None:
    """Take a part away that the server can't publish without, and go on publishing."""
    await client.authenticate(site.token(publish=True))
    await site.server._backplane.stop()
    for _ in range(3):
        await client.send(type="publish", message=telemetry())


async def authenticate_badly(site: Site, client: Client) -> None:
    client.write(*[text('{"type":"auth","token":"x"}')] * 3)


async def do_nothing(site: Site, client: Client) -> None:
    pass


async def ask_for_too_much(site: Site, client: Client) -> None:
    """Be at an endpoint with a token that does not permit it (the test connects there)."""
    await client.send(type="auth", token=site.token(channels=["alerts"]))


async def become_another(site: Site, client: Client) -> None:
    await client.authenticate(site.token("alice"))
    await client.send(type="auth", token=site.token("bob"))


async def come_once_more(site: Site, client: Client) -> None:
    async with site.client():
        assert (await client.ask(type="auth", token=site.token()))["success"] is False


async def let_it_expire(site: Site, client: Client) -> None:
    await client.authenticate(site.token(expires=60, now=time.time() - 61))


async def flood(site: Site, client: Client) -> None:
    await client.authenticate(site.token())
    client.write(*[PING] * 5000)


async def not_read(site: Site, client: Client) -> None:
    """Read nothing while many alerts are published, which can't be conflated, until the server has had enough."""
    await client.authenticate(site.token())
    await client.subscribe("alerts")
    session = site.server._clients.sessions()[0]
    client.connection.transport.pause_reading()
    message = alert(message="x" * 60_000)
    while not session.close_code:
        site.server.publish(message)
        await asyncio.sleep(0)
    client.connection.transport.resume_reading()


async def not_answer_pings(site: Site, client: Client) -> None:
    """Read nothing, so that pings are not answered, until the server has had enough."""
    session = site.server._clients.sessions()[0]
    client.connection.transport.pause_reading()
    await until(lambda: session.close_code)
    client.connection.transport.resume_reading()


PATIENT = {"close_timeout": 60}
CASES = {
    CloseCode.CLOSE_NORMAL: Case(go),
    CloseCode.CLOSE_GOING_AWAY: Case(stop),
    CloseCode.CLOSE_PROTOCOL_VIOLATION: Case(writing(more(b"x"))),
    CloseCode.CLOSE_UNSUPPORTED_DATA: Case(writing(Frame(Opcode.BINARY, b"x"))),
    CloseCode.CLOSE_INVALID_UTF8: Case(writing(text(b"\xff"))),
    CloseCode.CLOSE_TOO_BIG: Case(writing(text(b"x" * 60_000, fin=False), more(b"x" * 6_000))),
    CloseCode.CLOSE_INTERNAL: Case(break_it),
    CloseCode.CLOSE_RESTART: Case(told(CloseCode.CLOSE_RESTART)),
    CloseCode.CLOSE_INVALID_TOKEN: Case(authenticate_badly),
    CloseCode.CLOSE_AUTH_TIMEOUT: Case(do_nothing, {"auth": {"timeout": 0.05}}),
    CloseCode.CLOSE_FORBIDDEN: Case(ask_for_too_much),
    CloseCode.CLOSE_PROTOCOL_ERROR: Case(become_another),
    CloseCode.CLOSE_TOO_MANY_CONNECTIONS: Case(come_once_more, {"limits": {"connections_per_user": 1}}),
    CloseCode.CLOSE_TOKEN_EXPIRED: Case(let_it_expire, {"auth": {"grace": 0}}),
    CloseCode.CLOSE_SERVER_FULL: Case(told(CloseCode.CLOSE_SERVER_FULL)),
    CloseCode.CLOSE_RATE_LIMITED: Case(flood),
    CloseCode.CLOSE_SLOW_CONSUMER: Case(not_read, {"server": PATIENT}),
    CloseCode.CLOSE_PING_TIMEOUT: Case(
        not_answer_pings, {"server": PATIENT | {"ping_interval": 0.05, "ping_timeout": 0.05}}
    ),
    CloseCode.CLOSE_REBALANCE: Case(told(CloseCode.CLOSE_REBALANCE)),
}


def test_there_is_a_case_for_every_code() -> None:
    assert set(CASES) | NOT_ON_THE_WIRE == set(CloseCode)


@pytest.mark.parametrize("code", CASES, ids=lambda code: str(CLOSE_REASONS[code]))
async def test_the_client_gets_it_and_the_server_counts_it(code: CloseCode) -> None:
    case = CASES[code]
    path = "/ws/telemetry" if code == CloseCode.CLOSE_FORBIDDEN else "/ws"
    async with running(**case.settings) as site, site.connect(path) as client:
        await case.provoke(site, client)
        assert (await client.closed())[0] == code
        # A client's own CLOSE is answered with its code alone.
        assert client.connection.close_reason == ("" if code == CloseCode.CLOSE_NORMAL else CLOSE_REASONS[code])
        await until(lambda: closes(site).get(str(int(code))) == 1)


def closes(site: Site) -> dict[str, int]:
    """Return how many connections ended with each code."""
    codes = site.server.stats()["close_codes"]
    assert isinstance(codes, dict)
    return codes


async def test_a_close_without_a_code_is_answered_1000_and_counted_1005() -> None:
    async with running() as site, site.connect() as client:
        client.write(Frame(Opcode.CLOSE, b""))
        assert (await client.closed())[0] == CloseCode.CLOSE_NORMAL
        await until(lambda: closes(site) == {"1005": 1})


async def test_a_connection_that_breaks_is_counted_1006() -> None:
    async with running() as site, site.connect() as client:
        await client.nothing_more()
        client.connection.transport.abort()
        await until(lambda: closes(site) == {"1006": 1})


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 3000, 4999])
async def test_the_clients_own_code_is_answered_with_the_same(code: int) -> None:
    async with running() as site, site.connect() as client:
        client.write(Frame(Opcode.CLOSE, code.to_bytes(2, "big")))
        assert await client.closed() == (code, [])
        await until(lambda: closes(site) == {str(code): 1})


def edited(frame: Frame, first: int) -> bytes:
    """Return a frame with other bits in its first byte."""
    return bytes([first]) + frame.serialize(mask=True)[1:]


VIOLATIONS = {
    "a reserved bit": edited(PING, 0xC1),
    "an unknown opcode": edited(PING, 0x83),
    "no mask": PING.serialize(mask=False),
    "a continuation of nothing": more(b"x"),
    "a message within a message": text("x", fin=False).serialize(mask=True) + PING.serialize(mask=True),
    "a fragmented ping": edited(Frame(Opcode.PING, b""), 0x09),
    "a ping of 126 bytes": edited(text("x" * 126), 0x89),
    "a length with its highest bit": b"\x81\xff\x80" + bytes(11),
    "half a code": Frame(Opcode.CLOSE, b"\x03"),
    "code 0": Frame(Opcode.CLOSE, b"\x00\x00"),
    "code 1005": Frame(Opcode.CLOSE, b"\x03\xed"),
    "code 1006": Frame(Opcode.CLOSE, b"\x03\xee"),
    "code 2999": Frame(Opcode.CLOSE, b"\x0b\xb7"),
    "code 5000": Frame(Opcode.CLOSE, b"\x13\x88"),
}


@pytest.mark.parametrize("violation", VIOLATIONS.values(), ids=VIOLATIONS.keys())
async def test_what_is_no_websocket_is_a_violation(violation: Frame | bytes) -> None:
    async with running() as site, site.connect() as client, site.connect() as other:
        client.write(violation)
        assert await client.closed() == (CloseCode.CLOSE_PROTOCOL_VIOLATION, [])
        await until(lambda: closes(site) == {"1002": 1})
        await other.nothing_more()


async def test_a_character_may_be_split_between_fragments_but_not_cut_off() -> None:
    async with running() as site, site.connect() as client:
        data = '{"type":"ping","timestamp":"°"}'.encode()
        middle = data.index(b"\xc2") + 1
        client.write(text(data[:middle], fin=False), more(data[middle:], fin=True))
        assert (await client.receive())["client_timestamp"] == "°"
        client.write(text(data[:middle]))
        assert await client.closed() == (CloseCode.CLOSE_INVALID_UTF8, [])


async def test_what_comes_behind_a_close_is_not_handled() -> None:
    async with running() as site, site.connect() as client:
        client.write(PING, Frame(Opcode.CLOSE, b"\x03\xe8"), PING, text(b"\xff"))
        code, messages = await client.closed()
        assert (code, [message["type"] for message in messages]) == (CloseCode.CLOSE_NORMAL, ["pong"])


async def test_closing_can_be_for_one_user_or_for_the_newest_connections() -> None:
    async with running() as site, site.client(user="alice") as alice, site.client(user="bob") as bob:
        assert site.server.disconnect(CloseCode.CLOSE_FORBIDDEN, user="nobody") == 0
        assert site.server.disconnect(CloseCode.CLOSE_FORBIDDEN, user="alice") == 1
        assert await alice.closed() == (CloseCode.CLOSE_FORBIDDEN, [])
        async with site.client(user="bob") as newest:
            assert site.server.disconnect(CloseCode.CLOSE_REBALANCE, count=1) == 1
            assert await newest.closed() == (CloseCode.CLOSE_REBALANCE, [])
        await bob.nothing_more()
