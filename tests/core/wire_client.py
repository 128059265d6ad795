"""A WebSocket client that does as it is told: any frame, any split, and it reads only when asked to."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from valtronics_fast._core.wire import Opcode

if TYPE_CHECKING:
    import ssl

    from valtronics_fast._core.session import Session

TIMEOUT = float(os.environ.get("TEST_TIMEOUT", "30"))
HANDSHAKE = (
    "GET {} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT, BINARY, CONTINUATION = Opcode.OP_TEXT, Opcode.OP_BINARY, Opcode.OP_CONTINUATION
CLOSE, PING, PONG = Opcode.OP_CLOSE, Opcode.OP_PING, Opcode.OP_PONG


class Frame(NamedTuple):
    """A frame of the server."""

    opcode: int
    payload: bytes


class GoneError(Exception):
    """The server has closed or cut the socket."""


class ClosedError(Exception):
    """The server has sent a CLOSE frame where none was expected."""


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bytes | None = b"\x5a\x01\xc3\x7f"
) -> bytes:
    """Return the bytes of a frame as a client sends it; reserved: the three RSV bits; mask None: not masked."""
    masked = 0x80 if mask is not None else 0
    head = bytes((fin << 7 | reserved << 4 | opcode,))
    if len(payload) < 126:
        head += bytes((masked | len(payload),))
    elif len(payload) < 65536:
        head += bytes((masked | 126,)) + struct.pack("!H", len(payload))
    else:
        head += bytes((masked | 127,)) + struct.pack("!Q", len(payload))
    if mask is None:
        return head + payload
    key = int.from_bytes((mask * (len(payload) // 4 + 1))[: len(payload)], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(len(payload), "big")


def text(message: object) -> bytes:
    """Return the bytes of a text frame with a JSON document."""
    return frame(TEXT, orjson.dumps(message))


class Client:
    """One connection. What has been read and not asked for yet stays in its buffer.

    Attributes:
        session: the other end.
        inflates: whether the server may send compressed messages.
        compressed: whether the last frame was one; its payload is as it came.
    """

    session: Session
    inflates = False
    compressed = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self._barriers = itertools.count(1)

    # Bytes

    @property
    def port(self) -> int:
        """The client's own, by which the server's side knows it."""
        port: int = self._sock.getsockname()[1]
        return port

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        async with asyncio.timeout(TIMEOUT):
            await self._send(data)

    async def read_more(self, size: int = 65536) -> None:
        """Read what there is, at least a byte."""
        async with asyncio.timeout(TIMEOUT):
            try:
                data = await self._receive(size)
            except ConnectionError as error:
                raise GoneError from error
        if not data:
            raise GoneError
        self._buffer += data

    async def read_until(self, end: bytes) -> bytes:
        """Return everything up to a run of bytes, which is included."""
        while end not in self._buffer:
            await self.read_more()
        size = self._buffer.index(end) + len(end)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def read_exactly(self, size: int) -> bytes:
        """Return the next bytes."""
        while len(self._buffer) < size:
            await self.read_more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def read_to_the_end(self) -> bytes:
        """Return all bytes up to the end of the connection, however it ends."""
        with contextlib.suppress(GoneError):
            while True:
                await self.read_more()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def _send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def _receive(self, size: int) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._sock, size)

    # Frames

    async def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0) -> None:
        await self.write(frame(opcode, payload, fin=fin, reserved=reserved))

    async def receive(self, chunk: int = 65536) -> Frame:
        """Return the next frame, which must be one that RFC 6455 lets a server send; read `chunk` bytes at a time."""
        while (found := self._cut_frame()) is None:
            await self.read_more(chunk)
        return found

    def _cut_frame(self) -> Frame | None:
        data = self._buffer
        if len(data) < 2:
            return None
        assert data[0] & (0x30 if self.inflates else 0x70) == 0, "RSV bits"
        assert data[0] & 0x80, "the server never fragments"
        assert data[1] & 0x80 == 0, "a server's frame is not masked"
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(data) < start:
                return None
            size = int.from_bytes(data[2:start], "big")
            assert size >= (126 if start == 4 else 65536), "the length is not minimal"
        if len(data) < start + size:
            return None
        result = Frame(data[0] & 0xF, bytes(data[start : start + size]))
        self.compressed = bool(data[0] & 0x40)
        del data[: start + size]
        return result

    # Messages

    async def say(self, **message: object) -> None:
        """Send a command."""
        await self.write(text(message))

    @staticmethod
    def decode(received: Frame) -> dict[str, Any]:
        """Return a frame's message; only a text frame has one."""
        if received.opcode == CLOSE:
            raise ClosedError(received.payload)
        assert received.opcode == TEXT
        message: dict[str, Any] = orjson.loads(received.payload)
        return message

    async def hear(self) -> dict[str, Any]:
        """Return the next message."""
        return self.decode(await self.receive())

    async def ask(self, **message: object) -> dict[str, Any]:
        """Send a command and return the next message."""
        await self.say(**message)
        return await self.hear()

    async def settled(self) -> list[dict[str, Any]]:
        """Return the messages that the server has sent up to now: those before the pong to a ping."""
        mark = b"barrier %d" % next(self._barriers)
        await self.send(PING, mark)
        messages = []
        while (received := await self.receive()) != Frame(PONG, mark):
            if received.opcode != PONG:
                messages.append(self.decode(received))
        return messages

    # Ends

    async def closing(self) -> tuple[list[dict[str, Any]], int, str]:
        """Return the messages before the server's CLOSE, its code and its reason."""
        messages = []
        while (received := await self.receive()).opcode != CLOSE:
            if received.opcode == TEXT:
                messages.append(self.decode(received))
        code = int.from_bytes(received.payload[:2], "big")
        return messages, code, received.payload[2:].decode()

    async def close_code(self) -> int:
        """Return the code of the server's CLOSE, whatever comes before it."""
        return (await self.closing())[1]

    async def rest(self) -> list[Frame]:
        """Return the frames up to the end of the connection; half a frame at the end is an error."""
        frames = []
        with contextlib.suppress(GoneError):
            while True:
                frames.append(await self.receive())
        assert not self._buffer
        return frames

    def close(self) -> None:
        """Close the socket without a closing handshake."""
        self._sock.close()

    def reset(self) -> None:
        """Close the socket with an RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


class TlsClient(Client):
    """A client over TLS; what it does not read waits in small buffers of its own and in the kernel."""

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the TLS handshake on a connected socket."""
        self._reader, self._writer = await asyncio.open_connection(
            sock=self._sock, ssl=context, server_hostname="localhost", limit=4096
        )

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _receive(self, size: int) -> bytes:
        return await self._reader.read(size)

    def close(self) -> None:
        """Cut the connection."""
        self._writer.transport.abort()
