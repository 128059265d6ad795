"""Who may use the HTTP side: bans, the API key, and tokens (docs/http-api.md)."""

from __future__ import annotations

import hmac
import math
from typing import TYPE_CHECKING

from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import ERROR_NAMES, Channel, ErrorCode
from valtronics_fast.addresses import UNKNOWN_ADDRESS, client_address, is_loopback
from valtronics_fast.errors import AuthError
from valtronics_fast.http_listener import HttpError
from valtronics_fast.logging import fields, limited
from valtronics_fast.suspects import HONEST_FAILURES, Suspicion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from valtronics_fast.addresses import TrustedProxies
    from valtronics_fast.config import HttpConfig
    from valtronics_fast.statistics import Statistics
    from valtronics_fast.suspects import Suspects

__all__ = ["HttpGuard"]

BAD_API_KEY = "bad_api_key"
NO_CREDENTIAL = "no_credential"

_ALL_CHANNELS = sum(1 << channel for channel in Channel)
_FORWARDING = ("x-forwarded-for", "forwarded")

_log = limited("valtronics_fast.http_guard")


class HttpGuard:
    """Judges the senders of HTTP requests; each refused credential is counted, and logged with a limit.

    Args:
        config: the section `http`: the API key, and the address that is really listened on.
        verify: what a bearer token permits; raises AuthError.
        trusted: proxies that are believed whose request they pass on.
        suspects: counts failures, and knows who is banned.
        statistics: counts refused credentials.

    Attributes:
        operator: what the API key permits.
        open_to_all: whether the figures need no credential: without a key, and on loopback alone.
    """

    def __init__(
        self,
        config: HttpConfig,
        verify: Callable[[object], Grant | Awaitable[Grant]],
        trusted: TrustedProxies,
        suspects: Suspects,
        statistics: Statistics,
    ) -> None:
        self.operator = Grant("api-key", math.inf, publish=_ALL_CHANNELS)
        self._suspects = suspects
        self._statistics = statistics
        self.reload(config, verify, trusted)

    def reload(
        self, config: HttpConfig, verify: Callable[[object], Grant | Awaitable[Grant]], trusted: TrustedProxies
    ) -> None:
        """Judge by these from now on."""
        self._api_key = config.api_key.encode()
        self.open_to_all = not self._api_key and is_loopback(config.host)
        self._verify = verify
        self._trusted = trusted

    def refuse_banned(self, request: web.BaseRequest) -> None:
        """Refuse whoever is banned, whatever the request is.

        Raises:
            HttpError: 429 with Retry-After.
        """
        if seconds := self._suspects.banned(self._address(request)):
            headers = {"Retry-After": str(math.ceil(seconds))}
            name = ERROR_NAMES[ErrorCode.RATE_LIMITED]
            raise HttpError(429, name, "this address is banned for a while", close=True, headers=headers)

    async def authorise(self, request: web.BaseRequest) -> Grant:
        """Return what the sender may publish; the API key, where one is sent, goes before a token.

        Raises:
            HttpError: 401 without a valid credential, 403 with a token that may not publish at all.
        """
        key = request.headers.get("X-API-Key")
        if key is not None:
            # aiohttp decodes header values as UTF-8, with surrogates for what is none.
            if self._api_key and hmac.compare_digest(key.encode("utf-8", "surrogateescape"), self._api_key):
                return self.operator
            raise self._refuse(request, BAD_API_KEY, ErrorCode.INVALID_TOKEN, "the API key is not valid")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            message = "X-API-Key or Authorization: Bearer is needed"
            raise self._refuse(request, NO_CREDENTIAL, ErrorCode.NOT_AUTHENTICATED, message)
        try:
            grant = await self._verified(token.strip())
        except AuthError as error:
            raise self._refuse(request, error.reason, error.code, str(error)) from None
        if not grant.publish:
            raise HttpError(403, ERROR_NAMES[ErrorCode.FORBIDDEN], "the token may not publish")
        return grant

    async def authorise_operator(self, request: web.BaseRequest) -> None:
        """Let nobody pass but who has the API key.

        Raises:
            HttpError: 401 without a valid credential, 403 with a token, whatever it permits.
        """
        if await self.authorise(request) is not self.operator:
            raise HttpError(403, ERROR_NAMES[ErrorCode.FORBIDDEN], "the API key is needed")

    async def _verified(self, token: str) -> Grant:
        """Verify a token. The text of an unexpected exception may quote it, and is kept out of the log."""
        try:
            grant = self._verify(token)
            return grant if isinstance(grant, Grant) else await grant
        except AuthError:
            raise
        except Exception as error:  # noqa: BLE001 - raised on, without its text
            fault = RuntimeError(f"verifying a token failed: {type(error).__name__}")
            raise fault.with_traceback(error.__traceback__) from None

    def _refuse(self, request: web.BaseRequest, reason: str, code: ErrorCode, message: str) -> HttpError:
        """Count a failed authentication, at most once a connection: the answer closes it."""
        address = self._address(request)
        self._statistics.http_auth_failures[reason] += 1
        if reason != NO_CREDENTIAL and reason not in HONEST_FAILURES:
            self._suspects.note(Suspicion.AUTHENTICATION, address)
        _log.warning("HTTP authentication failed", extra=fields(address=address, reason=reason))
        challenge = 'Bearer realm="valtronics-fast"'
        if code != ErrorCode.NOT_AUTHENTICATED:
            challenge += ', error="invalid_token"'  # RFC 6750, section 3.1
        headers = {"WWW-Authenticate": challenge}
        return HttpError(401, ERROR_NAMES[code], message, close=True, headers=headers)

    def _address(self, request: web.BaseRequest) -> str:
        """Return the address of the client itself."""
        headers = {name: request.headers.getall(name, []) for name in _FORWARDING}
        return client_address(request.remote or UNKNOWN_ADDRESS, headers, self._trusted)
