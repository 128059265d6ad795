"""How a connection ends: the closing handshake, time limits, floods."""

from __future__ import annotations

import asyncio
import struct
import time

import pytest
from websockets.asyncio.client import connect

from core.harness import Server, subscriber, telemetry, until
from core.wire_client import CLOSE, PING, PONG, TEXT, Client, Frame, frame, text
from fuzz.peerless import Peerless
from valtronics_fast._core.checks import check_hub
from valtronics_fast._core.wire import CloseCode

SMALL = 4096
LARGE = 100_000


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


async def gone(server: Server, client: Client) -> int:
    """Wait until the server has let a client go; return the code that it notes."""
    await until(lambda: client.session in server.host.closed_sessions)
    assert client.session not in server.hub.connections()
    return client.session.close_code


async def blocked(server: Server) -> Client:
    """Return a client that does not read, with a backlog in the queue and most of a message in the transport."""
    client = await subscriber(server, receive_buffer=SMALL)
    for _ in range(10):
        server.hub.publish(telemetry(1, n=0, text="x" * LARGE))
    await until(lambda: client.session.queued_bytes == 9 * (client.session.queued_bytes // 9) > 9 * LARGE)
    return client


async def test_the_library_closes_and_is_closed() -> None:
    async with Server() as server:
        async with connect(server.url) as socket:
            await socket.close(3001, "enough")
            assert socket.close_code == 3001
        await until(lambda: not server.hub.connections())
        async with connect(server.url) as socket:
            (session,) = server.hub.connections()
            session.disconnect(CloseCode.CLOSE_RESTART)
            await socket.wait_closed()
            assert (socket.close_code, socket.close_reason) == (1012, "restart")


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1008, 1011, 1014, 3000, 4000, 4999])
async def test_the_peers_close_is_answered_with_its_code(code: int) -> None:
    async with Server() as server:
        client = await server.connect()
        await client.send(CLOSE, close_payload(code, b"bye"))
        assert await client.rest() == [Frame(CLOSE, close_payload(code))]
        assert await gone(server, client) == code


async def test_an_empty_close_is_answered_with_1000() -> None:
    async with Server() as server:
        client = await server.connect()
        await client.send(CLOSE)
        assert await client.rest() == [Frame(CLOSE, close_payload(1000))]
        assert await gone(server, client) == 1005


@pytest.mark.parametrize(
    "payload", [b"\x03", *[close_payload(code) for code in (0, 1, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)]]
)
async def test_codes_that_may_not_be_sent(payload: bytes) -> None:
    async with Server(close_timeout=0.2) as server:
        client = await server.connect()
        await client.send(CLOSE, payload)
        assert await client.close_code() == 1002
        assert await client.rest() == []
        assert await gone(server, client) == 1002


async def test_a_close_reason_must_be_utf8() -> None:
    async with Server(close_timeout=0.2) as server:
        client = await server.connect()
        await client.send(CLOSE, close_payload(1000, b"\xff"))
        assert await client.close_code() == 1007
        assert await gone(server, client) == 1007


@pytest.mark.parametrize("payload", [b"\x03", close_payload(1006), close_payload(1000, b"\xff"), close_payload(999)])
async def test_a_bad_close_ends_the_connection_at_once(payload: bytes) -> None:
    """It is the last that the peer sends: there is no other to wait for, and no timer is needed."""
    async with Server(clock=False) as server:
        client = await server.connect()
        await client.send(CLOSE, payload)
        assert await client.close_code() in {1002, 1007}
        assert await client.rest() == []
        await gone(server, client)


async def test_two_closes_in_one_segment() -> None:
    """picows finds the second one to be a violation before it delivers the first one."""
    async with Server(clock=False) as server:
        for codes in [(1000, 1000), (3000, 1001), (1000, 0)]:
            client = await server.connect()
            await client.write(b"".join(frame(CLOSE, close_payload(code)) for code in codes))
            assert await client.rest() == [Frame(CLOSE, close_payload(codes[0]))]
            assert await gone(server, client) == codes[0]


async def test_what_comes_behind_a_close_is_ignored() -> None:
    async with Server() as server:
        client = await server.login()
        await client.write(
            frame(CLOSE, close_payload(1000)) + text({"type": "ping"}) + frame(PING, b"x") + frame(2, b"binary")
        )
        assert await client.rest() == [Frame(CLOSE, close_payload(1000))]
        assert await gone(server, client) == 1000


