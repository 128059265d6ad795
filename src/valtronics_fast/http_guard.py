"""Who may use the HTTP side: bans, keys, and tokens (docs/http-api.md).

There are three rights: to publish, to administer, and to read the figures. `http.api_key` and the claim `publish` give
the first, `http.admin_key` and the claim `admin` the second; neither is part of the other, and the third, which the
claim `monitor` gives alone, is part of both.
"""

from __future__ import annotations

import hmac
import math
import re
from typing import TYPE_CHECKING

from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import ERROR_NAMES, Channel, ErrorCode
from valtronics_fast.addresses import UNKNOWN_ADDRESS, TrustedProxies, client_address, is_loopback
from valtronics_fast.errors import AuthError
from valtronics_fast.http_listener import HttpError
from valtronics_fast.logging import fields, limited
from valtronics_fast.suspects import HONEST_FAILURES, Suspicion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from valtronics_fast.config import HttpConfig
    from valtronics_fast.statistics import Statistics
    from valtronics_fast.suspects import Suspects

__all__ = ["HttpGuard", "is_local", "named_host"]

BAD_API_KEY = "bad_api_key"
NO_CREDENTIAL = "no_credential"

_ALL_CHANNELS = sum(1 << channel for channel in Channel)
_FORWARDING = ("x-forwarded-for", "forwarded")
_PASSED_ON = (*_FORWARDING, "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")

# RFC 3986, section 3.2.2, without what no browser sends; what matches may stand in a header.
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")

_log = limited("valtronics_fast.http_guard")


def named_host(request: web.BaseRequest) -> str:
    """Return the host that the client asked for, without port and brackets; "" where there is none that is one."""
    match = _HOST.fullmatch(request.headers.get("Host", "").lower())
    return match[1].strip("[]") if match else ""


def is_local(request: web.BaseRequest) -> bool:
    """Say whether a request comes from this machine, and was meant for it.

    A page whose own name has come to mean this machine (DNS rebinding) asks for that name. A reverse proxy here speaks
    for others; one that does not say so can't be told from them.
    """
    passed_on = any(name in request.headers for name in _PASSED_ON)
    return is_loopback(request.remote or "") and is_loopback(named_host(request)) and not passed_on


