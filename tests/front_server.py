"""A server of fronts on a thread of its own, for tests that speak to it through plain sockets.

The gate here is a small one that counts its slots, and the listener echoes. Run as a program it serves on a
free port, which it prints, until its standard input ends (exhausted descriptors need a process).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import trustme
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from certificates import tls_config, trusting
from valtronics_fast._core.scope import Grant
from valtronics_fast.addresses import AddressLimiter, TrustedProxies, rate_key
from valtronics_fast.config_security import SecurityConfig
from valtronics_fast.errors import AuthError
from valtronics_fast.handshake import Policy, Upgrade
from valtronics_fast.origins import Origins
from valtronics_fast.reception import Reception
from valtronics_fast.refusals import Reason, Refusal
from valtronics_fast.suspects import Suspects
from valtronics_fast.tls import ServerTls
from valtronics_fast.units import Rate

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3, and the answer to it:
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
PATIENCE = float(os.environ.get("TEST_TIMEOUT", "20"))


class Echo(WSListener):
    """Sends back what comes, and holds a slot of its gate while it is connected."""

    def __init__(self, gate: SmallGate) -> None:
        self.gate = gate

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.gate.slots += 1

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.gate.slots -= 1

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


class SmallGate:
    """Enough of a server to be refused by: slots, a rate for each address, three kinds of token."""

    def __init__(self, *, slots: int = 1_000_000, rate: Rate | None = None) -> None:
        self.slots = 0
        self.max_slots = slots
        self.limiter = AddressLimiter(rate or Rate(0, 1.0), 1000)
        self.seen: list[tuple[Upgrade, str]] = []
        self.failure: Exception | None = None
        self.granting: Callable[[], Awaitable[Grant | None]] | None = None
        self.max_sessions = 1_000_000
        self.handshakes = 0
        self.max_handshakes = 1_000_000

    def permits_tls(self, address: str) -> bool:
        self.handshakes += 1
        return self.handshakes <= self.max_handshakes

    def refuse_early(self, upgrade: Upgrade, address: str) -> Refusal | None:
        if self.failure is not None:
            raise self.failure
        if wait := self.limiter.take(rate_key(address), asyncio.get_running_loop().time()):
            return Refusal(Reason.ADDRESS_RATE, retry_after=wait)
        return Refusal(Reason.SERVER_FULL, retry_after=5) if self.slots >= self.max_slots else None

    def authenticate(self, upgrade: Upgrade, address: str) -> Grant | Awaitable[Grant | None] | None:
        if self.granting is not None:
            return self.granting()
        match upgrade.token:
            case None:
                return None
            case "alerts-only":
                return Grant("someone", 2e9, channels=0b0010)
            case "good":
                return Grant("someone", 2e9)
        raise AuthError("malformed")

    def open_session(self, upgrade: Upgrade, address: str, grant: Grant | None) -> WSListener:
        if self.slots >= self.max_sessions:
            raise Refusal(Reason.USER_CONNECTIONS, retry_after=30)
        self.seen.append((upgrade, address))
        return Echo(self)


class FrontServer:
    """Runs in a thread between `with` and its end; every argument is optional."""

    def __init__(
        self,
        gate: SmallGate | None = None,
        *,
        timeout: float = 60.0,
        origins: tuple[str, ...] = (),
        trusted: tuple[str, ...] = (),
        query_token: bool = False,
        require_origin: bool = False,
        tls: ServerTls | None = None,
        proxy_protocol: bool = False,
        max_frame_size: int = 64 * 1024,
        ban_after: int = 0,
    ) -> None:
        self.gate = gate or SmallGate()
        self.timeout = timeout
        self.policy = Policy(Origins(origins), query_token=query_token, require_origin=require_origin)
        self.trusted = TrustedProxies(trusted)
        self.suspects = Suspects(SecurityConfig(ban_after=ban_after, trusted_proxies=trusted))
        self.tls = tls
        self.proxy_protocol = proxy_protocol
        self.max_frame_size = max_frame_size
        self.health: Callable[[], dict[str, object]] = lambda: {"status": "ok"}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self.serve())

    async def serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.reception = Reception(
            self.gate,
            policy=self.policy,
            trusted=self.trusted,
            suspects=self.suspects,
            health=lambda: self.health(),
            timeout=self.timeout,
            max_frame_size=self.max_frame_size,
            proxy_protocol=self.proxy_protocol,
            tls=self.tls,
        )
        server = await self.loop.create_server(self.reception.protocol, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        self.reception.close()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the server's thread and return what it returns."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds in the server's thread; fails after a generous time."""

        async def run() -> None:
            while not condition():
                await asyncio.sleep(0.002)

        asyncio.run_coroutine_threadsafe(asyncio.wait_for(run(), PATIENCE), self.loop).result(PATIENCE + 1)

    @contextlib.contextmanager
    def connect(self, tls: ssl.SSLContext | None = None) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is None:
                yield plain
            else:
                with tls.wrap_socket(plain, server_hostname="localhost") as secure:
                    yield secure

    def ask(self, request: bytes) -> Answer:
        """Send a request on a connection of its own and return the answer."""
        with self.connect() as client:
            client.sendall(request)
            return Answer(client)


def tls_contexts() -> tuple[ServerTls, ssl.SSLContext]:
    """Return a server's TLS for localhost and the context of a client that trusts it."""
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as directory:
        return ServerTls(tls_config(authority, Path(directory)), 2.0), trusting(authority)


class Answer:
    """An HTTP answer: the 101 up to its empty line, any other to the end of the connection."""

    def __init__(self, client: socket.socket) -> None:
        received = b""
        while not (received.startswith(b"HTTP/1.1 101") and b"\r\n\r\n" in received):
            data = client.recv(65536)
            if not data:
                break
            received += data
        head, _, self.body = received.partition(b"\r\n\r\n")
        status_line, *fields = head.decode("ascii").split("\r\n")
        self.status = int(status_line.split(" ")[1]) if status_line else 0
        self.headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}


def request(path: str = "/ws", *extra: str, method: str = "GET", **replaced: str | None) -> bytes:
    """Return a good handshake, with more header lines at its end, or with some replaced or (None) left out."""
    fields: dict[str, str | None] = {
        "Host": "example.org",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    fields.update({name.replace("_", "-"): value for name, value in replaced.items()})
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, *extra, "", ""]).encode("latin-1")


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """Return a masked frame."""
    size, mask = len(payload), b"\x11\x22\x33\x44"
    if size < 126:
        header = bytes([0x80 | opcode, 0x80 | size])
    elif size < 65536:
        header = bytes([0x80 | opcode, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        header = bytes([0x80 | opcode, 0x80 | 127]) + size.to_bytes(8, "big")
    pad = (mask * (size // 4 + 1))[:size]
    return header + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def read_frame(client: socket.socket, received: bytes = b"") -> tuple[int, bytes]:
    """Return opcode and payload of the one frame that comes."""
    stream = bytearray(received)

    def take(size: int) -> bytes:
        while len(stream) < size:
            data = client.recv(65536)
            assert data, "the connection ended within a frame"
            stream.extend(data)
        taken = bytes(stream[:size])
        del stream[:size]
        return taken

    opcode, size = take(2)
    if size >= 126:
        size = int.from_bytes(take(2 if size == 126 else 8), "big")
    payload = take(size)
    assert not stream
    return opcode & 15, payload


def main() -> None:
    with FrontServer() as server:
        print(server.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