async def test_what_comes_behind_the_servers_close_is_ignored() -> None:
    """Up to the peer's own CLOSE, which ends the connection without any timer."""
    async with Server(clock=False) as server:
        client = await server.login()
        await client.ask(type="subscribe", id=1, channel="telemetry")
        client.session.disconnect(CloseCode.CLOSE_GOING_AWAY)
        client.session.disconnect(CloseCode.CLOSE_RESTART)
        handled = client.session.messages_in
        await client.write(text({"type": "ping"}) + frame(PING, b"x") + frame(2, b"binary"))
        server.hub.publish(telemetry(1, t=1))
        assert await client.closing() == ([], 1001, "going_away")
        await client.write(text({"type": "ping"}) + frame(CLOSE, close_payload(1001)))
        assert await client.rest() == []
        assert client.session.messages_in == handled
        assert await gone(server, client) == 1001


def test_a_frame_behind_the_end_is_ignored() -> None:
    """picows might go on with what is in its buffer."""
    peerless = Peerless()
    session = peerless.connect(authenticated=True)
    peerless.receive(session, b'{"type":"ping"}')
    assert [answer["type"] for answer in peerless.disconnect(session)] == ["pong"]
    peerless.receive(session, b'{"type":"ping"}')
    assert session.messages_in == 1
    check_hub(peerless.hub)


async def test_the_close_stands_behind_the_data_of_its_turn() -> None:
    async with Server() as server:
        client = await server.login()
        await client.ask(type="subscribe", id=1, channel="telemetry")
        server.hub.publish(telemetry(1, t=1))
        client.session.disconnect(CloseCode.CLOSE_RESTART)
        server.hub.publish(telemetry(1, t=2))
        messages, code, _ = await client.closing()
        assert [message["telemetry"]["t"]["value"] for message in messages] == [1]
        assert code == 1012
        await client.send(CLOSE, close_payload(1012))
        assert await client.rest() == []


async def test_no_answer_follows_the_close_that_its_own_command_brings() -> None:
    """A batch ends the connection in its middle; its response is not sent any more."""
    async with Server() as server:
        client = await server.connect()
        await client.say(type="batch", id=1, messages=[{"type": "auth", "token": "bad"}] * 3)
        assert (await client.closing())[1] == 4001
        await client.send(CLOSE, close_payload(4001))
        assert await client.rest() == []


@pytest.mark.parametrize("code", [1001, 1012, 4100, 4200])
async def test_a_peer_that_never_answers_a_close_is_cut(code: int) -> None:
    async with Server(close_timeout=0.2) as server:
        client = await server.connect()
        client.session.disconnect(code)
        assert await client.close_code() == code
        assert await client.rest() == []
        assert await gone(server, client) == code


async def test_a_peer_that_does_not_read_gets_a_close_and_is_cut() -> None:
    async with Server(send_buffer=SMALL, close_timeout=0.2) as server:
        client = await blocked(server)
        client.session.disconnect(CloseCode.CLOSE_RESTART)
        assert client.session.queued_bytes == 0
        assert await gone(server, client) == 1012


async def test_a_peer_that_reads_on_sees_the_close_before_its_backlog() -> None:
    async with Server(send_buffer=SMALL) as server:
        client = await blocked(server)
        client.session.disconnect(CloseCode.CLOSE_RESTART)
        messages, code, _ = await client.closing()
        assert code == 1012
        assert len(messages) == 1
        await client.send(CLOSE, close_payload(1012))
        assert await client.rest() == []
        assert await gone(server, client) == 1012


async def test_nothing_but_what_was_on_its_way_follows_the_peers_close() -> None:
    """It closes with a backlog and reads on: the answer is the last that it gets."""
    async with Server(send_buffer=SMALL) as server:
        client = await blocked(server)
        await client.send(CLOSE, close_payload(1000))
        assert [received.opcode for received in await client.rest()] == [TEXT, CLOSE]
        assert await gone(server, client) == 1000


async def test_a_peer_that_closes_and_does_not_read_is_cut() -> None:
    async with Server(send_buffer=SMALL, close_timeout=0.2) as server:
        client = await blocked(server)
        await client.send(CLOSE, close_payload(1000))
        assert await gone(server, client) == 1000


