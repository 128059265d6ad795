"""The connected clients: the Python side of the core's sessions (their `Host`).

Everything here is done once a connection, or once for a command; accepted data never comes through.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import orjson

from valtronics_fast._core.connection import Limits
from valtronics_fast._core.explain import explain
from valtronics_fast._core.sampling import Sampler
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.session import Session
from valtronics_fast._core.wire import CHANNEL_NAMES, CLOSE_REASONS, CloseCode
from valtronics_fast.backplanes.presence import Presence
from valtronics_fast.errors import AuthError
from valtronics_fast.logging import ROUTINE_LINES, fields, limited
from valtronics_fast.room import reported
from valtronics_fast.suspects import HONEST_FAILURES, Suspicion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from valtronics_fast._core.hub import Hub
    from valtronics_fast.auth import Authenticator
    from valtronics_fast.config import Config
    from valtronics_fast.producers.base import Publish
    from valtronics_fast.room import Room
    from valtronics_fast.statistics import Statistics
    from valtronics_fast.suspects import Suspects

__all__ = ["Clients", "limits_of"]

MAX_REPORT = 512
"""Characters of a client's error report that are logged."""

_SUSPICIONS = {
    CloseCode.CLOSE_PROTOCOL_VIOLATION: Suspicion.VIOLATION,
    CloseCode.CLOSE_UNSUPPORTED_DATA: Suspicion.VIOLATION,
    CloseCode.CLOSE_INVALID_UTF8: Suspicion.VIOLATION,
    CloseCode.CLOSE_TOO_BIG: Suspicion.VIOLATION,
    CloseCode.CLOSE_RATE_LIMITED: Suspicion.RATE,
}

# Reports may quote the message at fault, and that may be an `auth`.
_TOKEN = re.compile(r"[\w-]{8,}\.[\w-]{4,}\.[\w-]{4,}")

MESSAGE_LINES = 1000
"""Lines of the sampled messages (`logging.messages`) in ten seconds."""

_log = limited(__name__, lines=ROUTINE_LINES)
_messages = limited("valtronics_fast.messages", lines=MESSAGE_LINES)
_complaints = limited("valtronics_fast.clients.complaints")


def limits_of(config: Config) -> dict[str, float]:
    """Return the bounds of a connection, as the fields of the core's Limits."""
    limits, auth, server = config.limits, config.auth, config.server
    return {
        "messages_per_second": limits.messages_per_second,
        "message_size": limits.message_size,
        "auth_size": limits.auth_size,
        "frame_size": limits.frame_size,
        "fragments": limits.fragments,
        "batch_items": limits.batch_items,
        "subscriptions": limits.subscriptions,
        "device_ids": limits.device_ids,
        "min_interval": limits.min_interval,
        "replayed_messages": limits.replayed_messages,
        "json_depth": limits.json_depth,
        "queue_mark": limits.queue_mark,
        "queue_size": limits.queue_size,
        "queue_time": limits.queue_time,
        "queue_limit": limits.queue_limit,
        "auth_attempts": auth.attempts,
        "auth_timeout": auth.timeout,
        "grace": auth.grace,
        "renewal_notice": auth.renewal_notice,
        "ping_interval": server.ping_interval,
        "ping_timeout": server.ping_timeout,
        "close_timeout": server.close_timeout,
    }


