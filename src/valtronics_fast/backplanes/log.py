"""What a log is: an order of what several nodes publish that all of them agree on, of which the newest part is kept.

SharedBackplane makes a backplane of any log; `redis_log`, `nats_log` and `bus_log` are the logs there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from valtronics_fast.errors import ValtronicsError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["Batch", "Entry", "Kept", "Log", "LogError", "Receiver"]


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


class Kept(NamedTuple):
    """What a log still has of a lane.

    Attributes:
        floor: an offset, behind which nothing of the lane is missing.
        entries: in order.
    """

    floor: int
    entries: list[Entry]


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

    async def open(self, node: str, receiver: Receiver, epoch: str, position: int) -> str:
        """Connect.

        Args:
            node: under which name.
            receiver: gets what comes.
            epoch: the last one that this node knew of; in it ...
            position: ... no offset up to this one is given any more.

        Returns:
            The epoch: it tells the log's offsets from those of another one, or of this one after it has lost all.
        """

    async def close(self) -> None:
        """Let go of the connection; what waits for it raises LogError. Idempotent."""

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

    async def sync(self) -> int:
        """Return an offset of now; everything up to it has come to the receiver, as far as it is followed."""

    async def read(self, lanes: Collection[int], after: int | None) -> dict[int, Kept]:
        """Return what is kept of lanes.

        Args:
            lanes: which ones.
            after: entries that end behind this offset; None: the newest ones, as many as the log gives at a time.
        """
