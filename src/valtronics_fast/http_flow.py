"""How much of what comes over HTTP is published when: so that no publisher takes the server from the others.

All publishers together work for a SLICE of each turn of the event loop, who waited longest first. What waits for its
turn is not read on, so that it waits in the socket and then at the publisher. Two things stop a publisher for longer:
its own rate (`http.publish_rate`), and a backplane that has too much waiting. Then a stream is paused, and everything
else is answered 429.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from valtronics_fast._core.wire import ERROR_NAMES, ErrorCode
from valtronics_fast.http_listener import HttpError

if TYPE_CHECKING:
    from valtronics_fast.http_publish import Intake, JsonBody
    from valtronics_fast.producers.base import Outlet

__all__ = ["CONGESTED_RETRY", "SLICE", "Flow", "Rates", "Turns"]

SLICE: Final = (0.002, 0.006)
"""Seconds that publishers may work in a turn of the event loop: as long as everything else in the last one took, within
these bounds. Where much is delivered that saves writes, which cost the same for one message and for many."""

CONGESTED_RETRY: Final = 1
"""Seconds after which a publisher may try again when the backplane has too much waiting."""

PAUSE: Final = 0.05
"""Seconds between two looks whether a stream may go on."""

MAX_USERS = 10_000
"""Publishers whose rate is remembered; one that is forgotten begins anew."""

_UNBOUNDED: Final = 2**62


class Turns:
    """Gives out the time in which publishers may work."""

    def __init__(self) -> None:
        self._until: float | None = None  # in this turn of the event loop; None: nobody has worked in it yet
        self._ended_at = 0.0
        self._called = False  # who waited longest: this turn is theirs
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def next(self) -> float:
        """Wait for time to work in; return until when it goes, in monotonic seconds.

        Where nobody waits it is what others have left of this turn.
        """
        was_called = False
        if self._called or self._waiting or (self._until is not None and time.monotonic() >= self._until):
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if not future.cancelled():  # it was called, and does not come
                    self._end()
                raise
            self._called, was_called = False, True
        if self._until is None:
            now = time.monotonic()
            self._until = now + min(max(SLICE[0], now - self._ended_at if was_called else 0.0), SLICE[1])
            asyncio.get_running_loop().call_soon(self._end)
        return self._until

    def _end(self) -> None:
        """Begin another turn: call who waits longest."""
        self._until = None
        self._called = False
        self._ended_at = time.monotonic()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                self._called = True
                return


class Rates:
    """Token buckets by user: so many messages a second, and a second's worth at once.

    Args:
        rate: messages a second; 0: no limit.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def level(self, user: str, now: float) -> float:
        """Return how many messages a user may publish now; below 1: none."""
        if not self.rate:
            return _UNBOUNDED
        level, at = self._levels.get(user, (float(self.rate), now))
        return min(float(self.rate), level + (now - at) * self.rate)

    def spend(self, user: str, count: int, now: float) -> None:
        """Note that a user has published."""
        if self.rate:
            self._levels[user] = (self.level(user, now) - count, now)
            self._levels.move_to_end(user)
            if len(self._levels) > MAX_USERS:
                self._levels.popitem(last=False)

    def wait(self, user: str, now: float) -> float:
        """Return the seconds until a user may publish the next message."""
        return max(0.0, 1 - self.level(user, now)) / self.rate if self.rate else 0.0


class Flow:
    """Publishes bodies.

    Args:
        outlet: where to; it says when it has too much waiting.
        rate: messages a second of one user; 0: no limit.
    """

    def __init__(self, outlet: Outlet, rate: int) -> None:
        self.rates = Rates(rate)
        self._outlet = outlet
        self._turns = Turns()

    def admit(self, user: str) -> None:
        """Let a request begin.

        Raises:
            HttpError: 429, it has to come later.
        """
        if refusal := self._refusal(user):
            raise refusal

    async def turn(self) -> None:
        """Wait for time to work in."""
        await self._turns.next()

    async def check(self, body: JsonBody) -> None:
        """Go through a body that must be JSON as a whole.

        Raises:
            BodyError: it is not.
        """
        pieces = body.check()
        going_on = True
        while going_on:
            until = await self._turns.next()
            while (going_on := next(pieces, self) is not self) and time.monotonic() < until:
                pass

    async def publish(self, intake: Intake, *, patient: bool) -> None:
        """Publish what is waiting in an intake.

        Args:
            intake: whose.
            patient: wait where it has to stop; else that is an error.

        Raises:
            HttpError: 429, the rest has to come later.
        """
        while intake.waiting:
            user = intake.grant.user
            refusal = self._refusal(user)
            if refusal is None:
                until = await self._turns.next()
                now = time.monotonic()
                # Others of the same user may have published while this one waited for its turn.
                if most := int(self.rates.level(user, now)):
                    self.rates.spend(user, intake.publish(until, most), now)
            elif patient:
                await asyncio.sleep(min(PAUSE, self.rates.wait(user, time.monotonic()) or PAUSE))
            else:
                raise refusal

    async def settle(self) -> None:
        """Wait until what was published is where it outlives this process, as far as that can be."""
        await self._outlet.settled()

    def _refusal(self, user: str) -> HttpError | None:
        """Return the answer for whoever must not publish now, if that is so."""
        now = time.monotonic()
        if self._outlet.congested():
            return _later("the backplane has too much waiting", CONGESTED_RETRY)
        if seconds := self.rates.wait(user, now):
            return _later(f"more than {self.rates.rate} messages a second", math.ceil(seconds))
        return None


def _later(message: str, seconds: int) -> HttpError:
    headers = {"Retry-After": str(seconds)}
    return HttpError(429, ERROR_NAMES[ErrorCode.RATE_LIMITED], message, headers=headers)
