"""Who gets in: the decisions of the server about a handshake that is good in itself (the front's `Gate`)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from valtronics_fast._core.session import Session
from valtronics_fast.addresses import TrustedProxies, is_loopback, rate_key
from valtronics_fast.handshake import Policy
from valtronics_fast.origins import Origins
from valtronics_fast.refusals import Reason, Refusal
from valtronics_fast.units import Rate

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from valtronics_fast._core.scope import Grant
    from valtronics_fast.clients import Clients
    from valtronics_fast.config import Config
    from valtronics_fast.handshake import Upgrade
    from valtronics_fast.room import Limiter

__all__ = ["ServerGate", "policy_of"]

RETRY_WHEN_FULL = 5.0
"""Seconds after which a client that found no room, or a server that goes, may try again."""


TLS_FACTOR = 4
"""How much more often than it may connect an address may begin a TLS handshake.

Somebody who is a little over the rate should be told so, by HTTP 429, which takes a TLS handshake; somebody who only
makes handshakes costs 2 ms of CPU each time and is never told anything.
"""


def policy_of(config: Config, http_host: str, http_port: int) -> Policy:
    """Return the settings that a handshake is judged by before anything else.

    The dashboard need not be listed where the HTTP port listens on one address: pages from there are this server's.

    Args:
        config: the settings.
        http_host: the address that the HTTP port listens on.
        http_port: the port; 0 is not known yet.
    """
    origins = config.security.origins
    if origins and http_port and config.http.dashboard and http_host not in {"0.0.0.0", "::"}:  # noqa: S104
        names = {http_host, "localhost"} if is_loopback(http_host) else {http_host}
        origins += tuple(f"http://{f'[{name}]' if ':' in name else name}:{http_port}" for name in sorted(names))
    return Policy(
        Origins(origins),
        query_token=config.auth.query_token,
        compression=config.server.compression,
        require_origin=config.security.require_origin,
    )


class ServerGate:
    """Lets clients in as far as the limits allow (protocol.md, section 4).

    Args:
        config: the settings.
        clients: those who are in.

    Attributes:
        open: whether anybody is let in at all.
    """

    def __init__(self, config: Config, clients: Clients) -> None:
        self.open = True
        self._held = False
        self._clients = clients
        self._spare_loopback = config.demo
        self._rate: tuple[Rate, int] | None = None
        self._addresses: Limiter
        self._tls: Limiter
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Let in by these settings from now on. The count of an address goes on unless its bound is another one."""
        self._connections = config.limits.connections
        self._trusted = TrustedProxies(config.security.trusted_proxies)
        rate, size = config.limits.connection_rate, config.limits.addresses
        if self._rate != (rate, size):
            self._rate = (rate, size)
            room = self._clients.room
            self._addresses = room.limiter("connections", rate, size)
            self._tls = room.limiter("handshakes", Rate(TLS_FACTOR * rate.count, rate.seconds), size)

    def hold(self, held: bool) -> None:
        """Let nobody in, for the process is short of memory, or do again."""
        self._held = held

    def permits_tls(self, address: str, /) -> bool:
        """Say whether an address may begin a TLS handshake; a trusted proxy may, for it is not known for whom."""
        spared = self._trusted.include(address) or (self._spare_loopback and is_loopback(address))
        return spared or not self._tls.take(rate_key(address), time.monotonic())

    def refuse_early(self, upgrade: Upgrade, address: str, /) -> Refusal | None:  # noqa: ARG002 - Gate's signature
        """Return why there is no room for a client of this address; None when there is."""
        # Those who come to a server that goes have to come again, and that is not to be over their rate.
        if self.open and not (self._spare_loopback and is_loopback(address)):
            wait = self._addresses.take(rate_key(address), time.monotonic())
            if wait:
                return Refusal(Reason.ADDRESS_RATE, retry_after=wait)
        return self._refuse_full()

    def authenticate(self, upgrade: Upgrade, address: str, /) -> Grant | Awaitable[Grant] | None:
        """Return what the token of the handshake permits; None when there is no token.

        Raises:
            AuthError: the token is refused.
        """
        return None if upgrade.token is None else self._clients.verify(upgrade.token, address)

    def open_session(self, upgrade: Upgrade, address: str, grant: Grant | None, /) -> Session:
        """Return the session of a client that is in.

        Raises:
            Refusal: others were faster while its token was verified, or its user has no room left, or the server has
                begun to go.
        """
        if refusal := self._refuse_full():
            raise refusal
        if grant is not None and not self._clients.has_room(grant.user):
            raise Refusal(Reason.USER_CONNECTIONS, retry_after=RETRY_WHEN_FULL)
        if not self._clients.room.enter(self._connections):
            raise Refusal(Reason.SERVER_FULL, retry_after=RETRY_WHEN_FULL)
        return Session(
            self._clients.hub,
            self._clients.limits,
            self._clients,
            address,
            endpoint=-1 if upgrade.channel is None else upgrade.channel,
            implicit=upgrade.subscribe,
            grant=grant,
            msgpack=upgrade.msgpack,
            deflate=0 if upgrade.deflate is None else upgrade.deflate.bits,
        )

    def _refuse_full(self) -> Refusal | None:
        if not self.open:
            return Refusal(Reason.SHUTTING_DOWN, retry_after=RETRY_WHEN_FULL)
        if self._held:
            return Refusal(Reason.MEMORY, retry_after=RETRY_WHEN_FULL)
        if self._clients.room.is_full(self._connections):
            return Refusal(Reason.SERVER_FULL, retry_after=RETRY_WHEN_FULL)
        return None
