"""Targets: what strangers send before they are in, which is PROXY headers and request heads."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import weakref
from ipaddress import ip_address
from typing import TYPE_CHECKING

from aiohttp.http_parser import HttpRequestParser

from fuzz.target import Target, expect
from valtronics_fast import addresses, front, handshake, origins, proxy_protocol
from valtronics_fast.addresses import TrustedProxies, client_address
from valtronics_fast.config_security import SecurityConfig
from valtronics_fast.front import Front
from valtronics_fast.handshake import HEALTH_PATH, SUBPROTOCOLS, Policy, Upgrade
from valtronics_fast.origins import Origins
from valtronics_fast.proxy_protocol import MAX_BLOCK, MAX_LINE, SIGNATURE, ProxyHeaderError, bytes_wanted, parse_header
from valtronics_fast.reception import Reception
from valtronics_fast.refusals import Reason, Refusal
from valtronics_fast.suspects import Suspects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# --- The PROXY protocol


def _proxied(stream: bytes) -> tuple[int, bytes | None] | None:
    """Return the size of the header that a stream begins with, and the client's address, packed; None: it is bad.

    A stream that ends within the header counts as bad.
    """
    if stream.startswith(SIGNATURE):
        if len(stream) < 16:
            return None
        command, family, size = struct.unpack("!BBH", stream[12:16])
        block = stream[16 : 16 + size]
        if size > MAX_BLOCK or len(block) < size:
            return None
        if command == 0x20:
            return 16 + size, None
        needed = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}.get(family)
        if command != 0x21 or needed is None or size < needed:
            return None
        return 16 + size, {0x11: block[:4], 0x21: block[:16]}.get(family)
    end = stream.find(b"\n") + 1
    line = stream[:end].decode("latin-1")
    if not 0 < end <= MAX_LINE or not line.endswith("\r\n") or "\r" in line[:-2]:
        return None
    words = line[:-2].split(" ")
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return end, None
    if len(words) != 6 or words[:2] not in (["PROXY", "TCP4"], ["PROXY", "TCP6"]):
        return None
    family = socket.AF_INET if words[1] == "TCP4" else socket.AF_INET6
    try:
        source, _ = (socket.inet_pton(family, word) for word in words[2:4])
    except (OSError, UnicodeEncodeError, ValueError):
        return None
    good = all(word.isascii() and word.isdigit() and str(int(word)) == word < "9" * 6 for word in words[4:])
    return (end, source) if good and max(map(int, words[4:])) <= 65535 else None


def start_proxy() -> Callable[[bytes], None]:
    """What a proxy sends first: the address is that which the sockets of the system read, and nothing more is read."""

    def read(stream: bytes, most: int) -> tuple[int, bytes | None] | None:
        received = b""
        try:
            while wanted := bytes_wanted(received):
                piece = stream[len(received) :][: min(wanted, most)]
                if not piece:
                    return None
                received += piece
            told = parse_header(received)
        except ProxyHeaderError:
            return None
        return len(received), None if told is None else told.packed

    def run(data: bytes) -> None:
        expected = _proxied(data)
        for most in (MAX_BLOCK, 1, 7):
            assert read(data, most) == expected

    return run


# --- The request head

PROXY, STRANGER = "10.0.0.1", "192.0.2.7"
TRUSTED = TrustedProxies(["10.0.0.0/8", "fd00::/8"])
ORIGINS = ["https://app.example.org", "https://*.example.net", "http://localhost:3000", "null"]
STATUSES = {reason.status for reason in Reason} | {200}
FORWARDED = {"x-forwarded-for": "6.6.6.6", "forwarded": "for=6.6.6.6"}
LABEL = re.compile(r"[a-z0-9_-]+")


class _Gate:
    """Notes who would get in, and has no room."""

    def __init__(self) -> None:
        self.seen: list[tuple[Upgrade, str]] = []

    def permits_tls(self, address: str) -> bool:
        raise AssertionError("there is no TLS")

    def refuse_early(self, upgrade: Upgrade, address: str) -> Refusal:
        self.seen.append((upgrade, address))
        return Refusal(Reason.SERVER_FULL, retry_after=5)

    authenticate = open_session = permits_tls


class _Transport(asyncio.Transport):
    """What a front asks of its socket."""

    def __init__(self, peer: str) -> None:
        super().__init__({"peername": (peer, 1)})
        self.written = b""
        self.ended = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        assert not self.ended
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return False


def _origin_is_known(origin: str) -> bool:
    if origin == "null":
        return True
    text = origin.lower()
    if text.startswith("https://"):
        host = text.removeprefix("https://").removesuffix(":443")
        labels = host.split(".")
        below = labels[-2:] == ["example", "net"] and len(labels) > 2 and all(map(LABEL.fullmatch, labels))
        return host == "app.example.org" or below
    return text == "http://localhost:3000"


def _elements(headers: Mapping[str, list[str]], name: str) -> list[str]:
    return [element.strip(" \t") for value in headers.get(name, []) for element in value.split(",")]


def _check_upgrade(upgrade: Upgrade, address: str, head: bytes, peer: str, policy: Policy) -> None:
    """Check a request that is let in: aiohttp must read the same in it, and find what RFC 6455 asks for."""
    parser = HttpRequestParser(None, None, 1 << 16, max_line_size=1 << 16, max_headers=200, max_field_size=1 << 16)
    ((message, _),), *_ = parser.feed_data(head + b"\r\n\r\n")
    headers: dict[str, list[str]] = {}
    for name, value in message.raw_headers:
        headers.setdefault(name.decode("ascii").lower(), []).append(value.decode("latin-1"))
    assert headers == upgrade.request.headers
    path, _, query = message.path.partition("?")
    assert (path, query) == (upgrade.request.path, upgrade.request.query)
    assert (message.method, message.version) == ("GET", (1, 1))
    assert "websocket" in [word.lower() for word in _elements(headers, "upgrade")]
    assert "upgrade" in [word.lower() for word in _elements(headers, "connection")]
    assert headers["sec-websocket-version"] == ["13"]
    assert headers["sec-websocket-key"] == [upgrade.key]
    assert len(headers["host"]) == 1
    assert all(map(_origin_is_known, headers.get("origin", [])))
    assert "origin" in headers or not policy.require_origin
    assert "transfer-encoding" not in headers
    assert not any(int(size) for size in headers.get("content-length", []))
    offered = _elements(headers, "sec-websocket-protocol")
    assert upgrade.subprotocol == next((name for name in offered if name in SUBPROTOCOLS), None)
    told = {name.removeprefix("bearer.") for name in offered if name.startswith("bearer.")}
    told |= {value[7:].strip(" ") for value in headers.get("authorization", []) if value[:7].lower() == "bearer "}
    assert upgrade.token is None or upgrade.token in told or policy.query_token
    assert len(told) <= 1
    _check_address(address, peer, headers)


def _check_address(address: str, peer: str, headers: dict[str, list[str]]) -> None:
    """Check whose request it is: nobody's word counts but that of proxies, and left of the client there is no word."""
    if peer == STRANGER:
        assert address == peer
        return
    client = ip_address(address)
    assert address == str(client)
    if client in TRUSTED:
        return
    assert any(name in headers for name in FORWARDED)
    lied = {name: [lie, *headers[name]] for name, lie in FORWARDED.items() if name in headers}
    assert client_address(peer, lied, TRUSTED) == address
    for name, lie in FORWARDED.items():
        if name in headers:
            behind = {name: [*headers[name], lie.replace("6.6.6.6", PROXY)]}
            assert client_address(peer, behind, TRUSTED) == address