@pytest.mark.parametrize(
    "data",
    [frame(TEXT, b"{}", mask=None), frame(2, b""), frame(TEXT, b"\xff")],
    ids=["not masked", "binary", "not UTF-8"],
)
async def test_a_peer_that_breaks_the_rules_and_does_not_read_is_cut(data: bytes) -> None:
    """Also when picows finds the violation, and without pings: every close has its time limit."""
    async with Server(send_buffer=SMALL, close_timeout=0.2, ping_interval=0) as server:
        client = await blocked(server)
        await client.write(data)
        await gone(server, client)


async def test_no_data_follows_a_close_that_picows_sends() -> None:
    """RFC 6455, 5.5.1: nothing after a CLOSE; published is on, while the connection winds down."""
    async with Server() as server:
        client = await server.login()
        await client.ask(type="subscribe", id=1, channel="telemetry")
        await client.write(frame(TEXT, b"{}", mask=None))
        while client.session in server.hub.connections():
            server.hub.publish(telemetry(1, t=1))
            await asyncio.sleep(0)
        frames = await client.rest()
        assert [received.opcode for received in frames].index(CLOSE) == len(frames) - 1
        assert client.session.close_code == 1002


async def test_a_connection_that_is_just_cut() -> None:
    async with Server() as server:
        client, other = await server.connect(), await server.connect()
        client.reset()
        other.close()
        assert await gone(server, client) == 1006
        assert await gone(server, other) == 1006


async def test_a_silent_peer_is_pinged_and_then_closed() -> None:
    async with Server(ping_interval=0.2, ping_timeout=0.2) as server:
        client = await server.login()
        assert await client.receive() == Frame(PING, b"")
        assert await client.closing() == ([], 4103, "ping_timeout")


@pytest.mark.parametrize(
    "sign",
    [frame(PONG), frame(PONG, b"of something else"), frame(PING), text({"type": "ping"})],
    ids=["pong", "other pong", "ping", "message"],
)
async def test_any_sign_of_life_will_do(sign: bytes) -> None:
    async with Server(ping_interval=0.2, ping_timeout=1) as server:
        client = await server.login()
        for _ in range(2):
            while (await client.receive()).opcode != PING:
                pass
            await client.write(sign)
        assert client.session.close_code == 0


async def test_pings_go_on_while_one_is_unanswered_and_do_not_put_off_the_end() -> None:
    async with Server(clock=False, ping_interval=1, ping_timeout=5) as server:
        client = await server.login()
        start = time.monotonic()
        for tenths in range(59):
            server.hub.advance(start + tenths / 10)
        assert client.session.close_code == 0
        server.hub.advance(start + 7)
        opcodes = [(await client.receive()).opcode for _ in range(6)]
        assert opcodes == [PING] * 5 + [CLOSE]
        assert client.session.close_code == 4103


async def test_no_pings_when_they_are_off() -> None:
    async with Server(ping_interval=0, clock=False) as server:
        client = await server.login()
        server.hub.advance(time.monotonic() + 3000)
        assert await client.settled() == []


@pytest.mark.parametrize(
    "data",
    [frame(PING), frame(PONG), text({"type": "ping"}), frame(TEXT, b"?")],
    ids=["pings", "pongs", "messages", "nonsense"],
)
async def test_a_flood_is_told_and_then_closed(data: bytes) -> None:
    """Of 5,000 at once 100 are served and 1,000 dropped; a dropped one is told of once a second."""
    async with Server(messages_per_second=100) as server:
        client, other = await server.login(), await server.login()
        await client.write(data * 5000)
        messages, code, reason = await client.closing()
        assert (code, reason) == (4101, "rate_limited")
        told = [message for message in messages if message.get("error") == "rate_limited"]
        assert told
        assert len(told) < 50
        assert all(message["retry_after"] > 0 for message in told)
        assert client.session.dropped == 1000
        assert (await other.ask(type="ping"))["type"] == "pong"


async def test_a_flood_of_fragments() -> None:
    async with Server(messages_per_second=100, fragments=0) as server:
        client = await server.login()
        await client.write(frame(TEXT, b"", fin=False) + frame(0, b"", fin=False) * 5000)
        assert await client.close_code() == 4101
