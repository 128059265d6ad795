"""What a hub tells other nodes of its newest values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from valtronics_fast._core.hub import Hub

__all__ = ["dumped"]


def dumped(hub: Hub, lanes: Iterable[int], *, look: int = 1000, size: int = 1 << 20) -> dict[int, bytes]:
    """Return the packets of the lanes that have some, looked at and taken in steps."""
    lanes = list(lanes)
    dump = hub.dump(lanes)
    while not dump.look(look):
        pass
    found = {}
    for lane in lanes:
        packets = b"".join(iter(lambda lane=lane: dump.take(lane, size), b""))
        if packets:
            found[lane] = packets
    return found