class Clients:
    """The connected clients.

    Args:
        config: the settings.
        hub: where they subscribe.
        authenticator: verifies their tokens.
        statistics: counts them.
        publish: takes what they publish.
        follow: has the data of lanes come here, for their subscriptions.
        suspects: counts those that misbehave.
        room: how many there may be.
        elsewhere: how many connections a user has on other machines.

    Attributes:
        limits: the bounds of each connection, the same object for all.
        room: as given; whoever lets a client in takes its place there, which is given back when it has gone.
        active: connections that are open.
    """

    def __init__(
        self,
        config: Config,
        hub: Hub,
        authenticator: Authenticator,
        statistics: Statistics,
        *,
        publish: Publish,
        follow: Callable[[list[int], int], Awaitable[None]],
        suspects: Suspects,
        room: Room,
        elsewhere: Callable[[str], int],
    ) -> None:
        self.hub = hub
        self.limits = Limits(**limits_of(config))
        self.room = room
        self.publish = publish
        self._follow = follow
        self.active = 0
        self._gone = asyncio.Event()
        self._per_user = config.limits.connections_per_user
        self._authenticator = authenticator
        self._statistics = statistics
        self._suspects = suspects
        self._elsewhere = elsewhere
        self._tasks: set[asyncio.Task[None]] = set()
        self._sample(config.logging.messages)

    def _sample(self, fraction: float) -> None:
        """Have so many of all messages logged."""
        self._sampled = fraction
        self.hub.sampler = None
        if fraction:
            self.hub.sampler = Sampler(fraction, asyncio.get_running_loop().call_soon, _log_message)

    def reload(self, config: Config, authenticator: Authenticator) -> None:
        """Take new bounds, which hold for those that are connected, too, and verify tokens with other keys."""
        for name, value in limits_of(config).items():
            setattr(self.limits, name, value)
        self._per_user = config.limits.connections_per_user
        self._authenticator = authenticator
        if config.logging.messages != self._sampled:
            self._sample(config.logging.messages)

    def has_room(self, user: str) -> bool:
        """Say whether the user may open one more connection."""
        limit = self._per_user
        return not limit or self.room.connections_of(user) + self._elsewhere(user) < limit

    def verify(self, token: object, address: str) -> Grant | Awaitable[Grant]:
        """Return what a token permits, or an awaitable of it; a refusal is counted and logged.

        Raises:
            AuthError: the token is refused; so may the awaitable.
        """
        try:
            granted = self._authenticator.verify(token)
        except AuthError as error:
            self._count_failure(error, address)
            raise
        return granted if isinstance(granted, Grant) else self._verify_later(granted, address)

    async def _verify_later(self, verification: Awaitable[Grant], address: str) -> Grant:
        try:
            return await verification
        except AuthError as error:
            self._count_failure(error, address)
            raise

    def _count_failure(self, error: AuthError, address: str) -> None:
        self._statistics.auth_failures[error.reason] += 1
        if error.reason not in HONEST_FAILURES:
            self._suspects.note(Suspicion.AUTHENTICATION, address)
        _complaints.warning(
            "authentication failed", extra=fields(limit_key="auth", address=address, reason=error.reason)
        )

    def sessions(self) -> list[Session]:
        """Return those that are connected."""
        return [each for each in self.hub.connections() if isinstance(each, Session)]

    def presence(self, machine: int) -> Presence:
        """Return who is connected to this process, for other nodes; `machine` as there."""
        return Presence(self.active, reported(self.room.users if self._per_user else {}), machine)

    def explain(self, number: int, device: int | str | None) -> dict[str, object] | None:
        """Return why a connection does or does not get a device's messages now (docs/http-api.md).

        Args:
            number: the connection's, as the log has it.
            device: a canonical device id (`device_key`); None: the system.

        Returns:
            None when there is no such connection.
        """
        found = (session for session in self.sessions() if session.number == number)
        return next((explain(session, device, time.monotonic()) for session in found), None)

    def disconnect(self, code: CloseCode, user: str | None, count: int | None) -> int:
        """Close connections, the newest first (`Server.disconnect`)."""
        chosen = [each for each in self.sessions() if user is None or each.user == user]
        chosen = sorted(chosen, key=lambda each: each.age)[:count]
        for session in chosen:
            session.disconnect(code)
        return len(chosen)

    async def close(self, code: CloseCode, patience: float) -> None:
        """Say goodbye to everybody and wait for them to go; cut those that have not after so many seconds."""
        for session in self.sessions():
            session.disconnect(code)
        try:
            async with asyncio.timeout(patience):
                while self.active:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            for session in self.sessions():
                session.abort()
            await asyncio.sleep(0)
        await self._stop_tasks()

    async def _stop_tasks(self) -> None:
        """Give up what sessions still wait for."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- the host of the sessions

    def opened(self, session: Session, /) -> None:
        """A handshake is done."""
        self.active += 1
        self._statistics.opened()
        _log.info(
            "connected",
            extra=fields(
                connection=session.number,
                address=session.address,
                endpoint=CHANNEL_NAMES.get(session.endpoint, "all"),
            ),
        )

    def closed(self, session: Session, /) -> None:
        """A connection is gone."""
        self.active -= 1
        self.room.leave()
        self._gone.set()
        if session.user is not None:
            self.room.part(session.user)
        self._statistics.closed(session)
        if session.close_code in _SUSPICIONS and not session.closed_by_peer:
            self._suspects.note(_SUSPICIONS[CloseCode(session.close_code)], session.address)
        reason = CLOSE_REASONS.get(session.close_code, "by_client")
        _log.info(
            "disconnected",
            extra=fields(
                limit_key=f"disconnected: {reason}",
                connection=session.number,
                address=session.address,
                user=session.user,
                duration=round(session.age, 3),
                messages_in=session.messages_in,
                messages_out=session.messages_out,
                bytes_in=session.bytes_in,
                bytes_out=session.bytes_out,
                code=session.close_code,
                reason=reason,
            ),
        )

    def join(self, session: Session, user: str, /) -> bool:  # noqa: ARG002 - the host's signature
        """Count a connection for its user; False when the user has as many as it may."""
        if not self._per_user:
            return self.room.join(user, 0)
        left = self._per_user - self._elsewhere(user)
        return left > 0 and self.room.join(user, left)

    def authenticate(self, session: Session, token: object, /) -> Grant | Awaitable[Grant] | None:
        """Return what a token permits, an awaitable of it, or None when it is refused."""
        try:
            return self.verify(token, session.address)
        except AuthError:
            return None

    def wait(self, session: Session, verification: Awaitable[Grant], /) -> None:
        """Tell the session the outcome of a verification that takes its time."""
        self._run(self._finish(session, verification))

    def follow(self, session: Session, lanes: list[int], offset: int, /) -> None:
        """Have lanes followed for a subscription; the session goes on when they are, or can't be."""
        self._run(self._finish_following(session, lanes, offset))

    async def _finish_following(self, session: Session, lanes: list[int], offset: int) -> None:
        try:
            await self._follow(lanes, offset)
        finally:
            session.followed()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, session: Session, verification: Awaitable[Grant]) -> None:
        try:
            grant = await verification
        except AuthError:
            session.verified(None)
        else:
            session.verified(grant)

    def reported(self, session: Session, report: Mapping[str, object], /) -> None:
        """Log what a client has to say of its own processing errors."""
        _complaints.warning(
            "a client reports an error",
            extra=fields(
                limit_key="report",
                connection=session.number,
                user=session.user,
                report=_TOKEN.sub("***", orjson.dumps(report).decode())[:MAX_REPORT],
            ),
        )

    def failed(self, session: Session, error: BaseException, /) -> None:
        """Log that handling a message raised: a fault of this program."""
        _complaints.error(
            "a message could not be handled",
            exc_info=error,
            extra=fields(limit_key="failed", connection=session.number, user=session.user),
        )


def _log_message(direction: str, connection: int, kind: str | None, channel: str | None, size: int) -> None:
    """Log a message that was picked; type and channel are words of the protocol, or None."""
    values = fields(direction=direction, connection=connection, type=kind, channel=channel, size=size)
    _messages.info("message", extra=values)
