"""Bad clients by the thousand: plain sockets on one epoll, each of which does what its `Visit` says."""

from __future__ import annotations

import re
import select
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

KEPT = 1 << 18  # bytes of what the server sends to one of them that are looked at
CHUNK = 1 << 18
RESET = "reset"
LOOK_EVERY = 0.05  # seconds between two looks at the deadlines
DRIP = 0.5  # seconds between two bytes of a client that drips
ERROR = re.compile(rb'"error":"(\w+)"|\xa5error[\xa0-\xbf](?!error[\xa0-\xbf])(\w+)')
CONNECTIONS_AN_ADDRESS = 10  # `limits.connection_rate` lets so many in at once


class End(Enum):
    """What a client does when it has sent everything."""

    FINISH = auto()  # it ends its side, so that the server has no reason to wait, and reads to the end
    WAIT = auto()  # it reads until the server closes
    RESET = auto()  # it cuts the connection with an RST
    LEAVE = auto()  # it closes its socket, whatever it may have been sent
    STOP = auto()  # it reads nothing any more, of what a small buffer takes, until its patience is over


@dataclass(slots=True, kw_only=True)
class Visit:
    """One connection.

    Attributes:
        opening: is sent first.
        data: is sent then, `times` over.
        blocks: are sent in its place, one after the other, `times` in all.
        every: seconds between two of them; 0: as fast as they are taken.
        inputs: how many things are tried with it.
        judged_at_the_door: these count without an upgrade too.
        after: what must have been received before the end comes; b"": nothing.
        end: see there.
        patience: seconds; then the client closes.
        drips: the data are sent byte by byte.
        source: its address; None: the swarm gives it one that has not been used too often.
        told: where a proxy speaks for it, the PROXY header does so before all this.
    """

    opening: bytes = b""
    data: bytes = b""
    blocks: Sequence[bytes] = ()
    times: int = 1
    every: float = 0.0
    inputs: int = 1
    judged_at_the_door: bool = False
    after: bytes = b""
    end: End = End.FINISH
    patience: float = 20.0
    drips: bool = False
    source: str | None = None
    told: bool = True

    def block(self, number: int) -> bytes:
        """Return what is sent after the opening, and so many blocks."""
        return self.blocks[number % len(self.blocks)] if self.blocks else self.data


def addresses(block: int) -> Iterator[str]:
    """Yield addresses of 127.0.0.0/8, each so often as the server lets it connect; blocks have none in common."""
    for number in count((block << 16) + 1):
        for _ in range(CONNECTIONS_AN_ADDRESS):
            yield f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def outcomes(received: bytes, ending: str) -> set[str]:
    """Return what a client has got: the status of a refusal, error codes, the close code, or else how it ended."""
    if not received.startswith(b"HTTP/1.1 "):  # nothing, or TLS
        return {ending}
    if not received.startswith(b"HTTP/1.1 101"):
        return {f"HTTP {received[9:12].decode(errors='replace')}"}
    found = {(plain or packed).decode() for plain, packed in ERROR.findall(received)}
    code = close_code(received, received.find(b"\r\n\r\n") + 4)
    return found | {f"close {code}" if code else ending}


def close_code(received: bytes, at: int) -> int:
    """Return the code of the CLOSE frame among the server's frames that begin at a position; 0: there is none."""
    while len(received) - at >= 2:
        opcode, size, start = received[at] & 15, received[at + 1], at + 2
        if size >= 126:
            start = at + (4 if size == 126 else 10)
            size = int.from_bytes(received[at + 2 : start], "big")
        if opcode == 8 and len(received) >= start + 2:
            return int.from_bytes(received[start : start + 2], "big")
        at = start + size
    return 0


class _Guest:
    """A visit that is under way."""

    __slots__ = ("at", "began", "left", "received", "said_all", "sock", "spoke", "visit")

    def __init__(self, sock: socket.socket, visit: Visit, header: bytes, now: float) -> None:
        self.sock = sock
        self.visit = visit
        self.left = visit.times
        self.at = memoryview(header + visit.opening)
        self.received = bytearray()
        self.began = self.spoke = now
        self.said_all = False


