"""Envelopes: several packets of one lane and one node, numbered, so that a repeat and a gap are noticed."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from valtronics_fast._core.packet import PacketError

__all__ = ["MAX_BYTES", "MAX_PACKETS", "Envelope", "seal", "unseal"]

MAX_PACKETS = 512
"""Packets of an envelope, at most."""

MAX_BYTES = 256 << 10
"""Bytes of packets behind which an envelope gets no more of them: brokers bound the size of a message."""

_MAGIC = b"vfl\x01"
_HEAD = struct.Struct("<4sQQH")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What one node has published in one lane, about as one piece.

    Attributes:
        node: who; a number of 63 bits that it drew at its start.
        sequence: the lane's envelopes of that node are numbered from 1.
        count: how many packets.
        packets: one after the other (packet.pxd). None at all: the node has given up what had this number, and those
            before it that have not come.
    """

    node: int
    sequence: int
    count: int
    packets: bytes


def seal(envelope: Envelope) -> bytes:
    """Return an envelope's bytes."""
    return _HEAD.pack(_MAGIC, envelope.node, envelope.sequence, envelope.count) + envelope.packets


def unseal(blob: bytes) -> Envelope:
    """Return the envelope of its bytes.

    Raises:
        PacketError: they are none, or of a version that this one does not know.
    """
    if len(blob) < _HEAD.size:
        raise PacketError("an envelope ends too early")
    magic, node, sequence, count = _HEAD.unpack_from(blob)
    if magic != _MAGIC:
        raise PacketError("not an envelope of this version")
    if not sequence or not 0 < count <= MAX_PACKETS:
        raise PacketError("an envelope has impossible numbers")
    return Envelope(node, sequence, count, blob[_HEAD.size :])
