"""Making tokens with the configured secret: for the command `token`, and for a demo's start.

What the claims mean stands in protocol.md, section 2; `claims` reads them back.
"""

from __future__ import annotations

import math
import secrets
import time
from typing import TYPE_CHECKING

import msgspec

from valtronics_fast._core.scope import device_key
from valtronics_fast._core.wire import CHANNELS
from valtronics_fast.claims import MAX_DEVICES, MAX_INTERVAL, MAX_SUBJECT_BYTES
from valtronics_fast.config_checks import SECRET_BYTES
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from valtronics_fast.config import AuthConfig, Config

__all__ = ["mint", "with_secret"]

MAX_EXPIRES = 10 * 365 * 86400
"""Seconds; a token that outlives this is a mistake."""


def mint(
    auth: AuthConfig,
    user: str,
    *,
    channels: Iterable[str] | None = None,
    devices: Iterable[object] | None = None,
    publish: bool | Iterable[str] = False,
    min_interval: float = 0.0,
    monitor: bool = False,
    admin: bool = False,
    expires: float = 3600.0,
    now: float | None = None,
) -> str:
    """Make a signed token.

    Args:
        auth: the secret, the algorithms, and the audience and issuer that go into it.
        user: the claim `sub`: 1 to 256 bytes without control characters.
        channels: names of the channels that it permits; None leaves that to `auth.default_scope`.
        devices: ids of the devices that it permits, or "*" for all of them; None leaves that to
            `auth.default_scope`.
        publish: whether it may publish, or the names of the channels that it may publish on.
        min_interval: seconds between two updates of a device, at least; 0: none.
        monitor: whether it may read the server's own figures.
        admin: whether it permits the admin functions of the HTTP side, where `auth.admin_tokens` is on.
        expires: seconds until it expires.
        now: the wall clock in Unix seconds; None reads it.

    Raises:
        ConfigError: there is no secret to sign with, or the algorithms do not sign with one.
        ValueError: an argument is not allowed; the text says which.
    """
    algorithm = next((name for name in auth.algorithms if name in SECRET_BYTES), None)
    if algorithm is None:
        named = ", ".join(auth.algorithms)
        raise ConfigError([f"auth.algorithms has {named}: such tokens are signed by who has the private key"])
    if not auth.secret:
        problem = "auth.secret is not set, so there is nothing to sign a token with"
        raise ConfigError([f"{problem}: set VFAST_AUTH__SECRET, or secret in [auth]"])
    if not 0 < expires <= MAX_EXPIRES:
        raise ValueError("expires: must be above 0 and at most ten years")
    start = int(time.time() if now is None else now)
    claims: dict[str, object] = {"sub": _check_user(user), "iat": start, "exp": start + math.ceil(expires)}
    optional: dict[str, object] = {"aud": auth.audience, "iss": auth.issuer}
    optional |= {"min_interval": _check_interval(min_interval), "monitor": monitor, "admin": admin}
    claims |= {name: value for name, value in optional.items() if value}
    if channels is not None:
        claims["channels"] = _check_channels("channels", channels)
    if devices is not None:
        claims["devices"] = devices if devices == "*" else _check_devices(devices)
    if publish is not False:
        claims["publish"] = True if publish is True else _check_channels("publish", publish)

    import jwt  # noqa: PLC0415 - it takes longer to load than all the rest, and a server may never need it

    return jwt.encode(claims, auth.secret, algorithm)


def _check_user(user: str) -> str:
    """Return a user name that `claims` will take."""
    if not user.isprintable() or not 1 <= len(user.encode(errors="replace")) <= MAX_SUBJECT_BYTES:
        raise ValueError(f"sub: must be 1 to {MAX_SUBJECT_BYTES} bytes, all printable")
    return user


def _check_interval(seconds: float) -> float:
    """Return an interval that `claims` will take."""
    if not 0 <= seconds <= MAX_INTERVAL:
        raise ValueError("min-interval: must be from 0 to a day")
    return seconds


def _check_channels(name: str, channels: Iterable[str]) -> list[str]:
    """Return the names of channels, all known."""
    listed = list(channels)
    unknown = [channel for channel in listed if channel not in CHANNELS]
    if unknown or not listed:
        what = ", ".join(map(repr, unknown)) or "nothing"
        raise ValueError(f"{name}: must be of {', '.join(CHANNELS)}, not {what}")
    return listed


def _check_devices(devices: Iterable[object]) -> list[int | str]:
    """Return canonical device ids."""
    listed: list[int | str] = []
    for device in devices:
        try:
            listed.append(device_key(device))
        except ValueError:
            raise ValueError(f"devices: must be integers or up to 64 bytes of text, not {device!r}") from None
    if not 1 <= len(listed) <= MAX_DEVICES:
        raise ValueError(f'devices: must be "*" or 1 to {MAX_DEVICES} ids, not {len(listed)}')
    return listed


def with_secret(config: Config) -> Config:
    """Return the settings with a random secret, when they name no key at all; else themselves."""
    auth = config.auth
    if auth.secret or auth.public_key_file or auth.jwks_url:
        return config
    auth = msgspec.structs.replace(auth, secret=secrets.token_urlsafe(48))
    return msgspec.structs.replace(config, auth=auth)