class HttpGuard:
    """Judges the senders of HTTP requests; each refused credential is counted, and logged with a limit.

    Args:
        config: the section `http`: the API key, and the address that is really listened on.
        verify: what a bearer token permits; raises AuthError.
        trusted: proxies that are believed whose request they pass on.
        suspects: counts failures, and knows who is banned.
        statistics: counts refused credentials.
        demo: whether it is one, whose figures need no credential on this machine.

    Attributes:
        publisher: what the API key permits.
        administrator: what the admin key permits.
        admin_tokens: whether tokens may permit the admin functions.
    """

    def __init__(
        self,
        config: HttpConfig,
        verify: Callable[[object], Grant | Awaitable[Grant]],
        trusted: TrustedProxies,
        suspects: Suspects,
        statistics: Statistics,
        *,
        demo: bool = False,
    ) -> None:
        self.publisher = Grant("api-key", math.inf, publish=_ALL_CHANNELS)
        self.administrator = Grant("admin-key", math.inf, channels=0, admin=True)
        self.admin_tokens = False
        self._demo = demo
        self._suspects = suspects
        self._statistics = statistics
        self.reload(config, verify, trusted)

    def reload(
        self, config: HttpConfig, verify: Callable[[object], Grant | Awaitable[Grant]], trusted: TrustedProxies
    ) -> None:
        """Judge by these from now on."""
        self._api_key = config.api_key.encode()
        self._admin_key = config.admin_key.encode()
        self._opens = self._demo and not self._api_key and is_loopback(config.host)
        self._scrapers = TrustedProxies(config.metrics_networks)
        self._verify = verify
        self._trusted = trusted

    @property
    def admin_on(self) -> bool:
        """Whether any credential opens the admin functions."""
        return bool(self._admin_key) or self.admin_tokens

    def refuse_banned(self, request: web.BaseRequest) -> None:
        """Refuse whoever is banned, whatever the request is.

        Raises:
            HttpError: 429 with Retry-After.
        """
        if seconds := self._suspects.banned(self.address(request)):
            headers = {"Retry-After": str(math.ceil(seconds))}
            name = ERROR_NAMES[ErrorCode.RATE_LIMITED]
            raise HttpError(429, name, "this address is banned for a while", close=True, headers=headers)

    async def authorise(self, request: web.BaseRequest) -> Grant:
        """Return what the sender may publish.

        Raises:
            HttpError: 401 without a valid credential, 403 with one that may not publish at all.
        """
        grant = await self._identify(request)
        if not grant.publish:
            raise _forbidden("this key or token may not publish")
        return grant

    async def authorise_reader(self, request: web.BaseRequest) -> None:
        """Let nobody read the figures but who may: who has a key, or by a token that permits it or more than that.

        Raises:
            HttpError: 401 without a valid credential, 403 with a token that permits nothing of that.
        """
        if self._opens and is_local(request):
            return
        grant = await self._identify(request)
        if not (grant.monitor or grant.publish or grant.admin):
            raise _forbidden("the token may not read the server's figures")

    async def authorise_scraper(self, request: web.BaseRequest) -> None:
        """Let nobody read the metrics but who may read the figures, and who is in `http.metrics_networks`.

        Raises:
            HttpError: as `authorise_reader`.
        """
        if not self._scrapers.include(self.address(request)):
            await self.authorise_reader(request)

    async def authorise_admin(self, request: web.BaseRequest) -> Grant:
        """Return who the administrator is. A credential is needed in any case: a web page can make browsers ask, too.

        Raises:
            HttpError: 401 without a valid credential; 403 with one that does not permit it, and where none does.
        """
        if not self.admin_on:
            raise _forbidden("the admin functions are off: neither http.admin_key nor auth.admin_tokens is set")
        grant = await self._identify(request)
        if not grant.admin:
            _log.warning(
                "an admin function was refused",
                extra=fields(address=self.address(request), user=grant.user, limit_key="admin"),
            )
            raise _forbidden("this key or token does not permit the admin functions")
        return grant

    async def _identify(self, request: web.BaseRequest) -> Grant:
        """Return what the sender's credential permits; a key, where one is sent, goes before a token.

        Raises:
            HttpError: 401 without a valid one.
        """
        key = request.headers.get("X-API-Key")
        if key is not None:
            # aiohttp decodes header values as UTF-8, with surrogates for what is none.
            given = key.encode("utf-8", "surrogateescape")
            publishes = bool(self._api_key) & hmac.compare_digest(given, self._api_key)
            administers = bool(self._admin_key) & hmac.compare_digest(given, self._admin_key)
            if publishes or administers:
                return self.publisher if publishes else self.administrator
            raise self._refuse(request, BAD_API_KEY, ErrorCode.INVALID_TOKEN, "the API key is not valid")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            message = "X-API-Key or Authorization: Bearer is needed"
            raise self._refuse(request, NO_CREDENTIAL, ErrorCode.NOT_AUTHENTICATED, message)
        try:
            return await self._verified(token.strip())
        except AuthError as error:
            raise self._refuse(request, error.reason, error.code, str(error)) from None

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
        address = self.address(request)
        self._statistics.http_auth_failures[reason] += 1
        if reason != NO_CREDENTIAL and reason not in HONEST_FAILURES:
            self._suspects.note(Suspicion.AUTHENTICATION, address)
        _log.warning("HTTP authentication failed", extra=fields(address=address, reason=reason))
        challenge = 'Bearer realm="valtronics-fast"'
        if code != ErrorCode.NOT_AUTHENTICATED:
            challenge += ', error="invalid_token"'  # RFC 6750, section 3.1
        headers = {"WWW-Authenticate": challenge}
        return HttpError(401, ERROR_NAMES[code], message, close=True, headers=headers)

    def address(self, request: web.BaseRequest) -> str:
        """Return the address of the client itself."""
        headers = {name: request.headers.getall(name, []) for name in _FORWARDING}
        return client_address(request.remote or UNKNOWN_ADDRESS, headers, self._trusted)


def _forbidden(message: str) -> HttpError:
    return HttpError(403, ERROR_NAMES[ErrorCode.FORBIDDEN], message)
