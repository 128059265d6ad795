"""What the fronts of a server share: settings, the table of half-open sockets, its timer, the counters."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.entrance import Entrance
from valtronics_fast.errors import AuthError
from valtronics_fast.front import MAX_RECEIVED, Front
from valtronics_fast.logging import fields, limited
from valtronics_fast.quiet_logger import QuietLogger
from valtronics_fast.refusals import Reason, Refusal
from valtronics_fast.suspects import Suspicion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from valtronics_fast.addresses import TrustedProxies
    from valtronics_fast.front import Gate
    from valtronics_fast.handshake import Policy
    from valtronics_fast.suspects import Suspects
    from valtronics_fast.tls import ServerTls

__all__ = ["MAX_HALF_OPEN", "Reception"]

MAX_HALF_OPEN: Final = 1024
"""Sockets that are not upgraded yet; one more closes the oldest of them."""

SWEEP_INTERVAL: Final = 0.25
"""Seconds between two looks at the deadlines: a socket is closed that much after its time at most."""

_UNBOUNDED: Final = 2**31

SETTLE_TIMEOUT: Final = 1.0
"""Seconds that strangers have to finish their handshake when the server goes and another one has its socket."""

SETTLE_INTERVAL: Final = 0.01
"""Seconds between two looks whether any is left."""

# A request that is too large is none: a page can have a browser ask for a path of any length. Refused tokens are noted
# where they are verified.
_SUSPICIONS: Final[Mapping[Reason, Suspicion]] = {
    **dict.fromkeys((Reason.ORIGIN, Reason.NO_ORIGIN), Suspicion.ORIGIN),
    **dict.fromkeys((Reason.ADDRESS_RATE, Reason.TLS_RATE), Suspicion.RATE),
    **dict.fromkeys(
        (Reason.MALFORMED, Reason.BAD_TARGET, Reason.BAD_HOST, Reason.TWO_ORIGINS, Reason.BAD_KEY), Suspicion.VIOLATION
    ),
}

MAX_PATH: Final = 64
"""Characters of a path that are logged."""

_log = limited(__name__)


class Reception:
    """Takes in strangers: gives each accepted socket a protocol, and bounds how many wait and for how long.

    Make it within the running event loop and give `protocol` to `loop.create_server`, which need not know of TLS.

    Args:
        gate: the decisions of the server.
        policy: the settings of the pure judgement.
        trusted: `security.trusted_proxies`.
        suspects: counts who misbehaves, and knows who is banned.
        health: what `GET /health` answers, an object for JSON; its `status` is "ok", or the answer is a 503.
        timeout: seconds for PROXY header and TLS, again for the request head, and for the check of a token; 0 is no
            limit.
        max_frame_size: bytes of the largest frame that picows takes; 0: no limit.
        proxy_protocol: whether each connection begins with a PROXY header, and comes from a trusted proxy.
        tls: for connections with TLS; None: plain ones.

    Attributes:
        upgraded: handshakes that became WebSockets.
        ended: how many ended otherwise, by reason.
        scratch: what every front reads into. One is enough: a transport asks for it, fills it and says so
            without a turn of the loop between.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        policy: Policy,
        trusted: TrustedProxies,
        suspects: Suspects,
        health: Callable[[], Mapping[str, object]],
        timeout: float,
        max_frame_size: int,
        proxy_protocol: bool = False,
        tls: ServerTls | None = None,
    ) -> None:
        self.gate = gate
        self.policy = policy
        self.trusted = trusted
        self.suspects = suspects
        self.health = health
        self.timeout = timeout or float("inf")
        self.max_frame_size = max_frame_size or _UNBOUNDED
        self.proxy_protocol = proxy_protocol
        self.tls = tls
        self.upgraded = 0
        self.ended = dict.fromkeys(Reason, 0)
        self.scratch = memoryview(bytearray(MAX_RECEIVED))
        self.websocket_log = QuietLogger(limited("picows"))
        self._loop = asyncio.get_running_loop()
        self._half_open: dict[Front | Entrance, None] = {}  # ordered: the oldest comes first
        self._timer: asyncio.TimerHandle | None = None

    @property
    def half_open(self) -> int:
        """Accepted sockets that are neither upgraded nor closed."""
        return len(self._half_open)

    def protocol(self) -> Front | Entrance:
        """Return the protocol of a new socket: the factory for `loop.create_server`.

        It must never raise: uvloop would not accept anything more on that listening socket.
        """
        return Entrance(self) if self.proxy_protocol or self.tls is not None else Front(self)

    def reload(self, policy: Policy, trusted: TrustedProxies, max_frame_size: int) -> None:
        """Take in strangers by these from now on."""
        self.policy = policy
        self.trusted = trusted
        self.max_frame_size = max_frame_size or _UNBOUNDED

    async def settle(self) -> None:
        """Wait until no socket is half-open, but no longer than SETTLE_TIMEOUT."""
        end = self.now() + SETTLE_TIMEOUT
        while self._half_open and self.now() < end:  # noqa: ASYNC110 - too rare for an Event
            await asyncio.sleep(SETTLE_INTERVAL)

    def close(self) -> None:
        """Close every half-open socket at once; to be called when nothing is accepted any more."""
        for each in tuple(self._half_open):
            each.drop(Reason.SHUTTING_DOWN)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stats(self) -> dict[str, object]:
        """Return how many were refused, by reason, and until when the certificate is valid (Unix seconds)."""
        refused = {reason.label: count for reason, count in self.ended.items() if count}
        certificate = {} if self.tls is None else {"certificate_expires_at": self.tls.expires_at}
        return {"half_open": self.half_open, "refused": refused, **certificate}

    # --- called by the entrances and fronts

    def now(self) -> float:
        """Return the time that deadlines are told in: seconds of the loop's clock."""
        return self._loop.time()

    def enter(self, stranger: Front | Entrance) -> None:
        """Take a new socket into the table; the oldest one makes room for it."""
        if len(self._half_open) >= MAX_HALF_OPEN:
            next(iter(self._half_open)).drop(Reason.EVICTED)
        self._half_open[stranger] = None
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_INTERVAL, self._sweep)

    def leave(self, stranger: Front | Entrance) -> None:
        """Take a socket out of the table."""
        self._half_open.pop(stranger, None)

    def count(self, reason: Reason, address: str, path: str) -> None:
        """Count the end of a handshake and log it: of the request only the path, cut."""
        self.ended[reason] += 1
        if reason in _SUSPICIONS:
            self.suspects.note(_SUSPICIONS[reason], address)
        # That somebody is banned was told once.
        level = logging.INFO if reason.status and reason is not Reason.BANNED else logging.DEBUG
        if _log.isEnabledFor(level):
            kind = f"handshake ended: {reason.label}"
            values = fields(reason=reason.label, address=address, path=path[:MAX_PATH], limit_key=kind)
            _log.log(level, "handshake ended", extra=values)

    def explain(self, error: BaseException) -> Refusal:
        """Return the refusal that an exception stands for; one that stands for none is logged."""
        if isinstance(error, Refusal):
            return error
        if isinstance(error, AuthError):
            expired = error.code == ErrorCode.TOKEN_EXPIRED
            return Refusal(Reason.TOKEN_EXPIRED if expired else Reason.INVALID_TOKEN)
        _log.error("a handshake could not be decided", exc_info=error)
        return Refusal(Reason.INTERNAL)

    def _sweep(self) -> None:
        """Let every socket go whose deadline has passed; the timer stops when none is left."""
        now = self.now()
        for each in [each for each in self._half_open if each.deadline <= now]:
            each.expire()
        self._timer = self._loop.call_later(SWEEP_INTERVAL, self._sweep) if self._half_open else None
