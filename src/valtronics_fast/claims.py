"""The claims of a verified token, turned into what its bearer may do (protocol.md, section 2).

Nothing here looks at a signature: the claims are those of a token that `auth` has verified. Whoever signs
tokens is trusted with what they permit, and with nothing else: a claim of the wrong type is refused, never
guessed at, for a guess could permit more than was meant.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from valtronics_fast._core.scope import Grant, device_key
from valtronics_fast._core.wire import CHANNELS, ErrorCode
from valtronics_fast.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valtronics_fast.config import AuthConfig

__all__ = ["MAX_DEVICES", "MAX_INTERVAL", "MAX_SUBJECT_BYTES", "MAX_TIME", "AuthReason", "grant_from_claims"]

MAX_TIME = 253_402_300_799
"""The last second of the year 9999, in Unix seconds: what ISO 8601 can still write down."""
MAX_SUBJECT_BYTES = 256
MAX_DEVICES = 10_000
"""The most ids that the claim `devices` may list."""

MAX_INTERVAL = 86_400
"""The most seconds that the claim `min_interval` may ask for."""

_ALL_CHANNELS = sum(1 << channel for channel in CHANNELS.values())

# Control characters and the two Unicode line ends: a user name goes into logs, one line an event.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class AuthReason(StrEnum):
    """Why a token was refused: the whole vocabulary of `AuthError.reason`, for logs and metric labels."""

    NOT_A_STRING = "not_a_string"
    TOO_LONG = "too_long"
    MALFORMED = "malformed"
    CRITICAL_HEADER = "critical_header"
    BAD_ALGORITHM = "bad_algorithm"
    NO_KEY = "no_key"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    MISSING_EXP = "missing_exp"
    BAD_EXP = "bad_exp"
    EXPIRED = "expired"
    BAD_NBF = "bad_nbf"
    NOT_YET_VALID = "not_yet_valid"
    MISSING_SUB = "missing_sub"
    BAD_SUB = "bad_sub"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_ISSUER = "wrong_issuer"
    BAD_CHANNELS = "bad_channels"
    BAD_DEVICES = "bad_devices"
    BAD_PUBLISH = "bad_publish"
    BAD_MIN_INTERVAL = "bad_min_interval"
    BAD_MONITOR = "bad_monitor"
    BAD_ADMIN = "bad_admin"


def grant_from_claims(claims: Mapping[str, object], config: AuthConfig, now: float) -> Grant:
    """Check the claims and return what they permit.

    Expiry is judged last, so that `token_expired` is answered only where a renewed token would be accepted. (At the
    handshake and over HTTP, that is: in band every refusal is `invalid_token`, which existing clients renew on.)

    Args:
        claims: the decoded payload of a token whose signature was verified.
        config: `audience`, `issuer`, `leeway` (seconds), `default_scope` and `admin_tokens` are used.
        now: the wall clock, in Unix seconds.

    Raises:
        AuthError: a claim is missing, of the wrong type, or does not fit the configuration; TOKEN_EXPIRED
            when nothing but the time is wrong.
    """
    if "exp" not in claims:
        raise AuthError(AuthReason.MISSING_EXP)
    expires_at = _time(claims["exp"], AuthReason.BAD_EXP)
    if "nbf" in claims and _time(claims["nbf"], AuthReason.BAD_NBF) > now + config.leeway:
        raise AuthError(AuthReason.NOT_YET_VALID)
    if config.issuer and claims.get("iss") != config.issuer:
        raise AuthError(AuthReason.WRONG_ISSUER)
    if config.audience and not _names_audience(claims.get("aud"), config.audience):
        raise AuthError(AuthReason.WRONG_AUDIENCE)
    if "sub" not in claims:
        raise AuthError(AuthReason.MISSING_SUB)
    grant = Grant(
        _subject(claims["sub"]),
        expires_at,
        channels=_channels(claims, config),
        publish=_publish(claims.get("publish", False)),
        devices=_devices(claims, config),
        min_interval=_min_interval(claims.get("min_interval", 0)),
        monitor=_monitor(claims.get("monitor", False)),
        admin=_admin(claims.get("admin", False), config),
    )
    if now >= expires_at + config.leeway:
        raise AuthError(AuthReason.EXPIRED, ErrorCode.TOKEN_EXPIRED)
    return grant


def _time(value: object, reason: AuthReason) -> float:
    """Return a NumericDate (RFC 7519, section 2): a number of seconds from 1970 to the year 9999."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_TIME:
        return float(value)
    raise AuthError(reason)


def _names_audience(claim: object, audience: str) -> bool:
    """Say whether `aud` (RFC 7519, section 4.1.3: one string, or an array of them) names this server."""
    if isinstance(claim, list):
        return audience in claim and all(isinstance(name, str) for name in claim)
    return claim == audience


def _subject(value: object) -> str:
    """Return the user's name: 1 to 256 bytes of UTF-8 without control characters."""
    if not isinstance(value, str) or not value or _CONTROL.search(value):
        raise AuthError(AuthReason.BAD_SUB)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise AuthError(AuthReason.BAD_SUB) from None
    if size > MAX_SUBJECT_BYTES:
        raise AuthError(AuthReason.BAD_SUB)
    return value


def _channels(claims: Mapping[str, object], config: AuthConfig) -> int:
    """Return the mask of the channels that may be subscribed to."""
    if "channels" not in claims:
        return 0 if config.default_scope == "none" else _ALL_CHANNELS
    return _mask(claims["channels"], AuthReason.BAD_CHANNELS)


def _publish(value: object) -> int:
    """Return the mask of the channels that may be published on; the claim is a boolean or a list of names."""
    if isinstance(value, bool):
        return _ALL_CHANNELS if value else 0
    return _mask(value, AuthReason.BAD_PUBLISH)


def _min_interval(value: object) -> float:
    """Return the seconds between two updates of a device, at least."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_INTERVAL:
        return float(value)
    raise AuthError(AuthReason.BAD_MIN_INTERVAL)


def _monitor(value: object) -> bool:
    """Return whether the server's own figures may be read."""
    if isinstance(value, bool):
        return value
    raise AuthError(AuthReason.BAD_MONITOR)


def _admin(value: object, config: AuthConfig) -> bool:
    """Return whether the admin functions are permitted.

    Where no token can permit them the claim is not looked at: others may use its name for something of their own.
    """
    if not config.admin_tokens:
        return False
    if isinstance(value, bool):
        return value
    raise AuthError(AuthReason.BAD_ADMIN)


def _mask(names: object, reason: AuthReason) -> int:
    """Return the mask for a list of channel names.

    Unknown names permit nothing and harm nothing: a token made for a later version, with more channels, is
    good for the ones known here.
    """
    if not isinstance(names, list):
        raise AuthError(reason)
    mask = 0
    for name in names:
        if not isinstance(name, str):
            raise AuthError(reason)
        if name in CHANNELS:
            mask |= 1 << CHANNELS[name]
    return mask


def _devices(claims: Mapping[str, object], config: AuthConfig) -> frozenset[int | str] | None:
    """Return the canonical ids of the devices in scope; None for all of them."""
    if "devices" not in claims:
        return frozenset() if config.default_scope == "none" else None
    value = claims["devices"]
    if value == "*":
        return None
    if not isinstance(value, list) or len(value) > MAX_DEVICES:
        raise AuthError(AuthReason.BAD_DEVICES)
    try:
        return frozenset(map(device_key, value))
    except ValueError:
        raise AuthError(AuthReason.BAD_DEVICES) from None
