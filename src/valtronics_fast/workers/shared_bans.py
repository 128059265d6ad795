"""Bans that all workers of a machine share: who fails on any of them comes nearer to a ban on all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.workers.segment import WAYS, LockBusyError

if TYPE_CHECKING:
    from valtronics_fast.workers.segment import Segment

__all__ = ["SharedBans"]


class SharedBans:
    """A worker's view of them (`Bans`): a table in the memory that is shared, in sets of WAYS places.

    A place has the digest of an address, how many failures count, when the last one was, and when its ban ends. Where a
    set is full, the address that is not banned and has failed longest ago makes room; without one, the ban that ends
    first is lifted early.

    Args:
        segment: the memory.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._keys, self._strikes, self._failed_at, self._ends = segment.suspects

    def strike(self, key: str, now: float, *, after: int, seconds: float) -> int:
        """Count a failure of an address (`Bans`); while another worker is stopped with the lock, it is not counted."""
        try:
            with self._segment.banning:
                place = self._take_place(key, now)
                strikes = 1 if now - self._failed_at[place] >= seconds else int(self._strikes[place]) + 1
                is_banned = strikes >= after and self._ends[place] <= now
                self._strikes[place] = 0 if is_banned else strikes
                self._failed_at[place] = now
                if is_banned:
                    self._ends[place] = now + seconds
        except LockBusyError:
            return 0
        return strikes if is_banned else 0

    def end(self, key: str) -> float:
        """Return when the ban of an address ends. Needs no lock."""
        digest, start = self._find_set(key)
        ways = self._keys[start : start + WAYS].tolist()
        if digest not in ways:
            return 0.0
        place = start + ways.index(digest)
        end = float(self._ends[place])
        return end if self._keys[place] == digest else 0.0  # another address has taken the place meanwhile

    def count(self, now: float) -> int:
        """Return how many addresses are banned."""
        return sum(map(now.__lt__, self._ends.tolist()))

    def reload(self, _size: int, latest: float) -> None:
        """Have bans end at this time at the latest; the size of the table was settled at the start."""
        try:
            with self._segment.banning:
                for place, end in enumerate(self._ends.tolist()):
                    if end > latest:
                        self._ends[place] = latest
        except LockBusyError:
            pass  # then they end as they would have

    def _find_set(self, key: str) -> tuple[int, int]:
        """Return an address' digest, and the first place of its set."""
        digest = self._segment.digest(key)
        return digest, digest // 2 % (len(self._keys) // WAYS) * WAYS

    def _take_place(self, key: str, now: float) -> int:
        """Return the place of an address, another one's if it has none; with the lock held."""
        digest, start = self._find_set(key)
        ways = self._keys[start : start + WAYS].tolist()
        if digest in ways:
            return start + int(ways.index(digest))

        def worth(place: int) -> tuple[bool, float]:
            end = self._ends[place]
            return (True, end) if end > now else (False, self._failed_at[place])

        place = min(range(start, start + WAYS), key=worth)
        self._keys[place] = 0  # killed between these lines, nobody inherits what the other one did
        self._strikes[place] = 0
        self._failed_at[place] = self._ends[place] = 0.0
        self._keys[place] = digest
        return place
