"""Target: what another node of a cluster sends, which is packets (packet.pxd)."""

from __future__ import annotations

import struct
from math import nan
from typing import TYPE_CHECKING

from dumped import dumped
from fuzz.target import Target
from valtronics_fast._core.checks import check_hub
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.packet import PacketError, cut, repack
from valtronics_fast._core.wire import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_METRICS, MAX_NAME, MAX_DEVICE = 256, 128, 64
NO_DEVICE, NUMBER, TEXT = range(3)
NO_NAME = b"\xff"


class _Reader:
    """Reads packets as their page has them, and writes down what a node would send for what it has read.

    Attributes:
        written: that.
    """

    def __init__(self, data: bytes) -> None:
        self._left = data
        self.written = b""

    def _take(self, size: int) -> bytes:
        taken, self._left = self._left[:size], self._left[size:]
        assert len(taken) == size
        self.written += taken
        return taken

    def _size(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _name(self, most: int) -> None:
        size = self._size(1)
        assert 1 <= size <= most
        self._take(size).decode()

    def packet(self) -> None:
        """Read a packet.

        Raises:
            AssertionError, UnicodeDecodeError: it is none.
        """
        body = _Reader(self._take(self._size(4)))
        body._body()
        assert not body._left
        self.written = self.written[: -len(body.written)] + body.written

    def _body(self) -> None:
        channel, kind = self._size(1), self._size(1)
        assert channel in set(Channel)
        assert kind != NO_DEVICE or channel in {Channel.SYSTEM, Channel.ALERTS}
        if kind == NUMBER:
            self._take(8)
        elif kind == TEXT:
            self._name(MAX_DEVICE)
        else:
            assert kind == NO_DEVICE
        count = self._size(2)
        assert count <= MAX_METRICS
        assert (count > 0) == (channel in {Channel.TELEMETRY, Channel.SYSTEM})
        if count:
            self._take(self._size(4))
            self._take(self._size(4))
            for _ in range(count):
                self._metric()
        else:
            self._name(MAX_NAME)
            if self._left[:1] == NO_NAME:
                self._take(1)
            else:
                self._name(MAX_NAME)
            self._take(self._size(4))

    def _metric(self) -> None:
        self._name(MAX_NAME)
        self._take(self._size(4))
        (number,) = struct.unpack("<d", self._take(8))
        if number != number:
            self.written = self.written[:-8] + struct.pack("<d", nan)  # any NaN says that there is no number


def _expected(data: bytes) -> bytes | None:
    """Return what packets are when they are written anew, None: they are none."""
    reader = _Reader(data)
    try:
        while reader._left:
            reader.packet()
    except (AssertionError, UnicodeDecodeError):
        return None
    return reader.written


def start_packet() -> Callable[[bytes], None]:
    """Packets: refused where they are none, the same bytes where they are some, and a hub takes them or none."""
    lanes = range(256)

    def make_hub() -> Hub:
        # Without lanes, of which only subscriptions make use, and which take long to check.
        return Hub(lambda _: None, 0.0, names=64, max_latest=1 << 12, history=4, epoch="e")

    def run(data: bytes) -> None:
        hub, other = make_hub(), make_hub()
        other.advance_log(1000)  # what it absorbs came before
        expected = _expected(data)
        try:
            assert repack(data) == expected
            hub.receive(data, 1, 0.0)
            other.absorb([(data, 1)], newest=False, now=0.0)
            other.absorb([(data, 1)], newest=True, now=0.0)
        except PacketError:
            assert expected is None
        for packets in dumped(hub, lanes, look=1, size=1).values():
            assert repack(packets) == packets
            for piece in cut(packets, 1):
                other.absorb([(piece, 1)], newest=True, now=0.0)
        check_hub(hub)
        check_hub(other)

    return run


TARGETS = {"packet": Target(start_packet)}