class Swarm:
    """The bad clients.

    Args:
        port: the server's.
        block: where the addresses are taken from.
        window: how many are connected at a time.
        proxied: all come from one proxy, which says in a PROXY header what their addresses are.
        on_full: called once, when `window` of them are connected, or all are.

    Attributes:
        inputs: how many things were tried.
        outcomes: how many clients got what.
    """

    def __init__(
        self,
        port: int,
        block: int,
        window: int = 64,
        *,
        proxied: bool = False,
        on_full: Callable[[], None] | None = None,
    ) -> None:
        self.inputs = 0
        self.outcomes: Counter[str] = Counter()
        self._port = port
        self._addresses = addresses(block)
        self._window = window
        self._proxied = proxied
        self._on_full = on_full
        self._poll = select.epoll()
        self._guests: dict[int, _Guest] = {}

    def run(self, visits: Iterable[Visit]) -> None:
        """Let them all come, and return when the last one has gone."""
        waiting, more, looked = iter(visits), True, 0.0
        while more or self._guests:
            while more and len(self._guests) < self._window:
                visit = next(waiting, None)
                if visit is None:
                    more = False
                else:
                    self._let_in(visit)
            if self._on_full and (not more or len(self._guests) >= self._window):
                self._on_full()
                self._on_full = None
            for fd, event in self._poll.poll(LOOK_EVERY):
                guest = self._guests.get(fd)
                if guest and event & (select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP):
                    self._read(guest)
                if fd in self._guests and guest and event & select.EPOLLOUT:
                    self._write(guest)
            now = time.monotonic()
            if now - looked >= LOOK_EVERY:
                looked = now
                self._look(now)

    def _let_in(self, visit: Visit) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: ports may repeat at other addresses
        if visit.end is End.STOP:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)  # else the server's kernel takes 2.6 MB for it
        source, header = visit.source, b""
        if self._proxied and visit.told:
            header = f"PROXY TCP4 {source or next(self._addresses)} 127.0.0.1 1 1\r\n".encode()
            source = None
        if source or not self._proxied:
            sock.bind((source or next(self._addresses), 0))
        try:
            sock.settimeout(10)
            sock.connect(("127.0.0.1", self._port))
        except OSError as error:
            self.outcomes[f"not connected: {error.strerror or error}"] += 1
            sock.close()
            return
        sock.setblocking(False)
        guest = self._guests[sock.fileno()] = _Guest(sock, visit, header, time.monotonic())
        self._poll.register(sock, select.EPOLLIN | select.EPOLLOUT)
        self._write(guest)

    def _write(self, guest: _Guest) -> None:
        visit = guest.visit
        try:
            while not guest.said_all:
                if not len(guest.at):
                    said = visit.times - guest.left
                    if not guest.left or not visit.block(said):
                        self._has_said_all(guest)
                        return
                    if visit.every and said and time.monotonic() - guest.spoke < visit.every:
                        self._poll.modify(guest.sock, select.EPOLLIN)
                        return
                    guest.left -= 1
                    guest.at = memoryview(visit.block(said))
                    guest.spoke = time.monotonic()
                if visit.drips:
                    self._poll.modify(guest.sock, select.EPOLLIN)
                    return
                guest.at = guest.at[guest.sock.send(guest.at) :]
        except BlockingIOError:
            return
        except OSError:
            self._read(guest)
            if guest.sock.fileno() in self._guests:
                self._gone(guest, RESET)

    def _has_said_all(self, guest: _Guest) -> None:
        guest.said_all = True
        self._poll.modify(guest.sock, select.EPOLLIN)
        if not guest.visit.after:
            self._end(guest)

    def _end(self, guest: _Guest) -> None:
        match guest.visit.end:
            case End.FINISH:
                try:
                    guest.sock.shutdown(socket.SHUT_WR)
                except OSError:
                    self._read(guest)
            case End.RESET:
                guest.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._gone(guest, "it cut the connection")
            case End.LEAVE:
                self._gone(guest, "it left")
            case End.STOP:
                self._poll.modify(guest.sock, 0)

    def _read(self, guest: _Guest) -> None:
        """Read what there is. What came before an RST can still be read."""
        while True:
            try:
                data = guest.sock.recv(CHUNK)
            except BlockingIOError:
                break
            except OSError:
                self._gone(guest, RESET)
                return
            if not data:
                self._gone(guest, "closed")
                return
            if len(guest.received) < KEPT:
                guest.received += data
        if guest.said_all and guest.visit.after and guest.visit.after in guest.received:
            self._end(guest)

    def _gone(self, guest: _Guest, ending: str) -> None:
        visit, received = guest.visit, bytes(guest.received)
        del self._guests[guest.sock.fileno()]
        self._poll.unregister(guest.sock)
        guest.sock.close()
        if visit.judged_at_the_door:
            self.inputs += visit.inputs
        elif received.startswith(b"HTTP/1.1 101") or not received:  # else it was refused, and nothing was tried
            self.inputs += visit.inputs * (visit.times - guest.left - bool(len(guest.at)))
        self.outcomes.update(outcomes(received, ending))

    def _look(self, now: float) -> None:
        """Let those go on whose time has come, and let those go whose patience is over."""
        for guest in list(self._guests.values()):
            if now - guest.began > guest.visit.patience:
                self._gone(guest, "kept open")
            elif guest.said_all:
                continue
            elif guest.visit.drips and len(guest.at) and now - guest.spoke >= DRIP:
                guest.spoke = now
                try:
                    guest.at = guest.at[guest.sock.send(guest.at[:1]) :]
                except OSError:
                    self._read(guest)
            elif guest.visit.every and not len(guest.at) and now - guest.spoke >= guest.visit.every:
                self._poll.modify(guest.sock, select.EPOLLIN | select.EPOLLOUT)
