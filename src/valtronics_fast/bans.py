"""Which addresses are banned, and which are on their way there: for one process, or shared by several."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Bans", "OwnBans"]


class Bans(Protocol):
    """Counts the failures that lead to a ban. Times are arguments, in monotonic seconds."""

    def strike(self, key: str, now: float, *, after: int, seconds: float) -> int:
        """Count a failure of an address.

        Args:
            key: stands for the address (`rate_key`).
            now: the time.
            after: as many, less than `seconds` apart, lead to a ban.
            seconds: how long that is.

        Returns:
            How many there were, if this one has led to a ban; else 0.
        """

    def end(self, key: str) -> float:
        """Return when the ban of an address ends, or has ended; 0.0: it has none."""

    def count(self, now: float) -> int:
        """Return how many addresses are banned."""

    def reload(self, size: int, latest: float) -> None:
        """Have tables for so many addresses; bans that are in force end at this time at the latest."""


class OwnBans:
    """The bans of this process alone.

    Both tables are bounded: the address that has failed longest ago is forgotten, and the ban that ends first is
    lifted early.
    """

    def __init__(self) -> None:
        self._size = 0
        # Both ordered: the one that failed, or was banned, longest ago comes first.
        self._strikes: dict[str, tuple[int, float]] = {}  # how many, and when the last one was
        self._ends: dict[str, float] = {}

    def strike(self, key: str, now: float, *, after: int, seconds: float) -> int:
        """Count a failure of an address (`Bans`); what led to a ban does not count for the next one."""
        strikes, last = self._strikes.pop(key, (0, now))
        strikes = 1 if now - last >= seconds else strikes + 1
        is_banned = strikes >= after and self.end(key) <= now
        self._strikes[key] = (0 if is_banned else strikes, now)
        if len(self._strikes) > self._size:
            del self._strikes[next(iter(self._strikes))]
        if not is_banned:
            return 0
        self._lift(now)
        if len(self._ends) >= self._size:
            del self._ends[next(iter(self._ends))]
        self._ends[key] = now + seconds
        return strikes

    def end(self, key: str) -> float:
        """Return when the ban of an address ends."""
        return self._ends.get(key, 0.0)

    def count(self, now: float) -> int:
        """Return how many addresses are banned."""
        self._lift(now)
        return len(self._ends)

    def reload(self, size: int, latest: float) -> None:
        """Have tables for so many addresses, and bans end at this time at the latest."""
        self._size = size
        self._ends = {key: min(end, latest) for key, end in self._ends.items()}
        for key in list(self._strikes)[: max(len(self._strikes) - size, 0)]:
            del self._strikes[key]
        for key in list(self._ends)[: max(len(self._ends) - size, 0)]:
            del self._ends[key]

    def _lift(self, now: float) -> None:
        """Forget the bans that are over; all last equally long, so they are the first ones."""
        while self._ends:
            key = next(iter(self._ends))
            if self._ends[key] > now:
                return
            del self._ends[key]
