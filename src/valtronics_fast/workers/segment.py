"""Memory that the processes of one machine share: how many connections each has, of whom, and since when addresses.

A worker writes its own counts only; what counts is the sum over all. So a worker that is killed at any moment leaves
nothing behind that is wrong, and the supervisor gives its share back by clearing its counts.

    workers    a row each: connections, messages sent, beats; one row more for what those have sent that are gone
    users      sets of WAYS keys (a digest of the user), and for each worker as many counts
    addresses  sets of WAYS keys (a digest of the address), each with the time at which its bucket is full again
    handshakes the same for TLS
    suspects   sets of WAYS keys, and of each address what leads to a ban (shared_bans.py)

A key stands in the set that its digest chooses. A place whose counts are all zero is free, and so needs no deleting.
Who reads in order to decide, and then writes, holds a record lock (fcntl): it ends with the process that has it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Self

import msgspec

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Layout", "LockBusyError", "Segment"]

WAYS: Final = 32
"""Places of a set: the tables are a quarter full at most, and a set overflows once in some 10^9 then."""

PATIENCE: Final = (0.05, 0.001)
"""Seconds that a lock is waited for, and again after that was in vain.

Its holder needs microseconds, unless it is stopped just then: then nobody is to wait for it time and again.
"""

_PAUSE: Final = 0.0001
_ROW: Final = 8  # numbers of a worker's row: a cache line
_CONNECTIONS, _MESSAGES, _BEATS = range(3)
_COUNTS: Final = 10  # the parts before the first worker's counts of users


class LockBusyError(Exception):
    """Somebody who does not run has the lock."""


class Layout(msgspec.Struct, frozen=True):
    """The sizes of the tables.

    Attributes:
        workers: how many there are.
        users: places for users.
        addresses: places for addresses, and as many for TLS handshakes.
        suspects: places for addresses that fail or are banned.
    """

    workers: int
    users: int
    addresses: int
    suspects: int

    @classmethod
    def of(cls, workers: int, connections: int, addresses: int, suspects: int) -> Self:
        """Return the layout for so many workers, connections in all (0: no limit), addresses, and suspects."""
        users = 1 << max(16, (4 * (connections or 1 << 20) - 1).bit_length())
        return cls(
            workers,
            users,
            1 << max(10, (2 * addresses - 1).bit_length()),
            1 << max(10, (4 * suspects - 1).bit_length()),  # as many may be banned as fail
        )

    def parts(self) -> list[tuple[int, int, str]]:
        """Return the beginning, the bytes, and the form of the numbers of each part; each begins a page."""
        addresses = [("Q", self.addresses), ("d", self.addresses)]
        forms = [("Q", _ROW * (self.workers + 1)), ("Q", self.users), *addresses, *addresses]
        forms += [(form, self.suspects) for form in "QQdd"]
        forms += [("I", self.users)] * self.workers
        found, at = [], 0
        for form, count in forms:
            size = count * (4 if form == "I" else 8)
            found.append((at, size, form))
            at += -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        return found

    @property
    def size(self) -> int:
        """Bytes in all; memory is taken for pages that are used."""
        begin, size, _ = self.parts()[-1]
        return begin + size


class _Lock:
    """A record lock on one byte, for a `with` statement; not recursive."""

    __slots__ = ("_byte", "_descriptor", "_in_vain")

    def __init__(self, descriptor: int, byte: int) -> None:
        self._descriptor = descriptor
        self._byte = byte
        self._in_vain = False

    def __enter__(self) -> None:
        deadline = 0.0
        while True:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._byte)
            except OSError:
                now = time.monotonic()
                deadline = deadline or now + PATIENCE[self._in_vain]
                if now >= deadline:
                    self._in_vain = True
                    raise LockBusyError from None
                time.sleep(_PAUSE)
            else:
                self._in_vain = False
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._byte)


class Segment:
    """The memory, mapped.

    Args:
        descriptor: of the memory; stays open, since closing any descriptor of it would end this process's locks.
        layout: what is where.
        key: chooses the digests, so that nobody outside can fill one set.

    Attributes:
        descriptor: as given.
        layout: as given.
        key: as given.
        suspects: the columns of that table.
        counting, banning: the locks of connections and users, and of the suspects.
    """

    def __init__(self, descriptor: int, layout: Layout, key: bytes) -> None:
        self.descriptor = descriptor
        self.layout = layout
        self.key = key
        self.counting = _Lock(descriptor, 0)
        self._limiting = (_Lock(descriptor, 1), _Lock(descriptor, 2))
        self.banning = _Lock(descriptor, 3)
        self._map = mmap.mmap(descriptor, layout.size)
        view = memoryview(self._map)
        parts = [view[begin : begin + size].cast(form) for begin, size, form in layout.parts()]  # type: ignore[call-overload]
        self._rows, self._users, *buckets = parts[:6]
        self._buckets = (buckets[:2], buckets[2:])
        self.suspects = parts[6:_COUNTS]
        self._counts = parts[_COUNTS:]

    @classmethod
    def create(cls, layout: Layout) -> Self:
        """Return new memory, whose descriptor may be passed on."""
        descriptor = os.memfd_create("valtronics-fast", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, layout.size)
        return cls(descriptor, layout, os.urandom(16))

    def digest(self, text: str) -> int:
        """Return a number that stands for a text, never 0."""
        return int.from_bytes(blake2b(text.encode(), digest_size=8, key=self.key).digest(), "little") | 1

    # --- connections

    def connections(self) -> int:
        """Return how many there are in all."""
        return sum(self._rows[_CONNECTIONS :: _ROW][: self.layout.workers])

    def of_worker(self, worker: int) -> int:
        """Return how many a worker has."""
        return int(self._rows[worker * _ROW + _CONNECTIONS])

    def enter(self, worker: int) -> None:
        """Count one more connection of a worker; with `counting` held, where that was decided by their number."""
        self._rows[worker * _ROW + _CONNECTIONS] += 1

    def leave(self, worker: int) -> None:
        """Count one connection of a worker less."""
        self._rows[worker * _ROW + _CONNECTIONS] -= 1

    # --- messages

    def set_messages(self, worker: int, messages: int) -> None:
        """Note how many messages a worker has sent to clients since its start."""
        self._rows[worker * _ROW + _MESSAGES] = messages

    def messages(self) -> int:
        """Return how many messages all workers have sent, those included that are gone."""
        return sum(self._rows[_MESSAGES::_ROW])

    # --- signs of life

    def beat(self, worker: int) -> None:
        """Count a sign of life of a worker."""
        self._rows[worker * _ROW + _BEATS] += 1

    def beats(self, worker: int) -> int:
        """Return how many signs of life there were at a worker's place since the start."""
        return int(self._rows[worker * _ROW + _BEATS])

    # --- users

    def find(self, user: str) -> int:
        """Return a user's place, or -1: it has none."""
        digest = self.digest(user)
        start = digest // 2 % (self.layout.users // WAYS) * WAYS
        ways = self._users[start : start + WAYS].tolist()
        return start + ways.index(digest) if digest in ways else -1

    def count(self, place: int) -> int:
        """Return how many connections the user of a place has."""
        return 0 if place < 0 else sum(counts[place] for counts in self._counts)

    def take_place(self, user: str) -> int:
        """Return a user's place, one that is free if it has none, or -1: there is none; with `counting` held."""
        place = self.find(user)
        if place >= 0:
            return place
        digest = self.digest(user)
        start = digest // 2 % (self.layout.users // WAYS) * WAYS
        for place in range(start, start + WAYS):
            if not self.count(place):
                self._users[place] = digest
                return place
        return -1

    def change(self, worker: int, place: int, by: int) -> None:
        """Count connections of a user on a worker; with `counting` held where they become more."""
        self._counts[worker][place] += by

    # --- addresses

    def take_token(self, table: int, address: str, now: float, *, cost: float, burst: float) -> float:
        """Take a token of an address (AddressLimiter).

        Args:
            table: 0: connections, 1: TLS handshakes.
            address: which one.
            now: seconds of the monotonic clock, which is one for all processes.
            cost: seconds until a token is there again.
            burst: seconds that all but one of them take.

        Returns:
            0.0 when it was there, else the seconds until there will be one.

        Raises:
            LockBusyError: somebody who does not run has the lock.
        """
        digest = self.digest(address)
        keys, full_at = self._buckets[table]
        start = digest // 2 % (self.layout.addresses // WAYS) * WAYS
        with self._limiting[table]:
            ways = keys[start : start + WAYS].tolist()
            if digest in ways:
                place = start + ways.index(digest)
                full = max(full_at[place], now)
            else:
                times = full_at[start : start + WAYS].tolist()
                place = start + times.index(min(times))  # free, or quiet for longest
                full = now
            wait = full - now - burst
            if wait <= 0.01 * cost:
                full += cost
                wait = 0.0
            if keys[place] != digest:
                keys[place] = 0  # killed between these lines, nobody inherits the other's time
                full_at[place] = full
                keys[place] = digest
            else:
                full_at[place] = full
        return float(wait)

    # --- the supervisor

    def give_back(self, worker: int) -> int:
        """Clear the counts of a worker that has ended; return how many connections it had."""
        row = worker * _ROW
        had = self.of_worker(worker)
        self._rows[self.layout.workers * _ROW + _MESSAGES] += self._rows[row + _MESSAGES]
        self._rows[row + _MESSAGES] = 0
        begin, size, _ = self.layout.parts()[_COUNTS + worker]
        self._map.madvise(mmap.MADV_REMOVE, begin, size)  # they read as 0 then, and take no memory
        self._rows[row + _CONNECTIONS] = 0
        return had

    def close(self) -> None:
        """Let go of the memory."""
        for view in (self._rows, self._users, *self._counts, *self._buckets[0], *self._buckets[1], *self.suspects):
            view.release()
        self._map.close()
        os.close(self.descriptor)
