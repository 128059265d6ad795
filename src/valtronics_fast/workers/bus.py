"""The log between the workers of one machine, as the supervisor keeps it: it gives the offsets, in one order for all.

Offsets follow the clock in microseconds, so that a supervisor that is started anew never gives one again.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from valtronics_fast.backplanes.members import Heartbeat
from valtronics_fast.workers import frames
from valtronics_fast.workers.kept import LANES, Kept

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Bus", "Port"]


_REQUESTS = {frames.APPEND, frames.SEND, frames.FOLLOW, frames.UNFOLLOW, frames.READ, frames.SYNC}


class Port(Protocol):
    """A worker, as the bus sees it."""

    def put(self, data: bytes, /) -> None:
        """Write a frame soon, with others."""

    def put_entry(self, data: bytes, /) -> None:
        """Write a frame soon that may be lost together with all later ones: then `Bus.drop` is called."""

    def settle(self, done: Callable[[], None], /) -> None:
        """Call back once little waits for this worker."""


class Bus:
    """Takes the workers' requests (frames.py).

    Args:
        entries: that are kept of a lane.
        size: bytes that are kept of all lanes.

    Attributes:
        kept: what can be read again.
        head: the last offset that was given.
        appended: entries since the start.
        losses: how often a worker was told that it has lost the log.
    """

    def __init__(self, entries: int, size: int) -> None:
        self.kept = Kept(entries, size)
        self.epoch = secrets.token_hex(8)
        self.head = time.time_ns() // 1000
        self.appended = 0
        self.losses = 0
        self._nodes: dict[Port, bytes] = {}
        self._ports: dict[bytes, Port] = {}
        self._followers: list[list[Port]] = [[] for _ in range(LANES)]

    # --- requests

    def take(self, port: Port, kind: int, body: bytes) -> None:
        """Take a frame of a worker; those that are not for the log are refused with a ValueError."""
        if kind == frames.ANNOUNCE:
            if port in self._nodes:
                self.announce(body)
        elif kind == frames.LEAVE:
            self.close(port)
        elif kind == frames.OPEN:
            self._open(port, body)
        elif kind not in _REQUESTS:
            raise ValueError(f"no such frame: {kind}")
        elif port not in self._nodes:
            self._answer(port, body, b"it is not open", refused=True)
        else:
            self._serve(port, kind, body)

    def _serve(self, port: Port, kind: int, body: bytes) -> None:
        """Do what is asked for, and answer."""
        if kind == frames.APPEND:
            self._append(body)
            self._answer(port, body)
        elif kind == frames.SEND:
            self._send(port, body)
        elif kind == frames.READ:
            self._read(port, body)
        elif kind == frames.SYNC:
            self._answer(port, body, frames.OFFSET.pack(self.head))
        else:
            self._follow(port, frames.unpack_lanes(body[4:]), following=kind == frames.FOLLOW)
            self._answer(port, body)

    def _answer(self, port: Port, request: bytes, payload: bytes = b"", *, refused: bool = False) -> None:
        port.put(frames.frame(frames.ANSWER, request[:4], b"\1" if refused else b"\0", payload))

    def _open(self, port: Port, body: bytes) -> None:
        node = body[4:]
        self.close(port)
        self._nodes[port] = node
        self._ports[node] = port
        self._answer(port, body, self.epoch.encode())

    def _append(self, body: bytes) -> None:
        now = time.time_ns() // 1000
        head, kept, followers = self.head, self.kept, self._followers
        at, end = frames.NUMBER.size, len(body)
        while at < end:
            lane, offsets, size = frames.BATCH.unpack_from(body, at)
            at += frames.BATCH.size
            blob = body[at : at + size]
            at += size
            offset = max(head + 1, now)
            head = offset + offsets - 1
            kept.add(lane, offset, offsets, blob)
            if followers[lane]:
                data = frames.ENTRY_FRAME.pack(frames.ENTRY_HEAD.size + size, frames.ENTRY, lane, offset) + blob
                for port in followers[lane]:
                    port.put_entry(data)
            self.appended += 1
        self.head = head

    def _send(self, port: Port, body: bytes) -> None:
        """Pass something on, and answer when little waits for its receiver: so that not everything waits at once."""
        node, data = body[4:20], body[20:]
        receiver = self._ports.get(node)
        if receiver is None:
            self._answer(port, body)
            return
        receiver.put(frames.frame(frames.TOLD, data))
        request = body[:4]
        receiver.settle(lambda: self._answer(port, request))

    def _read(self, port: Port, body: bytes) -> None:
        lane, after = frames.READING.unpack_from(body, 4)
        floor, entries, more = self.kept.read(lane, None if after < 0 else after)
        parts = [frames.READ_HEAD.pack(floor, more)]
        for offset, offsets, blob in entries:
            parts += (frames.READ_ENTRY.pack(offset, offsets, len(blob)), blob)
        self._answer(port, body, b"".join(parts))

    def _follow(self, port: Port, lanes: list[int], *, following: bool) -> None:
        for lane in lanes:
            followers = self._followers[lane]
            if following and port not in followers:
                followers.append(port)
            elif not following and port in followers:
                followers.remove(port)

    # --- what happens to workers

    def announce(self, data: bytes) -> None:
        """Let every worker hear something that is not kept."""
        heard = frames.frame(frames.HEARD, frames.OFFSET.pack(self.head), data)
        for port in self._nodes:
            port.put_entry(heard)

    def close(self, port: Port) -> None:
        """A worker has closed the log."""
        node = self._nodes.pop(port, None)
        if node is not None and self._ports.get(node) is port:
            del self._ports[node]
        self._follow(port, list(range(LANES)), following=False)

    def end(self, port: Port) -> None:
        """A worker has ended: the others need not wait until they miss its heartbeats."""
        node = self._nodes.get(port)
        self.close(port)
        if node is not None:
            self.announce(msgspec.json.encode(Heartbeat(node=int(node, 16), number=1, leaving=True)))

    def drop(self, port: Port) -> None:
        """A worker does not read: it loses the log, and has to open it again."""
        if port not in self._nodes:
            return
        self.losses += 1
        self.close(port)
        port.put(frames.frame(frames.LOST, b"this process did not read"))
