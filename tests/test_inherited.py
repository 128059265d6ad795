from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import configuration, needs_ipv6
from valtronics_fast import inherited
from valtronics_fast.errors import ConfigError
from valtronics_fast.inherited import HTTP, WEBSOCKET, inherit, public_host

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = 700

@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listening(stack: ExitStack, host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return stack.enter_context(socket.create_server((host, 0), family=family))


def faults(environ: dict[str, str] | None = None, **fds: int) -> tuple[str, ...]:
    sections = {name: {"fd": fd} for name, fd in fds.items()}
    with pytest.raises(ConfigError) as caught:
        inherit(configuration(**sections), environ or {})
    return caught.value.problems


def systemd(*sockets: socket.socket, names: str, pid: int | None = None) -> dict[str, str]:
    """Return the environment of a process that systemd has given these sockets, which stand from FIRST on then."""
    return {"LISTEN_PID": str(pid or os.getpid()), "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names}


class Passed:
    """Puts sockets on descriptors that follow each other, as systemd does from 3 on.

    The first ones of this process are taken: a process of pytest-xdist speaks over them. With the real ones it is tried
    in integration/test_socket_activation.py.
    """

    def __init__(self, *sockets: socket.socket) -> None:
        self._numbers = range(FIRST, FIRST + len(sockets))
        for sock, number in zip(sockets, self._numbers, strict=True):
            os.dup2(sock.fileno(), number)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        for number in self._numbers:
            os.close(number)


@pytest.fixture(autouse=True)
def _first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inherited, "_FIRST", FIRST)


def test_without_any_there_is_none() -> None:
    assert inherit(configuration(), {}) == {}


def test_by_number(stack: ExitStack) -> None:
    sockets = [listening(stack), listening(stack)]
    numbers = [os.dup(sock.fileno()) for sock in sockets]
    for number in numbers:
        os.set_inheritable(number, True)  # as it is with those that were passed on
    found = inherit(configuration(server={"fd": numbers[0]}, http={"fd": numbers[1]}), {})
    assert found.keys() == {WEBSOCKET, HTTP}
    for (taken,), sock in zip((found[WEBSOCKET], found[HTTP]), sockets, strict=True):
        stack.enter_context(taken)
        assert taken.getsockname() == sock.getsockname()
        assert not taken.get_inheritable()


def test_what_is_no_listening_socket_is_told(stack: ExitStack) -> None:
    connected = stack.enter_context(socket.create_connection(listening(stack).getsockname()))
    bound = stack.enter_context(socket.socket())
    bound.bind(("127.0.0.1", 0))
    datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    local = stack.enter_context(socket.socket(socket.AF_UNIX))
    local.bind("")  # in the abstract namespace
    local.listen()
    for sock in (connected, bound, datagrams, local):
        (problem,) = faults(server=sock.fileno())
        number = sock.fileno()
        assert problem == f"server.fd must be a listening TCP socket; descriptor {number} is another one"
        assert sock.fileno() == number
        sock.getsockname()  # it was left as it was
    with Path(os.devnull).open() as file:
        (problem,) = faults(http=file.fileno())
        assert problem.startswith(f"http.fd must be a listening TCP socket; descriptor {file.fileno()}: ")
    number = os.dup(0)
    os.close(number)
    assert len(faults(server=number, http=number + 1)) == 2


def test_from_systemd_by_name(stack: ExitStack) -> None:
    sockets = [listening(stack), listening(stack), listening(stack)]
    environ = systemd(*sockets, names="ws:http:ws") | {"PATH": "/bin"}
    with Passed(*sockets):
        found = inherit(configuration(), environ)
        addresses = {name: [sock.getsockname() for sock in each] for name, each in found.items()}
        assert addresses == {
            WEBSOCKET: [sockets[0].getsockname(), sockets[2].getsockname()],
            HTTP: [sockets[1].getsockname()],
        }
        assert environ == {"PATH": "/bin"}
        assert inherit(configuration(), environ) == {}
        for each in found.values():
            for sock in each:
                sock.detach()


def test_what_systemd_gave_to_another_process_is_not_ours(stack: ExitStack) -> None:
    environ = systemd(listening(stack), names="ws", pid=1)
    assert inherit(configuration(), environ) == {}
    assert "LISTEN_FDS" in environ


def test_faults_of_what_systemd_passes(stack: ExitStack) -> None:
    sock = listening(stack)
    with Passed(sock, sock):
        (problem,) = faults(systemd(sock, sock, names="ws:x.socket"))
        place = f"socket {FIRST + 1} of systemd"
        assert problem == f"{place} must be named ws or http (FileDescriptorName=), not 'x.socket'"
        assert len(faults(systemd(sock, names=""))) == 1
        for count in ("x", "", "-1", "\N{ARABIC-INDIC DIGIT ONE}"):
            assert len(faults(systemd(sock, names="ws") | {"LISTEN_FDS": count})) == 1
        (problem,) = faults(systemd(sock, names="ws:http"))
        assert problem == "LISTEN_FDNAMES must name each of the '1' sockets of LISTEN_FDS"
        (problem,) = faults(systemd(sock, names="ws"), server=FIRST + 1)
        assert problem == "server.fd must not go with a socket of systemd that is named ws"


@needs_ipv6
def test_who_can_reach_them(stack: ExitStack) -> None:
    loopback = [listening(stack), listening(stack, "::1")]
    assert public_host(loopback) == "127.0.0.1"
    assert public_host([*loopback, listening(stack, "0.0.0.0")]) == "0.0.0.0"
