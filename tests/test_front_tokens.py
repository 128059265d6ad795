"""Handshakes whose token takes time to be judged."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from front_server import Answer, FrontServer, SmallGate, frame, request
from valtronics_fast._core.scope import Grant
from valtronics_fast.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import Awaitable

SHORT = 0.2  # a timeout that is meant to be reached


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
