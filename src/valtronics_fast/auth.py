"""Tokens in, permissions out: JSON Web Tokens (RFC 7519, RFC 8725) as protocol.md, section 2, asks for them.

The order is fixed: type and size, header, key, signature, claims. No claim is looked at before the signature
was verified; of the header only `alg` and `kid` are used, and both are only compared with what is configured
or was fetched. Signatures are verified by PyJWT's algorithms with keys that were prepared once; its `decode`, which
prepares and judges the key anew for each token, takes ten times as long.
"""

from __future__ import annotations

import asyncio
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import jwt
import orjson

from valtronics_fast.claims import AuthReason, grant_from_claims
from valtronics_fast.errors import AuthError
from valtronics_fast.jwks import KeySet
from valtronics_fast.keys import load_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from valtronics_fast._core.scope import Grant
    from valtronics_fast.config import AuthConfig
    from valtronics_fast.keys import Key

__all__ = ["MAX_TOKEN_BYTES", "AuthReason", "Authenticator"]

MAX_TOKEN_BYTES = 8192


class _Token(NamedTuple):
    """A token between the reading of its header and its verification."""

    raw: bytes
    digest: bytes  # its key in the cache
    algorithm: str  # one of the accepted
    kid: str | None


class Authenticator:
    """Verifies tokens against the configured keys, and remembers those that were good.

    The memory is a table from the SHA-256 of a token to its Grant, least recently used first out, bounded by
    `auth.token_cache` (0: none). An entry is good until the token's `exp`, by the wall clock at each hit; a
    changed JWKS empties it, for a key may have been withdrawn. Refused tokens are not remembered.

    Args:
        config: the section `auth`.
        clock: the wall clock, in Unix seconds.

    Raises:
        ConfigError: the keys and algorithms do not work together (`keys.load_keys`).
    """

    def __init__(self, config: AuthConfig, *, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._keys = load_keys(config)
        self._algorithms = {name: jwt.get_algorithm_by_name(name) for name in self._keys}
        self._cache: OrderedDict[bytes, Grant] = OrderedDict()
        self._key_set: KeySet | None = None
        if config.jwks_url:
            self._key_set = KeySet(config.jwks_url, config.algorithms, self._cache.clear)

    async def start(self) -> None:
        """Fetch the JWKS, when one is configured, and keep it fresh. Never fails: it is tried again."""
        if self._key_set is not None:
            await self._key_set.start()

    async def stop(self) -> None:
        """End what `start` began. May be called again."""
        if self._key_set is not None:
            await self._key_set.stop()

    def stats(self) -> dict[str, int]:
        """Return counters for the metrics: `cached_tokens`, `jwks_fetches`, `jwks_failures`, `jwks_keys`."""
        stats = {"cached_tokens": len(self._cache)}
        if self._key_set is not None:
            stats["jwks_fetches"] = self._key_set.fetches
            stats["jwks_failures"] = self._key_set.failures
            stats["jwks_keys"] = len(self._key_set)
        return stats

    def verify(self, token: object) -> Grant | Awaitable[Grant]:
        """Return what the token permits, or an awaitable of it when its key has to be fetched first.

        Takes whatever a client sent. With a JWKS it is called inside the running event loop.

        Raises:
            AuthError: the token is refused; nothing else is ever raised, here or by the awaitable.
        """
        raw = _token_bytes(token)
        digest = sha256(raw).digest()
        grant = self._cache.get(digest)
        if grant is not None:
            if self._clock() < grant.expires_at:
                self._cache.move_to_end(digest)
                return grant
            del self._cache[digest]
        parsed = _Token(raw, digest, *self._read_header(raw))
        if self._key_set is None:
            return self._verify_with(self._keys[parsed.algorithm], parsed)
        keys = self._key_set.find(parsed.algorithm, parsed.kid)
        if keys:
            return self._verify_with(keys, parsed)
        request = self._key_set.fetch_for_unknown_key()
        if request is None:
            raise _unknown_key(self._key_set)
        return self._verify_after(request, self._key_set, parsed)

    async def _verify_after(self, request: asyncio.Task[None], key_set: KeySet, token: _Token) -> Grant:
        """Verify once the request for the key set has ended, well or not."""
        await asyncio.wait({request})
        keys = key_set.find(token.algorithm, token.kid)
        if not keys:
            raise _unknown_key(key_set)
        return self._verify_with(keys, token)

    def _read_header(self, raw: bytes) -> tuple[str, str | None]:
        """Return `alg`, which is an accepted one, and `kid`."""
        header = _json_object(_base64url(raw.partition(b".")[0]))
        # RFC 7515, section 4.1.11: a critical extension must be understood; none is.
        if "crit" in header:
            raise AuthError(AuthReason.CRITICAL_HEADER)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._keys:
            raise AuthError(AuthReason.BAD_ALGORITHM)
        # RFC 7797, section 3: a payload that is not encoded would have to be declared critical.
        if header.get("b64") is False:
            raise AuthError(AuthReason.MALFORMED)
        if "kid" not in header:
            return algorithm, None
        kid = header["kid"]
        if not isinstance(kid, str):
            raise AuthError(AuthReason.MALFORMED)
        return algorithm, kid

    def _verify_with(self, keys: Sequence[Key], token: _Token) -> Grant:
        """Check signature and claims, and remember the Grant."""
        claims = _json_object(self._signed_payload(keys, token))
        now = self._clock()
        grant = grant_from_claims(claims, self._config, now)
        if now < grant.expires_at:
            self._cache[token.digest] = grant
            if len(self._cache) > self._config.token_cache:
                self._cache.popitem(last=False)
        return grant

    def _signed_payload(self, keys: Sequence[Key], token: _Token) -> bytes:
        """Return the payload of a token that one of the keys has signed."""
        signed, _, signature = token.raw.rpartition(b".")
        given, payload = _base64url(signature), _base64url(signed.partition(b".")[2])
        verify = self._algorithms[token.algorithm].verify
        for key in keys:
            try:
                good = verify(signed, key, given)
            except Exception:  # noqa: BLE001 - only AuthError leaves, whatever the input did
                raise AuthError(AuthReason.MALFORMED) from None
            if good:
                return payload
        raise AuthError(AuthReason.BAD_SIGNATURE)


def _unknown_key(key_set: KeySet) -> AuthError:
    """Tell a key that is not in the set from a set that could not be had."""
    return AuthError(AuthReason.UNKNOWN_KEY if len(key_set) else AuthReason.NO_KEY)


def _base64url(text: bytes) -> bytes:
    """Return what a part of a token encodes; each has one text only, without padding (RFC 4648, section 3.5).

    The library passes over characters that do not belong there, and over padding.
    """
    try:
        decoded = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        raise AuthError(AuthReason.MALFORMED) from None
    if urlsafe_b64encode(decoded).rstrip(b"=") != text:
        raise AuthError(AuthReason.MALFORMED)
    return decoded


def _json_object(text: bytes) -> dict[str, object]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise AuthError(AuthReason.MALFORMED) from None
    if not isinstance(value, dict):
        raise AuthError(AuthReason.MALFORMED)
    return value


def _token_bytes(token: object) -> bytes:
    """Return the text that a client sent as bytes, bounded in size."""
    if not isinstance(token, str):
        raise AuthError(AuthReason.NOT_A_STRING)
    if len(token) > MAX_TOKEN_BYTES:
        raise AuthError(AuthReason.TOO_LONG)
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        raise AuthError(AuthReason.MALFORMED) from None
