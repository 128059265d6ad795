"""Letting connected clients go, so that none loses what was sent to it and not all come back at the same moment."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from valtronics_fast._core.session import Session
    from valtronics_fast._core.wire import CloseCode
    from valtronics_fast.clients import Clients

__all__ = ["close_evenly", "let_go"]

_LOOK: Final = 0.02
"""Seconds between two looks whether a client has read what waits for it."""

_CLOSED_A_TURN: Final = 256
"""Connections that are closed in one turn of the event loop, at most."""


async def let_go(
    clients: Clients,
    code: CloseCode,
    *,
    window: float,
    patience: float,
    end_input: Callable[[], Awaitable[None]],
) -> None:
    """Close every connection, evenly over a time, and return when the last one is gone.

    The order is random: clients behind one address came together, and coming back so would be over its rate.

    Args:
        clients: nobody gets in any more.
        code: why.
        window: seconds; 0.0: all at once.
        patience: seconds that a client gets to read what waits for it, and as many to go then.
        end_input: ends all that publishes. It is called before the last one is closed, or all at once: until then
            there is somebody to get what comes in, and what was taken in until then goes out ahead of the CLOSE.
    """
    sessions = clients.sessions()
    random.shuffle(sessions)
    if window and sessions:
        early = sessions[:-1]
        await close_evenly(early, code, seconds=window * len(early) / len(sessions), patience=patience)
    await end_input()
    await close_evenly(clients.sessions(), code, seconds=0.0, patience=patience)
    # The clients' own timers cut those that do not go; a little more is for the case that nothing works.
    await clients.close(code, patience + 1)


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
