"""picows behind a front: it owns the socket, on TCP and on TLS alike."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from picows import WSFrame, WSMsgType, WSTransport
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from conformance.peer import connect as connect_by_hand
from core.wire_client import frame as wire_frame
from front_server import KEY, Answer, Echo, FrontServer, SmallGate, frame, read_frame, request, tls_contexts
from valtronics_fast.testing.echo import EchoServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

SIZES = [0, 1, 125, 126, 127, 1500, 1792, 2047, 2048, 16_384, 65_535, 65_536, 1_000_000]


@pytest.fixture(scope="module", params=["tcp", "tls"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[FrontServer, ssl.SSLContext | None]]:
    server_side, client_side = tls_contexts() if request.param == "tls" else (None, None)
    with FrontServer(tls=server_side, max_frame_size=2_000_000) as server:
        yield server, client_side
        server.wait_for(lambda: server.gate.slots == 0)


def test_frames_of_every_size(pair: tuple[FrontServer, ssl.SSLContext | None]) -> None:
    server, tls = pair
    with server.connect(tls) as client:
        client.sendall(request())
        assert Answer(client).status == 101
        for size in SIZES:
            payload = bytes(number % 251 for number in range(size))
            client.sendall(frame(payload, 2))
            assert read_frame(client) == (2, payload)


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_right_behind_the_request(pair: tuple[FrontServer, ssl.SSLContext | None], size: int) -> None:
    server, tls = pair
    payload = bytes(number % 251 for number in range(size))
    with server.connect(tls) as client:
        client.sendall(request() + frame(payload))
        answer = Answer(client)
        assert read_frame(client, answer.body) == (1, payload)


def test_many_frames_right_behind_the_request(pair: tuple[FrontServer, ssl.SSLContext | None]) -> None:
    server, tls = pair
    with server.connect(tls) as client:
        client.sendall(request() + b"".join(frame(f"{number:05d}".encode()) for number in range(5000)))
        received = Answer(client).body
        while len(received) < 5000 * 7:
            received += client.recv(65536)
        assert [received[start + 2 : start + 7] for start in range(0, len(received), 7)] == [
            f"{number:05d}".encode() for number in range(5000)
        ]


def test_a_client_of_another_make(pair: tuple[FrontServer, ssl.SSLContext | None]) -> None:
    server, tls = pair
    url = f"{'ws' if tls is None else 'wss'}://localhost:{server.port}/ws/"
    offered = [Subprotocol("bearer.good"), Subprotocol("valtronics.v1")]
    with connect(url, subprotocols=offered, proxy=None, ssl=tls) as client:
        assert client.subprotocol == "valtronics.v1"
        client.send("h\u00e9llo")
        assert client.recv(timeout=20) == "h\u00e9llo"
    assert client.close_code == 1000
    server.wait_for(lambda: server.gate.slots == 0)


def test_no_subprotocol_is_answered_that_was_not_offered() -> None:
    with FrontServer() as server:
        for offered in ("graphql-ws", "bearer.good"):
            answer = server.ask(request("/ws", f"Sec-WebSocket-Protocol: {offered}"))
            assert answer.status == 101
            assert "sec-websocket-protocol" not in answer.headers


def test_picows_keeps_no_header_of_the_client() -> None:
    kept: list[str] = []

    class Nosy(Echo):
        def on_ws_connected(self, transport: WSTransport) -> None:
            super().on_ws_connected(transport)
            kept.append(transport.request.path.decode())
            kept.extend(f"{name}: {value}" for name, value in transport.request.headers.items())

    class NosyGate(SmallGate):
        def open_session(self, upgrade, address, grant):  # type: ignore[no-untyped-def]
            return Nosy(self)

    with FrontServer(NosyGate()) as server:
        server.ask(request("/ws/alerts?token_of=SECRET", "Cookie: SECRET", Origin="https://a.example"))
    assert kept == [
        "/ws",
        "Host: x",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
    ]


def test_what_is_left_is_not_given_to_a_closed_connection() -> None:
    frames: list[int] = []

    class Closing(Echo):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            frames.append(frame.payload_size)
            transport.disconnect(graceful=False)

    class ClosingGate(SmallGate):
        def open_session(self, upgrade, address, grant):  # type: ignore[no-untyped-def]
            return Closing(self)

    with FrontServer(gate := ClosingGate()) as server, server.connect() as client:
        client.sendall(request() + frame(b"x" * 1000) * 10)
        server.wait_for(lambda: server.reception.upgraded == 1 and gate.slots == 0)
    assert 1 <= len(frames) <= 2  # one chunk of picows' smallest buffer


def test_a_listener_that_fails_is_logged_with_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Echo):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.TEXT:
                raise RuntimeError("bug")
            super().on_ws_frame(transport, frame)

    class FailingGate(SmallGate):
        def open_session(self, upgrade, address, grant):  # type: ignore[no-untyped-def]
            return Failing(self)

    caplog.set_level(logging.DEBUG)
    with FrontServer(FailingGate()) as server, server.connect() as client:
        client.sendall(request() + frame(b"x") * 1000 + frame(b"end", 2))
        answer = Answer(client)
        assert read_frame(client, answer.body) == (2, b"end")
    records = [record for record in caplog.records if record.name == "picows"]
    assert 1 <= len(records) <= 30
    assert records[0].exc_info is not None
    assert "New connection" not in caplog.text


async def test_nothing_behind_a_violation_right_behind_the_request() -> None:
    """It is fed to picows in pieces, and picows' parser would go on behind a bad CLOSE with the next one."""
    async with EchoServer() as server:
        client = await connect_by_hand(server.port, then=wire_frame(8, b"\0\1") + wire_frame(1, b"x" * 100) * 40)
        assert [received.payload[:2] for received in await client.rest()] == [b"\x03\xea"]
        client.close()


def test_a_frame_over_its_bound_is_refused_at_its_header() -> None:
    with FrontServer(max_frame_size=1000) as server, server.connect() as client:
        client.sendall(request())
        assert Answer(client).status == 101
        client.sendall(frame(b"x" * 1001)[:8])  # and nothing of its payload
        opcode, payload = read_frame(client)
        assert (opcode, payload[:2]) == (8, b"\x03\xf1")


async def test_a_frame_over_its_bound_in_pieces() -> None:
    """picows would go on behind its header, and deliver it and what follows."""
    async with EchoServer(frame_size=1000) as server:
        data = wire_frame(1, b"before") + wire_frame(2, b"x" * 1001) + wire_frame(1, b"behind")
        for cut in range(1, len(data), 97):
            client = await connect_by_hand(server.port)
            await client.write(data[:cut])
            await asyncio.sleep(0.002)
            await client.write(data[cut:])
            assert [received.payload[:2] for received in await client.rest()] == [b"be", b"\x03\xf1"]
            client.close()


async def test_nothing_behind_a_violation_in_the_next_piece_of_a_segment() -> None:
    """The transport reads several times in a turn, each time as much as picows' buffer has room for."""
    async with EchoServer() as server:
        client = await connect_by_hand(server.port)
        await client.write(wire_frame(8, b"\0\1") + wire_frame(1, b"x" * 100) * 100)
        assert [received.payload[:2] for received in await client.rest()] == [b"\x03\xea"]
        client.close()
