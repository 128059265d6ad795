"""What a log is: an order of what several nodes publish that all of them agree on, of which the newest part is kept.

SharedBackplane makes a backplane of any log; `redis_log`, `nats_log` and `bus_log` are the logs there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from valtronics_fast.errors import ValtronicsError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["Batch", "Entry", "Log", "LogError", "Opened", "Receiver"]


class LogError(ValtronicsError):
    """The log can't be reached, or did not do what it was asked; what became of an append is not known."""


class Batch(NamedTuple):
    """What is appended as one piece.

    Attributes:
        lane: where it belongs (lanes.pxd).
        offsets: how many it takes.
        blob: an envelope.
    """

    lane: int
    offsets: int
    blob: bytes


class Entry(NamedTuple):
    """What has been appended.

    Attributes:
        offset: the first of those that it took.
        blob: as it was given.
    """

    offset: int
    blob: bytes


class Opened(NamedTuple):
    """What a log says of itself when it is opened.

    Attributes:
        epoch: tells its offsets from those of another log, or of this one after it has lost everything.
        head: the last offset that it has given.
    """

    epoch: str
    head: int


class Receiver(Protocol):
    """Who gets what comes from a log; called on the event loop, and must not raise."""

    def received(self, lane: int, offset: int, blob: bytes, /) -> None:
        """Something was appended to a lane that is followed. Offsets rise, over all lanes together."""

    def heard(self, data: bytes, offset: int, /) -> None:
        """Something was announced; everything up to an offset has come before it."""

    def told(self, data: bytes, /) -> None:
        """Something was sent to this node alone."""

    def lost(self, error: Exception, /) -> None:
        """The connection is gone, and nothing more comes until the log is opened again."""


class Log(Protocol):
    """A log, as one node sees it. All methods but `close` raise LogError.

    Attributes:
        name: in readiness and statistics.
    """

    name: str

    async def open(self, node: str, receiver: Receiver) -> Opened:
        """Connect, under a node's name."""

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""

    async def append(self, batches: Sequence[Batch]) -> None:
        """Append in order, and return when that is done."""

    async def announce(self, data: bytes) -> None:
        """Let every node hear something that is not kept."""

    async def send(self, node: str, data: bytes) -> None:
        """Tell one node something that is not kept. Whether it is there is not known."""

    async def follow(self, lanes: Collection[int]) -> None:
        """Have lanes' entries come; everything comes that is appended after this has returned."""

    async def unfollow(self, lanes: Collection[int]) -> None:
        """Have lanes' entries come no longer."""

    async def read(self, lane: int, after: int | None) -> tuple[int, list[Entry]]:
        """Return what is kept of a lane.

        Args:
            lane: which one.
            after: entries that end behind this offset; None: the newest ones, as many as the log gives at a time.

        Returns:
            An offset, behind which nothing of the lane is missing, and the entries in order.
        """
