r"""The header of the PROXY protocol, versions 1 and 2, as a pure function of its bytes (HAProxy's proxy-protocol.txt).

A load balancer that passes bytes on, and adds no HTTP header, says with it whose connection this is:

    v1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n
    v2   signature (12) | version, command (1) | family, transport (1) | length (2) | addresses, TLVs (length)

Owns no socket; `entrance` moves the bytes, and asks `bytes_wanted` before each read, so that never a byte of what
comes behind the header is read with it: TLS or the HTTP request find the socket as if there had been no header.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

__all__ = ["MAX_BLOCK", "MAX_LINE", "SIGNATURE", "ProxyHeaderError", "bytes_wanted", "parse_header"]

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"

MAX_LINE: Final = 107
"""Bytes of a header of version 1, line end included (section 2.1)."""

MAX_BLOCK: Final = 4096
"""Bytes of addresses and TLVs that a header of version 2 may announce; the length field itself reaches to 65,535."""

_PREFIX: Final = b"PROXY "
_MIN_LINE: Final = len(b"PROXY UNKNOWN\r\n")
_FIXED: Final = 16  # bytes of version 2 before the addresses

_PORT = r"(?:0|[1-9][0-9]{0,4})"
_LINE = re.compile(rf"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ({_PORT}) ({_PORT})\r\n")
_UNKNOWN_LINE = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
_MAX_PORT = 65_535

_LOCAL, _PROXIED = 0x20, 0x21  # version 2 and the command, in one byte
_UNSPECIFIED, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
_ADDRESS_BYTES: Final = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216}


class ProxyHeaderError(ValueError):
    """This is no header of the PROXY protocol, or not one for a TCP connection. The text is constant."""


def bytes_wanted(received: bytes) -> int:
    """Return how many bytes may be read next without reading beyond the header; 0: it is complete.

    Raises:
        ProxyHeaderError: whatever comes next, these bytes are no header, or one over MAX_LINE or MAX_BLOCK.
    """
    size = len(received)
    if received[: len(SIGNATURE)] == SIGNATURE[:size] and size:
        if size < _FIXED:
            return _FIXED - size
        block = int.from_bytes(received[_FIXED - 2 : _FIXED], "big")
        if block > MAX_BLOCK:
            raise ProxyHeaderError("the header is too long")
        return _FIXED + block - size
    if received[: len(_PREFIX)] != _PREFIX[:size]:
        raise ProxyHeaderError("neither version 1 nor 2")
    if size < _MIN_LINE:
        return _MIN_LINE - size
    if b"\n" in received:
        return 0
    if size >= MAX_LINE:
        raise ProxyHeaderError("the header is too long")
    return 1 if received.endswith(b"\r") else min(2, MAX_LINE - size)


def parse_header(header: bytes) -> IPv4Address | IPv6Address | None:
    """Return the client's address; None where the header tells none.

    It tells none for connections of the proxy's own (LOCAL, a health check) and for clients whose address it does not
    know (UNKNOWN), or that have none here (a Unix socket). What stands behind the addresses (TLVs) is not read.

    Args:
        header: the whole of it, as `bytes_wanted` has it.

    Raises:
        ProxyHeaderError: it is malformed, or is about something other than a TCP connection.
    """
    return _parse_binary(header) if header.startswith(SIGNATURE) else _parse_line(header)


def _parse_line(header: bytes) -> IPv4Address | IPv6Address | None:
    """Return the address in a header of version 1."""
    if _UNKNOWN_LINE.fullmatch(header):
        return None
    line = _LINE.fullmatch(header.decode("latin-1"))
    if line is None or max(int(line[4]), int(line[5])) > _MAX_PORT:
        raise ProxyHeaderError("the line is malformed")
    try:
        source, _ = (IPv4Address(text) if line[1] == "4" else IPv6Address(text) for text in (line[2], line[3]))
    except ValueError:
        raise ProxyHeaderError("an address is malformed") from None
    return source


def _parse_binary(header: bytes) -> IPv4Address | IPv6Address | None:
    """Return the address in a header of version 2."""
    command, family = header[12], header[13]
    if command == _LOCAL:
        return None  # the rest is not to be looked at (section 2.2)
    if command != _PROXIED or family not in _ADDRESS_BYTES:
        raise ProxyHeaderError("version, command, family or transport are not known")
    if len(header) - _FIXED < _ADDRESS_BYTES[family]:
        raise ProxyHeaderError("the addresses are not complete")
    if family == _TCP4:
        return IPv4Address(header[_FIXED : _FIXED + 4])
    return IPv6Address(header[_FIXED : _FIXED + 16]) if family == _TCP6 else None
