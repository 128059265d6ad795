"""What was published, what each client got of it, and how the two compare.

Each device's telemetry is numbered 1, 2, 3, ..., and so are its alerts; a stream is one of the two. What a client lacks
counts as announced when the server has told it so (`resync`, `recovered: false`) since the last number that it got of
that stream, or tells it before the end of the row; else it is lost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Stream = tuple[str, int]
"""A channel and a device."""


@dataclass
class Tally:
    """Messages, over all clients.

    Attributes:
        expected: that somebody was subscribed to.
        once: that came at least once.
        announced: that did not come, and the client was told.
        lost: that did not come, and the client was not told.
        disordered: that came behind a later one of their stream, on the same connection.
        older: values of snapshots that were older than what the client had.
        doubled: that came twice on the same connection, though nobody had sent them again.
        again: that came again on another connection, or because the publisher got no answer.
        replayed: that were published before the client came back, and came afterwards.
    """

    expected: int = 0
    once: int = 0
    announced: int = 0
    lost: int = 0
    disordered: int = 0
    older: int = 0
    doubled: int = 0
    again: int = 0
    replayed: int = 0

    @classmethod
    def sum(cls, tallies: Iterable[Tally]) -> Tally:
        """Return the sum of tallies."""
        total = cls()
        for tally in tallies:
            for name, value in vars(tally).items():
                setattr(total, name, getattr(total, name) + value)
        return total

    def minus(self, other: Tally) -> Tally:
        """Return what has come to it since another tally."""
        names = [field.name for field in fields(self)]
        return Tally(**{name: getattr(self, name) - getattr(other, name) for name in names})


class Published:
    """What publishers have sent. Times are monotonic."""

    def __init__(self) -> None:
        self._times: dict[Stream, list[float]] = {}
        self._repeated: set[tuple[Stream, int]] = set()

    def next(self, stream: Stream) -> int:
        """Return the number of a stream's next message."""
        times = self._times.setdefault(stream, [])
        times.append(time.monotonic())
        return len(times)

    def repeat(self, messages: Iterable[tuple[Stream, int]]) -> None:
        """Note that messages are sent again, since nobody said what became of them."""
        self._repeated.update(messages)

    def is_repeated(self, stream: Stream, number: int) -> bool:
        """Say whether a message was sent more than once."""
        return (stream, number) in self._repeated

    def last(self, stream: Stream) -> int:
        """Return the number of a stream's last message; 0: there is none."""
        return len(self._times.get(stream, ()))

    def at(self, stream: Stream, number: int) -> float:
        """Return when a message was sent first."""
        return self._times[stream][number - 1]


class Track:
    """What a client has got of a stream."""

    __slots__ = ("announced", "excused", "last", "missing", "snapshots", "top")

    def __init__(self) -> None:
        self.top = 0
        self.last = 0  # on the present connection
        self.missing: set[int] = set()
        self.excused: set[int] = set()
        self.announced = False  # since the last number
        self.snapshots = 0  # that are to come


class Receipts:
    """What one client has got.

    Args:
        published: what there is to get.
        streams: what it is subscribed to.

    Attributes:
        tally: complete after `settle`.
        came_back_at: when its present subscription was answered, if it is not the first one (monotonic); else 0.
    """

    def __init__(self, published: Published, streams: Iterable[Stream]) -> None:
        self._published = published
        self._tracks = {stream: Track() for stream in streams}
        self.tally = Tally()
        self.came_back_at = 0.0

    def take(self, stream: Stream, number: int, *, with_offset: bool) -> None:
        """Note a message."""
        track = self._tracks[stream]
        tally = self.tally
        is_snapshot = track.snapshots > 0 and not with_offset
        is_repeated = self._published.is_repeated(stream, number)
        is_first = self._count(track, number)
        if is_first and self.came_back_at and with_offset:
            tally.replayed += self._published.at(stream, number) < self.came_back_at
        if is_snapshot:
            track.snapshots -= 1
            tally.older += number < track.top and not is_repeated
            track.last = number
        elif number > track.last:
            tally.again += not is_first
            track.last = number
        elif is_repeated:
            tally.again += not is_first
        elif number == track.last:
            tally.doubled += 1
        else:
            tally.disordered += 1

    def _count(self, track: Track, number: int) -> bool:
        """Note a number of a stream; return whether it is the first time."""
        if number > track.top:
            between = range(track.top + 1, number)
            (track.excused if track.announced else track.missing).update(between)
            self.tally.announced += len(between) if track.announced else 0
            track.top = number
            track.announced = False
        elif number in track.missing:
            track.missing.remove(number)
        elif number in track.excused:
            track.excused.remove(number)
            self.tally.announced -= 1
        else:
            return False
        self.tally.once += 1
        return True

    def come_back(self) -> None:
        """Note that the client is subscribed again."""
        self.came_back_at = time.monotonic()
        for track in self._tracks.values():
            track.last = track.snapshots = 0

    def announce(self) -> None:
        """Note that the server says that something may be missing."""
        for track in self._tracks.values():
            track.announced = True
            track.snapshots += 1
            self.tally.announced += len(track.missing)
            track.excused |= track.missing
            track.missing.clear()

    def is_complete(self) -> bool:
        """Say whether the last message of every stream has come, and of the others it was told which may not come."""
        return not any(
            track.missing
            or (track.top < self._published.last(stream) and not (track.announced and stream[0] == "alerts"))
            for stream, track in self._tracks.items()
        )

    def settle(self) -> Tally:
        """Return the tally at the end of a row, when nothing is under way any more: what is missing now is lost."""
        for stream, track in self._tracks.items():
            last = self._published.last(stream)
            behind, track.top = last - track.top, last
            if track.announced and stream[0] == "alerts":  # these have no snapshot
                self.tally.announced += behind
            else:
                self.tally.lost += behind
            self.tally.lost += len(track.missing)
            track.missing.clear()
            track.excused.clear()
        self.tally.expected = sum(map(self._published.last, self._tracks))
        return self.tally

    def missing(self) -> list[str]:
        """Return what has not come, for people."""
        return [
            f"{stream}: {sorted(track.missing)[:5]}, {track.top} of {self._published.last(stream)}"
            for stream, track in self._tracks.items()
            if track.missing or track.top < self._published.last(stream)
        ]
