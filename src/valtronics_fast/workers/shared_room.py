"""Room for connections that all workers of a machine share, exactly: together they never let in more than one would."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from valtronics_fast.room import part
from valtronics_fast.workers.segment import LockBusyError

if TYPE_CHECKING:
    from valtronics_fast.room import Limiter
    from valtronics_fast.units import Rate
    from valtronics_fast.workers.segment import Segment

__all__ = ["SharedRoom"]

BUSY = 1.0
"""Seconds after which an address may try again that came while the table could not be looked at."""


class SharedRoom:
    """A worker's view of it (`Room`). While another worker is stopped with a lock held, nobody is let in.

    Args:
        segment: the memory that is shared.
        worker: this worker's index.
    """

    def __init__(self, segment: Segment, worker: int) -> None:
        self.users: Counter[str] = Counter()
        self.segment = segment
        self._worker = worker
        self._places: dict[str, int] = {}  # of those that have a connection here: so that they stay where they are

    def connections(self) -> int:
        """Return how many there are on all workers."""
        return self.segment.connections()

    def messages(self, own: int) -> int:
        """Return how many messages all workers have sent; tell them of this one's."""
        self.segment.set_messages(self._worker, own)
        return self.segment.messages()

    def is_full(self, limit: int) -> bool:
        """Say whether there are as many connections as there may be."""
        return 0 < limit <= self.segment.connections()

    def enter(self, limit: int) -> bool:
        """Count a new connection."""
        try:
            with self.segment.counting:
                if self.is_full(limit):
                    return False
                self.segment.enter(self._worker)
        except LockBusyError:
            return False
        return True

    def leave(self) -> None:
        """A connection has gone."""
        self.segment.leave(self._worker)

    def connections_of(self, user: str) -> int:
        """Return how many connections a user has."""
        return self.segment.count(self._places.get(user) or self.segment.find(user))

    def join(self, user: str, limit: int) -> bool:
        """Count a connection for its user."""
        try:
            with self.segment.counting:
                place = self.segment.take_place(user)
                if place < 0 or 0 < limit <= self.segment.count(place):
                    return False
                self.segment.change(self._worker, place, 1)
        except LockBusyError:
            return False
        self._places[user] = place
        self.users[user] += 1
        return True

    def part(self, user: str) -> None:
        """A user has one connection less."""
        part(self.users, user)
        self.segment.change(self._worker, self._places[user], -1)
        if user not in self.users:
            del self._places[user]

    def limiter(self, what: Literal["connections", "handshakes"], rate: Rate, _size: int) -> Limiter:
        """Return the table that is shared; its size was settled at the start."""
        return _SharedLimiter(self.segment, 0 if what == "connections" else 1, rate)


class _SharedLimiter:
    """An AddressLimiter over a table that is shared."""

    def __init__(self, segment: Segment, table: int, rate: Rate) -> None:
        self._segment = segment
        self._table = table
        self._cost = rate.seconds / rate.count if rate.count else 0.0
        self._burst = self._cost * (rate.count - 1)

    def take(self, key: str, now: float) -> float:
        """Take one token of an address."""
        if not self._cost:
            return 0.0
        try:
            return self._segment.take_token(self._table, key, now, cost=self._cost, burst=self._burst)
        except LockBusyError:
            return BUSY
