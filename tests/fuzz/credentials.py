"""Target: tokens, and the claims in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import orjson

import tokens
from core.oracle import device_key
from fuzz.target import Target, expect
from valtronics_fast import auth, claims
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import CHANNELS
from valtronics_fast.auth import Authenticator
from valtronics_fast.claims import MAX_DEVICES, MAX_INTERVAL, MAX_TIME, AuthReason
from valtronics_fast.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIGS = {
    False: tokens.auth_config(),
    True: tokens.auth_config(audience="us", issuer="them", default_scope="none", leeway=0),
}
UNJUDGED: Any = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
WRONG = b"another secret of the same size." * 2


def _mask(names: object) -> int | None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return sum(1 << CHANNELS[name] for name in {name for name in names if name in CHANNELS})


def _number(value: object, most: float) -> bool:
    return type(value) in (int, float) and 0 <= value <= most  # type: ignore[operator]


def _permitted(found: dict[str, Any], *, strict: bool) -> dict[str, object] | None:
    """Return what the claims permit (protocol.md, section 2); None: the token is refused."""
    config, everything = CONFIGS[strict], (1 << len(CHANNELS)) - 1
    user, expiry, starts = found.get("sub"), found.get("exp"), found.get("nbf", 0)
    if not isinstance(expiry, (int, float)) or not _number(expiry, MAX_TIME) or not _number(starts, MAX_TIME):
        return None
    if expiry + config.leeway <= tokens.NOW or starts > tokens.NOW + config.leeway:
        return None
    if not isinstance(user, str) or not 1 <= len(user.encode()) <= 256:
        return None
    if any(ord(letter) < 32 or 127 <= ord(letter) < 160 or letter in "\u2028\u2029" for letter in user):
        return None
    audience = found.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if strict and (found.get("iss") != "them" or "us" not in named or not all(isinstance(one, str) for one in named)):
        return None
    publish = found.get("publish", False)
    devices = found.get("devices", [] if strict else "*")
    keys = None if devices == "*" else list(map(device_key, devices)) if isinstance(devices, list) else [None]
    result: dict[str, object] = {
        "user": user,
        "expires_at": float(expiry),
        "channels": _mask(found["channels"]) if "channels" in found else 0 if strict else everything,
        "publish": everything * publish if isinstance(publish, bool) else _mask(publish),
        "min_interval": found.get("min_interval", 0),
    }
    if None in result.values() or not _number(result["min_interval"], MAX_INTERVAL):
        return None
    if keys is not None and (None in keys or len(keys) > MAX_DEVICES):
        return None
    return {**result, "devices": None if keys is None else frozenset(keys)}


def start_tokens() -> Callable[[bytes], None]:
    """A byte of what is done with the rest, then a token, or header, NUL and claims, which are signed.

    1: strict settings. 2: the rest is the token. 4: the usual header. 8: signed with another secret.
    """
    clock = tokens.Clock()
    ways = {strict: Authenticator(config, clock=clock) for strict, config in CONFIGS.items()}

    def verified(strict: bool, token: str) -> Grant | None:
        try:
            grant = ways[strict].verify(token)
        except AuthError as error:
            expect(error.reason, AuthReason)
            return None
        assert isinstance(grant, Grant)
        return grant

    def run(data: bytes) -> None:
        if not data:
            return
        strict, (header, _, payload) = bool(data[0] & 1), data[1:].partition(b"\0")
        if data[0] & 2:
            token = data[1:].decode("utf-8", "surrogateescape" if data[0] & 4 else "replace")
        else:
            token = tokens.token(
                payload, header=None if data[0] & 4 else header, key=WRONG if data[0] & 8 else tokens.SECRET.encode()
            )
        grant = verified(strict, token)
        again = verified(strict, token)
        assert (grant is None) == (again is None)
        if grant is not None:
            # Nothing is granted that PyJWT would not take as signed by us, and nothing but what the claims say.
            found = jwt.decode(token, tokens.SECRET, algorithms=["HS256"], options=UNJUDGED)
            expected = _permitted(found, strict=strict)
            assert expected is not None
            assert {name: getattr(grant, name) for name in expected} == expected
        elif data[0] & 14 == 4 and len(token) <= auth.MAX_TOKEN_BYTES:
            try:
                found = orjson.loads(payload)
            except orjson.JSONDecodeError:
                return
            assert not isinstance(found, dict) or _permitted(found, strict=strict) is None

    return run


TARGETS = {"tokens": Target(start_tokens, (auth, claims))}
