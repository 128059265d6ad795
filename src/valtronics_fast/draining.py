"""Letting connected clients go, so that none loses what was sent to it and not all come back at the same moment."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from typing import TYPE_CHECKING, Final

from valtronics_fast._core.wire import CloseCode
from valtronics_fast.errors import BusyError
from valtronics_fast.logging import fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from valtronics_fast._core.session import Session
    from valtronics_fast.clients import Clients

__all__ = ["Rebalancer", "close_evenly", "how_many", "let_go"]

_LOOK: Final = 0.02
"""Seconds between two looks whether a client has read what waits for it, or others have none left."""

_CLOSED_A_TURN: Final = 256
"""Connections that are closed in one turn of the event loop, at most."""

_log = logging.getLogger(__name__)


async def let_go(
    clients: Clients,
    code: CloseCode,
    *,
    window: float,
    patience: float,
    others: Callable[[], bool],
    end_input: Callable[[], Awaitable[None]],
) -> None:
    """Close every connection, evenly over a time, and return when the last one is gone.

    The order is random: clients behind one address came together, and coming back so would be over its rate.

    Args:
        clients: nobody gets in any more.
        code: why.
        window: seconds; 0.0: all at once.
        patience: seconds that a client gets to read what waits for it, and as many to go then.
        others: says whether other workers have clients, for whom data is taken in here, too, until the time is over.
        end_input: ends all that publishes. It is called before the last one is closed, or all at once: until then
            there is somebody to get what comes in, and what was taken in until then goes out ahead of the CLOSE.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + window
    sessions = clients.sessions()
    random.shuffle(sessions)
    if window and sessions:
        early = sessions[:-1]
        await close_evenly(early, code, seconds=window * len(early) / len(sessions), patience=patience)
    while others() and loop.time() < end:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK)
    await end_input()
    await close_evenly(clients.sessions(), code, seconds=0.0, patience=patience)
    # The clients' own timers cut those that do not go; a little more is for the case that nothing works.
    await clients.close(code, patience + 1)


class Rebalancer:
    """Has clients come back elsewhere: after a server was added, say.

    Args:
        clients: those that are connected.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._closing: asyncio.Task[None] | None = None
        self._stopped = False

    def start(self, fraction: float | None, count: int | None, *, seconds: float, patience: float) -> int:
        """Begin to close the connections (4200) that are open longest: who was moved lately is not moved again.

        Args:
            fraction: the part of all connections, rounded up; None: `count` says how many.
            count: how many, if there are so many.
            seconds: the time that they are spread over.
            patience: seconds that a client gets to read what waits for it.

        Returns:
            How many are being closed.

        Raises:
            BusyError: the last start is still at work, or it has ended.
        """
        self._refuse_busy()
        sessions = sorted(self._clients.sessions(), key=lambda each: each.age, reverse=True)
        chosen = sessions[: how_many(fraction, count, len(sessions))]
        random.shuffle(chosen)  # as in `let_go`
        _log.info("rebalancing", extra=fields(connections=len(chosen), seconds=seconds))
        closing = close_evenly(chosen, CloseCode.CLOSE_REBALANCE, seconds=seconds, patience=patience)
        self._closing = asyncio.ensure_future(closing)
        return len(chosen)

    def ages(self) -> list[float]:
        """Return how many seconds each connection is open; raise BusyError where `start` would."""
        self._refuse_busy()
        return [each.age for each in self._clients.sessions()]

    def _refuse_busy(self) -> None:
        if self._stopped:
            raise BusyError("the server is being drained")
        if self._closing is not None and not self._closing.done():
            raise BusyError("connections are being moved already")

    def stop(self) -> None:
        """Leave those alone that were not told to go yet, and begin nothing any more."""
        self._stopped = True
        if self._closing is not None:
            self._closing.cancel()


def how_many(fraction: float | None, count: int | None, connections: int) -> int:
    """Return how many connections an order is about: a fraction of all, rounded up, or a count."""
    return min(count or 0, connections) if fraction is None else math.ceil(fraction * connections)


async def close_evenly(sessions: Sequence[Session], code: CloseCode, *, seconds: float, patience: float) -> None:
    """Close connections one after the other, the first at once.

    Returns when each one was told to go, not when it has gone.

    Args:
        sessions: in the order of closing.
        code: why.
        seconds: the time that they are spread over.
        patience: seconds that a client gets to read what waits for it before it is told, which goes ahead of it then.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with asyncio.TaskGroup() as reading:
        for number, session in enumerate(sessions):
            wait = start + seconds * number / len(sessions) - loop.time()
            if wait > 0 or number % _CLOSED_A_TURN == _CLOSED_A_TURN - 1:
                await asyncio.sleep(max(wait, 0))
            if session.queued_bytes:
                reading.create_task(_close_when_read(session, code, patience))
            else:
                session.disconnect(code)


async def _close_when_read(session: Session, code: CloseCode, patience: float) -> None:
    """Close a connection once nothing waits for it, or its time is up."""
    deadline = asyncio.get_running_loop().time() + patience
    while session.queued_bytes and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK)
    session.disconnect(code)
