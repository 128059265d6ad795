"""Headers of the PROXY protocol, and what is none, read as `entrance` reads them: never a byte too many."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valtronics_fast.proxy_protocol import (
    MAX_BLOCK,
    MAX_LINE,
    SIGNATURE,
    ProxyHeaderError,
    bytes_wanted,
    parse_header,
)

Address = IPv4Address | IPv6Address

LONGEST = b"PROXY TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n"
HEADERS = (LONGEST, b"PROXY TCP4 1.2.3.4 1.2.3.4 0 0\r\n")


def line(source: object, destination: object = None, family: str = "") -> bytes:
    """Return a header of version 1."""
    target = destination or source
    name = family or ("TCP4" if isinstance(source, IPv4Address) else "TCP6")
    return f"PROXY {name} {source} {target} 56324 443\r\n".encode()


def binary(block: bytes = b"", *, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    """Return a header of version 2."""
    size = len(block) if length is None else length
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", size) + block


def addresses(source: Address, more: bytes = b"") -> bytes:
    """Return the header of version 2 for a client, with TLVs behind it."""
    ports = struct.pack("!HH", 56324, 443)
    return binary(source.packed * 2 + ports + more, family=0x11 if source.version == 4 else 0x21)


def read(stream: bytes, sizes: tuple[int, ...] = ()) -> tuple[bytes, bytes]:
    """Read a header off a stream in pieces of at most these sizes; return it and what is left."""
    received = b""
    pieces = iter(sizes)
    while wanted := bytes_wanted(received):
        piece = stream[len(received) :][: min(wanted, next(pieces, wanted))]
        assert piece, "it wants more than there is"
        received += piece
    return received, stream[len(received) :]


ADDRESSES = st.ip_addresses()
GOOD = (
    st.builds(line, ADDRESSES)
    | st.builds(addresses, ADDRESSES, st.binary(max_size=300))
    | st.sampled_from([b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ff:: :: 1 2 and more\r\n", binary(command=0x20, family=0)])
)


@given(ADDRESSES, st.binary(max_size=300))
@example(ip_address("255.255.255.255"), b"")
def test_both_versions_tell_the_client(source: Address, more: bytes) -> None:
    for header in (line(source), addresses(source), addresses(source, more)):
        assert read(header + b"GET /ws") == (header, b"GET /ws")
        assert parse_header(header) == source


@given(GOOD, st.binary(max_size=50), st.lists(st.integers(1, 40), max_size=50).map(tuple))
def test_not_a_byte_behind_the_header_is_read_however_it_comes(
    header: bytes, behind: bytes, sizes: tuple[int, ...]
) -> None:
    assert read(header + behind, sizes) == (header, behind)


@pytest.mark.parametrize("header", [*HEADERS, addresses(ip_address("2001:db8::1"), b"abc")])
def test_split_at_every_byte(header: bytes) -> None:
    for place in range(1, len(header)):
        assert read(header + b"\n", (place,)) == (header, b"\n")
        assert read(header + b"\n", (1,) * place) == (header, b"\n")
    assert parse_header(header) is not None


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 garbage \x00\xff\r\n",
        binary(command=0x20, family=0x00),
        binary(b"\0" * 12, command=0x20),
        binary(b"whatever", command=0x20, family=0x77),
        binary(family=0x00),
        binary(b"tlv", family=0x00),
        binary(b"/" * 216, family=0x31),
    ],
)
def test_headers_that_tell_no_address(header: bytes) -> None:
    assert read(header) == (header, b"")
    assert parse_header(header) is None


BAD = {
    "another family": line(ip_address("192.0.2.1"), family="TCP6"),
    "mixed": line(ip_address("192.0.2.1"), "::1"),
    "UDP": line(ip_address("192.0.2.1"), family="UDP4"),
    "no address": b"PROXY TCP4 x y 1 2\r\n",
    "short address": b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
    "leading zero": b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
    "scope": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "three fields": b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
    "five fields": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
    "two blanks": b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
    "port too large": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
    "port with a sign": b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
    "port with a zero": b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
    "line feed alone": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
    "line feed within": b"PROXY TCP4 1.2.3.4\n1.2.3.4 1 2\r\n",
    "return within": b"PROXY TCP4 1.2.3.4\r1.2.3.4 1 2\r\n",
    "unknown and more": b"PROXY UNKNOWNX\r\n",
    "unknown with a return": b"PROXY UNKNOWN \r \r\n",
    "lower case": b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "too long": b"PROXY UNKNOWN " + b"x" * MAX_LINE + b"\r\n",
    "without end": b"PROXY TCP4 " + b"1" * 1000,
    "HTTP": b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "version 1 in version 2": binary(bytes(12), command=0x11),
    "version 3": binary(bytes(12), command=0x31),
    "command 2": binary(bytes(12), command=0x22),
    "datagrams": binary(bytes(12), family=0x12),
    "Unix datagrams": binary(bytes(216), family=0x32),
    "family 4": binary(bytes(216), family=0x41),
    "TCP4 too short": binary(bytes(11)),
    "TCP6 too short": binary(bytes(35), family=0x21),
    "Unix too short": binary(bytes(215), family=0x31),
    "block too long": binary(length=MAX_BLOCK + 1),
    "signature with a fault": SIGNATURE[:-1] + b"\r" + bytes(4),
}


@pytest.mark.parametrize("stream", BAD.values(), ids=BAD)
def test_what_is_no_header(stream: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        parse_header(read(stream)[0])


@pytest.mark.parametrize("sent", [b"G", b"\r\n\r\n\x00\r\nQUIT\r", b"PROXY UNKNOWN " + b"x" * (MAX_LINE - 14)])
def test_more_is_not_asked_for_when_it_can_be_no_header(sent: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        bytes_wanted(sent)


def test_the_bounds_are_exact() -> None:
    assert len(LONGEST) <= MAX_LINE
    for header in (b"PROXY UNKNOWN " + b"x" * (MAX_LINE - 16) + b"\r\n", binary(bytes(MAX_BLOCK))):
        assert read(header + b"x") == (header, b"x")
    assert len(b"PROXY UNKNOWN " + b"x" * (MAX_LINE - 16) + b"\r\n") == MAX_LINE


@given(GOOD, st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_gives_a_header_or_an_error(header: bytes, place: int, byte: int) -> None:
    changed = bytearray(header)
    changed[place % len(header)] = byte
    only_header_errors(bytes(changed))


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21"]), st.binary(max_size=300))
def test_anything_gives_a_header_or_an_error(start: bytes, rest: bytes) -> None:
    only_header_errors(start + rest)


def only_header_errors(stream: bytes) -> None:
    """Read what may be a header; it is bounded, and what it tells is an address or nothing."""
    received = b""
    try:
        while wanted := bytes_wanted(received):
            assert len(received) + wanted <= 16 + MAX_BLOCK
            piece = stream[len(received) :][:wanted]
            if not piece:
                return
            received += piece
        assert isinstance(parse_header(received), Address | None)
    except ProxyHeaderError:
        pass
