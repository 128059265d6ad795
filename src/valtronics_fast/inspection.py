"""Who is connected to this process, as operators ask: found, told and closed without holding up anybody.

A search takes a slice of each turn of the event loop, and there is one at a time; the rest wait in their order.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import orjson

from valtronics_fast._core.roster import Order, Roster, Sampler, describe
from valtronics_fast._core.wire import CloseCode

if TYPE_CHECKING:
    from valtronics_fast._core.hub import Hub
    from valtronics_fast._core.session import Session

__all__ = ["RATE_INTERVAL", "Inspector", "Query", "Row"]

RATE_INTERVAL: Final = 5.0
"""Seconds between two samples of a connection's counters, and so those that its rate is over."""

SLICE: Final = 0.001
"""Seconds that a search works in a turn of the event loop."""

TOLD_A_TURN: Final = 64
"""Connections that are described in a turn: some 5 µs each."""

CLOSED_A_TURN: Final = 256
"""Connections that are closed in a turn."""

_ORDERS: Final = {"age": Order.BY_AGE, "queue": Order.BY_QUEUE, "rate": Order.BY_RATE}

Row = tuple[float, int, orjson.Fragment]
"""What a connection is sorted by, its number, and what is told of it."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which connections are asked for.

    Attributes:
        sort: oldest first, most queued bytes first, or most messages a second first.
        limit: how many, at most; 0: all.
        after: key and number of the last row that is known already.
        number: the one connection with this number.
        user: whose.
        address: of which client.
        channel: subscribed to this Channel; -1: any.
        slow: only those that are behind, or do not read.
    """

    sort: Literal["age", "queue", "rate"] = "age"
    limit: int = 0
    after: tuple[float, int] | None = None
    number: int = 0
    user: str | None = None
    address: str | None = None
    channel: int = -1
    slow: bool = False


class Inspector:
    """Looks at the connections of a hub.

    Args:
        hub: whose.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._sampler = Sampler(hub, RATE_INTERVAL)
        self._searching = asyncio.Lock()

    def tick(self, now: float) -> None:
        """Note the counters of some connections, so that there are rates; to be called often.

        Args:
            now: monotonic seconds.
        """
        self._sampler.advance(now)

    async def rows(self, query: Query) -> list[Row]:
        """Return what is told of the connections that a query is about, sorted."""
        rows: list[Row] = []
        for count, (key, number, session) in enumerate(await self._find(query), 1):
            rows.append((key, number, orjson.Fragment(orjson.dumps(describe(session, time.monotonic())))))
            if count % TOLD_A_TURN == 0:
                await asyncio.sleep(0)
        return rows

    async def disconnect(self, query: Query, reason: str | None) -> int:
        """Close the connections that a query is about (4003); return how many were open.

        Args:
            query: which.
            reason: what they are told; None: that of the code.
        """
        closed = 0
        for count, (_, _, session) in enumerate(await self._find(query), 1):
            closed += session.disconnect(CloseCode.CLOSE_FORBIDDEN, reason)
            if count % CLOSED_A_TURN == 0:
                await asyncio.sleep(0)
        return closed

    async def _find(self, query: Query) -> list[tuple[float, int, Session]]:
        roster = Roster(
            self._hub,
            order=_ORDERS[query.sort],
            limit=query.limit,
            user=query.user,
            address=query.address,
            channel=query.channel,
            slow=query.slow,
            number=query.number,
            after=query.after,
        )
        async with self._searching:
            while roster.work(time.monotonic() + SLICE):  # noqa: ASYNC110 - it is the work that takes turns
                await asyncio.sleep(0)
        return roster.page()