def start_head() -> Callable[[bytes], None]:
    """A byte of settings, a byte for where the rest is cut in two, and a request head, into a front.

    However it comes it is answered once, in the same way.
    """
    loop = asyncio.new_event_loop()
    gate = _Gate()

    async def receptions() -> list[Reception]:
        return [
            Reception(
                gate,
                policy=Policy(
                    Origins(ORIGINS), query_token=bool(bits & 1), compression=True, require_origin=bool(bits & 2)
                ),
                trusted=TRUSTED,
                suspects=Suspects(SecurityConfig()),
                health=lambda: {"status": "ok"},
                timeout=0,
                max_frame_size=1 << 16,
            )
            for bits in range(4)
        ]

    ways = loop.run_until_complete(receptions())  # their timers are set, and never fire

    def answer(reception: Reception, peer: str, pieces: list[bytes]) -> bytes:
        transport = _Transport(peer)
        one = Front(reception)
        one.connection_made(transport)
        for piece in filter(None, pieces):
            at = 0
            while at < len(piece):
                room = one.get_buffer(-1)
                size = min(len(room), len(piece) - at)
                room[:size] = piece[at : at + size]
                one.buffer_updated(size)
                at += size
        one.connection_lost(None)
        assert reception.half_open == 0
        return transport.written

    def run(data: bytes) -> None:
        if len(data) < 2:
            return
        reception = ways[data[0] & 3]
        peer = PROXY if data[0] & 4 else STRANGER
        request = data[2:] + b"\r\n\r\n"
        cut = data[1] * len(request) // 255
        gate.seen.clear()
        told = answer(reception, peer, [request])
        assert answer(reception, peer, [request[:cut], request[cut:]]) == told
        head, _, body = told.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("ascii").split("\r\n")
        status = int(status_line.removeprefix("HTTP/1.1 ")[:3])
        expect(status, STATUSES)
        fields = dict(line.split(": ", 1) for line in lines)
        assert len(fields) == len(lines)
        assert len(body) in {int(fields["Content-Length"]), 0 if request.startswith(b"HEAD ") else -1}
        assert (status == 200) <= (HEALTH_PATH.encode() in request)
        for upgrade, address in gate.seen:
            _check_upgrade(upgrade, address, request.partition(b"\r\n\r\n")[0], peer, reception.policy)

    weakref.finalize(run, loop.close)
    return run


TARGETS = {
    "proxy": Target(start_proxy, (proxy_protocol,)),
    "head": Target(start_head, (addresses, front, handshake, origins)),
}
