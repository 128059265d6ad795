"""How many connections there may be: in all, of a user, and of an address in a while (protocol.md, section 4)."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Literal, Protocol

from valtronics_fast.addresses import AddressLimiter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valtronics_fast.units import Rate

__all__ = ["MAX_REPORTED", "Limiter", "OwnRoom", "Room", "part", "reported"]

MAX_REPORTED = 2000
"""Users that other nodes are told of; those with most connections, where there are more."""


class Limiter(Protocol):
    """Bounds how often an address comes."""

    def take(self, key: str, now: float) -> float:
        """Take one token; return 0.0, or the seconds until there will be one (AddressLimiter)."""


class Room(Protocol):
    """Counts connections. A limit of 0 is none.

    Attributes:
        users: connections of this process, by user.
    """

    users: Counter[str]

    def connections(self) -> int:
        """Return how many there are."""

    def messages(self, own: int) -> int:
        """Return how many messages were sent to clients, of which `own` by this process."""

    def is_full(self, limit: int) -> bool:
        """Say whether there are as many connections as there may be."""

    def enter(self, limit: int) -> bool:
        """Count a new connection; False: there are as many as there may be."""

    def leave(self) -> None:
        """A connection has gone."""

    def connections_of(self, user: str) -> int:
        """Return how many connections a user has."""

    def join(self, user: str, limit: int) -> bool:
        """Count a connection for its user; False: it has as many as it may."""

    def part(self, user: str) -> None:
        """A user has one connection less."""

    def limiter(self, what: Literal["connections", "handshakes"], rate: Rate, size: int) -> Limiter:
        """Return what bounds how often an address comes, with a table of so many."""


class OwnRoom:
    """The connections of this process alone."""

    def __init__(self) -> None:
        self.users: Counter[str] = Counter()
        self._connections = 0

    def connections(self) -> int:
        """Return how many there are."""
        return self._connections

    def messages(self, own: int) -> int:
        """Return how many messages were sent to clients."""
        return own

    def is_full(self, limit: int) -> bool:
        """Say whether there are as many connections as there may be."""
        return 0 < limit <= self._connections

    def enter(self, limit: int) -> bool:
        """Count a new connection."""
        if self.is_full(limit):
            return False
        self._connections += 1
        return True

    def leave(self) -> None:
        """A connection has gone."""
        self._connections -= 1

    def connections_of(self, user: str) -> int:
        """Return how many connections a user has."""
        return self.users[user]

    def join(self, user: str, limit: int) -> bool:
        """Count a connection for its user."""
        if 0 < limit <= self.users[user]:
            return False
        self.users[user] += 1
        return True

    def part(self, user: str) -> None:
        """A user has one connection less."""
        part(self.users, user)

    def limiter(self, _what: Literal["connections", "handshakes"], rate: Rate, size: int) -> Limiter:
        """Return a table of this process."""
        return AddressLimiter(rate, size)


def part(users: Counter[str], user: str) -> None:
    """Take one from a user's count."""
    users[user] -= 1
    if not users[user]:
        del users[user]


def reported(users: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that other nodes are told: MAX_REPORTED at most."""
    if len(users) <= MAX_REPORTED:
        return dict(users)
    # One look at each user, of whom there may be very many: it is done every second.
    several = {user: count for user, count in users.items() if count > 1}
    if len(several) > MAX_REPORTED:
        return dict(Counter(several).most_common(MAX_REPORTED))
    ones = (user for user, count in users.items() if count == 1)
    return several | dict.fromkeys(islice(ones, MAX_REPORTED - len(several)), 1)
