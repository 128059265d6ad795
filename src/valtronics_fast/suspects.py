"""Who misbehaves: failures counted by kind and by client address, and a ban for a while for those with too many.

Not every failure leads to a ban. A web page can make the browsers of its visitors fail at an origin, and many clients
behind one address reach its rate together: whoever bans for that bans the victims. So those are counted, and what
bans is only what no honest client does: tokens and keys that nobody has issued, and bytes that are no protocol.
"""

from __future__ import annotations

import time
from enum import StrEnum
from heapq import nlargest
from typing import TYPE_CHECKING, Final

from valtronics_fast.addresses import UNKNOWN_ADDRESS, TrustedProxies, is_loopback, rate_key
from valtronics_fast.bans import OwnBans
from valtronics_fast.claims import AuthReason
from valtronics_fast.logging import fields, limited

if TYPE_CHECKING:
    from collections.abc import Callable

    from valtronics_fast.bans import Bans
    from valtronics_fast.config_security import SecurityConfig

__all__ = ["HONEST_FAILURES", "Suspects", "Suspicion"]

WORST: Final = 10
"""Addresses that the figures name."""

HONEST_FAILURES: Final = frozenset(
    {AuthReason.EXPIRED, AuthReason.NOT_YET_VALID, AuthReason.NO_KEY, AuthReason.UNKNOWN_KEY}
)
"""Refused tokens that a clock, a late renewal or our own key set may be the reason for: they arouse no suspicion."""

_log = limited("valtronics_fast.suspects")


class Suspicion(StrEnum):
    """What an address is suspected for."""

    AUTHENTICATION = "authentication"  # a token or key that is not valid
    VIOLATION = "violation"  # malformed HTTP, or a WebSocket closed for breaking the protocol
    ORIGIN = "origin"  # a page that may not connect
    RATE = "rate"  # too many connections, or messages


_BANNING: Final = frozenset({Suspicion.AUTHENTICATION, Suspicion.VIOLATION})


class _Suspect:
    """What is known of one address."""

    __slots__ = ("counts", "last", "total")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(Suspicion, 0)
        self.total = 0
        self.last = 0.0


class Suspects:
    """Counts failures, by IPv4 address and by IPv6 /64, and bans.

    Every table is bounded by `security.suspects`: the address that has been quiet for longest is forgotten. Nothing
    that a banned address does makes its ban longer.

    Args:
        config: the section `security`.
        bans: who is banned; None: nobody yet, and this process alone says so.
        spare_loopback: whether loopback addresses are never banned; trusted proxies never are.
        clock: seconds of a monotonic clock.

    Attributes:
        counts: failures since the start, by kind.
        bans: how often an address was banned since the start.
    """

    def __init__(
        self,
        config: SecurityConfig,
        bans: Bans | None = None,
        *,
        spare_loopback: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = dict.fromkeys(Suspicion, 0)
        self.bans = 0
        self._bans = OwnBans() if bans is None else bans
        self._spare_loopback = spare_loopback
        self._clock = clock
        self._suspects: dict[str, _Suspect] = {}  # the one that failed longest ago comes first
        self.reload(config)

    def reload(self, config: SecurityConfig) -> None:
        """Count and ban by these settings from now on.

        Bans that are in force end no later than new ones would, and at once where nobody is banned any more, or not
        this address.
        """
        self._ban_after = config.ban_after if config.ban_for else 0
        self._ban_for = config.ban_for
        self._size = config.suspects
        self._trusted = TrustedProxies(config.trusted_proxies)
        now = self._clock()
        self._bans.reload(self._size, now + self._ban_for if self._ban_after else now)
        for key in list(self._suspects)[: max(len(self._suspects) - self._size, 0)]:
            del self._suspects[key]

    def note(self, suspicion: Suspicion, address: str) -> None:
        """Count a failure of an address, which may be one too many."""
        self.counts[suspicion] += 1
        key, now = rate_key(address), self._clock()
        suspect = self._suspects.pop(key, None)
        if suspect is None or (self._ban_for and now - suspect.last >= self._ban_for):
            suspect = _Suspect()
        suspect.last = now
        suspect.counts[suspicion] += 1
        suspect.total += 1
        self._suspects[key] = suspect
        if len(self._suspects) > self._size:
            del self._suspects[next(iter(self._suspects))]
        if self._ban_after and suspicion in _BANNING and not self._is_spared(address):
            failures = self._bans.strike(key, now, after=self._ban_after, seconds=self._ban_for)
            if failures:
                self.bans += 1
                about = fields(address=key, failures=failures, seconds=self._ban_for, limit_key="ban")
                _log.warning("an address is banned", extra=about)

    def banned(self, address: str) -> float:
        """Return the seconds that an address is still banned for; 0.0: it is not."""
        return self._banned_for(rate_key(address), address) if self._ban_after else 0.0

    def _banned_for(self, key: str, address: str) -> float:
        left = self._bans.end(key) - self._clock()
        return left if left > 0 and not self._is_spared(address) else 0.0

    def stats(self) -> dict[str, object]:
        """Return the figures: totals, sizes, and the addresses with most failures."""
        worst = nlargest(WORST, self._suspects.items(), key=lambda item: item[1].total)
        return {
            "failures": {str(kind): count for kind, count in self.counts.items()},
            "addresses": len(self._suspects),
            "bans": self.bans,
            "banned": self._bans.count(self._clock()),
            "worst": [
                {
                    "address": key,
                    **{str(kind): count for kind, count in suspect.counts.items() if count},
                    "banned_for": round(self._banned_for(key, key.partition("/")[0]), 1),
                }
                for key, suspect in worst
            ],
        }

    def _is_spared(self, address: str) -> bool:
        """Say whether an address is never banned: who it stands for is not known, or it is our own."""
        if address == UNKNOWN_ADDRESS or self._trusted.include(address):
            return True
        return self._spare_loopback and is_loopback(address)
