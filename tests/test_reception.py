"""How many strangers may wait and for how long, through real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import front_server
from front_server import Answer, FrontServer, SmallGate, request, tls_contexts
from valtronics_fast import reception
from valtronics_fast.front import Front
from valtronics_fast.logging import TextFormatter
from valtronics_fast.refusals import Reason
from valtronics_fast.units import Rate

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT = 0.2  # a timeout that is meant to be reached


def test_row_9_a_head_that_does_not_end() -> None:
    with FrontServer(timeout=SHORT) as server:
        with server.connect() as client:
            client.sendall(b"GET /ws HTTP/1.1\r\nHos")
            assert Answer(client).status == 408
        with server.connect() as client:
            assert client.recv(1) == b""
        assert server.reception.ended[Reason.TIMEOUT] == server.reception.ended[Reason.IDLE] == 1


def test_row_9_dribble_does_not_prolong_it() -> None:
    with FrontServer(timeout=SHORT) as server, server.connect() as client:
        with contextlib.suppress(OSError):
            for byte in request() * 1000:
                client.sendall(bytes([byte]) if byte != ord("\n") else b"x")
                time.sleep(0.001)
                if server.reception.ended[Reason.TIMEOUT]:
                    break
        assert Answer(client).status == 408


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "half"])
def test_row_10_tls_handshake_that_does_not_end(sent: bytes) -> None:
    with FrontServer(timeout=SHORT, tls=tls_contexts()[0]) as server, server.connect() as client:
        client.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        assert server.reception.half_open == 0
        assert server.reception.ended[Reason.TLS_TIMEOUT] == 1


def test_row_10_garbage_instead_of_tls() -> None:
    server_side, client_side = tls_contexts()
    with FrontServer(tls=server_side) as server:
        with server.connect() as client:
            client.sendall(request())
            with contextlib.suppress(ConnectionResetError):
                assert not client.recv(1000).startswith(b"HTTP")
        with server.connect(client_side) as client:
            client.sendall(request("/nope") + bytes(100_000))
            assert Answer(client).status == 404


def test_row_9_over_tls() -> None:
    server_side, client_side = tls_contexts()
    with FrontServer(timeout=2.0, tls=server_side) as server:
        with server.connect(client_side) as client:
            client.sendall(b"GET")
            assert Answer(client).status == 408
        with server.connect(client_side) as client, contextlib.suppress(OSError):
            assert client.recv(1) == b""
        assert server.reception.ended[Reason.IDLE] == 1


def test_no_timeout() -> None:
    with FrontServer(timeout=0.0) as server, server.connect() as client:
        time.sleep(2 * reception.SWEEP_INTERVAL)
        client.sendall(request())
        assert Answer(client).status == 101


def test_a_close_cannot_hang() -> None:
    with FrontServer() as server, server.connect() as client:
        client.sendall(request("/nope"))
        assert Answer(client).status == 404  # and we do not close
        server.wait_for(lambda: server.reception.half_open == 0)


def test_a_close_cannot_hang_over_tls() -> None:
    server_side, client_side = tls_contexts()
    with FrontServer(tls=server_side) as server, server.connect(client_side) as client:
        client.sendall(request("/nope"))
        assert client.recv(12) == b"HTTP/1.1 404"
        server.wait_for(lambda: server.reception.half_open == 0)


def test_a_refused_client_may_not_send_for_ever() -> None:
    with FrontServer() as server, server.connect() as client:
        client.sendall(request("/nope"))
        with pytest.raises(OSError, match=r"reset|pipe"):
            client.sendall(bytes(100 * 1024 * 1024))


def test_refusals_leave_nothing_behind() -> None:
    with FrontServer() as server:
        for _ in range(100):
            for message in (request("/nope"), request("/ws", "Authorization: Bearer x"), b"\r\n\r\n"):
                server.ask(message)
            with server.connect() as client:
                client.sendall(b"GET")
        server.wait_for(lambda: server.reception.half_open == 0)
        assert server.gate.slots == 0
        assert sum(server.reception.ended.values()) == 400
        gc.collect()
        assert [kept for kept in gc.get_objects() if isinstance(kept, Front)] == []


@pytest.mark.parametrize("way", ["plain", "tls", "proxy"])
def test_who_is_gone_before_the_address_is_read_counts_for_nobody(way: str) -> None:
    """Else all of them would share one rate and one suspect: those whose address is not known."""
    tls = tls_contexts()[0] if way == "tls" else None
    gate = SmallGate(rate=Rate(1, 60.0))
    with FrontServer(gate, tls=tls, proxy_protocol=way == "proxy", trusted=("127.0.0.1",)) as server:
        go_on = threading.Event()
        server.loop.call_soon_threadsafe(go_on.wait)
        for sent in (request(), request(), request(Host=None)):
            with socket.create_connection(("127.0.0.1", server.port), front_server.PATIENCE) as client:
                client.sendall(sent)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        go_on.set()
        server.wait_for(lambda: server.reception.half_open == 0 and sum(server.reception.ended.values()) == 3)
        assert server.reception.ended[Reason.GONE] == 3
        assert (len(gate.limiter), gate.handshakes, server.suspects.stats()["addresses"]) == (0, 0, 0)
        if way == "plain":
            assert server.ask(request()).status == 101


def test_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MAX_HALF_OPEN", 3)
    with FrontServer() as server, contextlib.ExitStack() as stack:
        clients = []
        for number in range(5):
            clients.append(stack.enter_context(server.connect()))
            server.wait_for(lambda count=number + 1: server.reception.half_open == min(count, 3))  # type: ignore[misc]
        for client in clients[:2]:
            assert client.recv(1) == b""
        for client in clients[2:]:
            client.sendall(request())
            assert Answer(client).status == 101
        assert server.reception.ended[Reason.EVICTED] == 2
        assert server.reception.half_open == 0  # those that are upgraded do not count


def test_one_timer_and_only_while_somebody_waits() -> None:
    with FrontServer() as server:
        assert server.reception._timer is None
        with server.connect(), server.connect():
            server.wait_for(lambda: server.reception.half_open == 2)
            assert server.reception._timer is not None
        server.wait_for(lambda: server.reception.half_open == 0)
        server.wait_for(lambda: server.reception._timer is None)
        assert server.reception.ended[Reason.GONE] == 2


def test_those_who_do_not_finish_their_handshake_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "SETTLE_TIMEOUT", SHORT)
    with FrontServer() as server, server.connect():
        server.wait_for(lambda: server.reception.half_open == 1)
        asyncio.run_coroutine_threadsafe(server.reception.settle(), server.loop).result(front_server.PATIENCE)
        assert server.reception.half_open == 1


def test_close_drops_those_who_wait() -> None:
    with FrontServer() as server, server.connect() as client, server.connect() as refused:
        refused.sendall(request("/nope"))
        assert Answer(refused).status == 404
        server.wait_for(lambda: server.reception.half_open == 2)
        server.call(server.reception.close)
        assert client.recv(1) == b""
        assert server.reception.half_open == 0
        assert server.reception.ended[Reason.SHUTTING_DOWN] == 1  # the other one was counted already
        assert server.reception._timer is None


def test_a_port_scan_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with FrontServer() as server:
        with server.connect():
            pass
        server.wait_for(lambda: server.reception.ended[Reason.GONE] == 1)
        server.ask(request("/nope"))
    (line,) = [TextFormatter().format(record) for record in caplog.records]
    assert "handshake ended reason=not_found" in line


def test_refusals_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="valtronics_fast.reception")
    with FrontServer() as server:
        for _ in range(300):
            server.ask(request("/nope"))
    assert 10 <= len(caplog.messages) < 300  # ten a second


@contextlib.contextmanager
def served_by_a_process() -> Iterator[tuple[psutil.Process, int]]:
    program = [sys.executable, str(Path(front_server.__file__))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield psutil.Process(process.pid), port
        process.stdin.close()
        assert process.wait(front_server.PATIENCE) == 0


def test_row_47_no_descriptors_left() -> None:
    with served_by_a_process() as (process, port), contextlib.ExitStack() as stack:
        limit = process.num_fds() + 20
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(60)]
        before = process.cpu_times()
        time.sleep(1.5)
        after = process.cpu_times()
        # A loop that spins takes all of the time, one that waits next to nothing.
        assert after.user + after.system - before.user - before.system < 0.75
        turned_away = [client for client in clients if not is_open(client)]
        assert 30 <= len(turned_away) <= 50
        for client in clients:
            client.close()
        wait_for_answer(port)


def is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def wait_for_answer(port: int) -> None:
    """Connect until somebody answers; the descriptors may take a moment to come back."""
    deadline = time.monotonic() + front_server.PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 20) as client:
            client.sendall(request())
            if Answer(client).status == 101:
                return
        time.sleep(0.01)
    pytest.fail("nobody answers")
