"""A set of public keys that is fetched from a URL and kept fresh (JWKS, RFC 7517).

The server behind the URL is trusted with the keys and with nothing else: what it sends is bounded in size,
number and time, redirects are not followed, and what is not a usable set leaves the last good one in place.
Nothing of a token ever becomes part of a request; its `kid` is only compared.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import jwt
import orjson

from valtronics_fast.keys import PublicKey, as_public_key, suits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "COOL_DOWN",
    "MAX_BODY_BYTES",
    "MAX_KEYS",
    "MAX_TRIED_KEYS",
    "TIMEOUT",
    "TTL",
    "KeySet",
    "KeySetError",
    "SetKey",
    "parse_key_set",
]

TTL = 300.0
"""Seconds between two refreshes."""
COOL_DOWN = 30.0
"""Seconds between two fetches for unknown keys, and before a failed refresh is tried again."""
TIMEOUT = 5.0
"""Seconds for a fetch, from name resolution to the last byte."""
MAX_BODY_BYTES = 262_144
MAX_KEYS = 100
MAX_TRIED_KEYS = 8
"""The most keys that a token without `kid` is tried with: each one costs a verification."""

_HEADERS = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
# What makes a public key; a private key that was published by mistake is not even read.
_PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y")

logger = logging.getLogger(__name__)


class KeySetError(ValueError):
    """What the server sent is not a usable key set. The text is constant: nothing of the answer is in it."""


class SetKey(NamedTuple):
    """One key of the set, with the algorithms that it may be used for."""

    kid: str | None
    algorithms: frozenset[str]
    key: PublicKey


def parse_key_set(body: bytes, algorithms: Iterable[str]) -> tuple[SetKey, ...]:
    """Return the keys of a JWK Set (RFC 7517, section 5) that verify tokens of the accepted algorithms.

    Keys that are for something else, or that cannot be read, are left out as the RFC asks.

    Raises:
        KeySetError: it is not a JWK Set, has more than 100 keys, or none of them is usable.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise KeySetError("not JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeySetError("not a JWK Set")
    if len(entries) > MAX_KEYS:
        raise KeySetError(f"more than {MAX_KEYS} keys")
    accepted = frozenset(algorithms)
    keys = tuple(key for entry in entries if (key := _parse_key(entry, accepted)) is not None)
    if not keys:
        raise KeySetError("no usable key")
    return keys


def _parse_key(entry: object, accepted: frozenset[str]) -> SetKey | None:
    """Return a key of the set, or None when it is not for verifying tokens of the accepted algorithms."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    kid = entry.get("kid")
    if not isinstance(operations, list) or "verify" not in operations or not isinstance(kid, str | None):
        return None
    try:
        family = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[entry["kty"]]
        public = {name: entry[name] for name in _PUBLIC_MEMBERS if name in entry}
        key = as_public_key(jwt.PyJWK(public, family).key)
    except Exception:  # noqa: BLE001 - whatever a hostile key makes the libraries raise
        return None
    algorithms = frozenset(name for name in accepted if suits(key, name))
    if "alg" in entry:
        algorithms = frozenset(name for name in algorithms if name == entry["alg"])
    return SetKey(kid, algorithms, key) if algorithms else None


class KeySet:
    """The keys behind a URL: fetched at the start, every 300 s, and when a token names an unknown one.

    There is at most one request at a time. Used from one event loop.

    Args:
        url: where the set is; http or https.
        algorithms: the accepted algorithms.
        on_change: called after a set that differs from the one before was put in place.
        ttl: seconds between two refreshes.
        cool_down: seconds between two fetches for unknown keys, and before a failed refresh is tried again.
        timeout: seconds for a fetch.
        clock: a monotonic clock, in seconds.

    Attributes:
        fetches: requests made.
        failures: those that brought no usable set.
    """

    def __init__(
        self,
        url: str,
        algorithms: Iterable[str],
        on_change: Callable[[], object],
        *,
        ttl: float = TTL,
        cool_down: float = COOL_DOWN,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fetches = 0
        self.failures = 0
        self._url = url
        self._algorithms = frozenset(algorithms)
        self._on_change = on_change
        self._ttl = ttl
        self._cool_down = cool_down
        self._timeout = timeout
        self._clock = clock
        self._keys: tuple[SetKey, ...] = ()
        self._body = b""  # what _keys were parsed from
        self._healthy = True  # the last fetch, if any, was good
        self._next_on_demand = clock()
        self._request: asyncio.Task[None] | None = None
        self._refresher: asyncio.Task[None] | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, algorithm: str, kid: str | None) -> tuple[PublicKey, ...]:
        """Return the keys that may verify a token: those named `kid`, or without one the first that suit."""
        found = (key for key in self._keys if algorithm in key.algorithms and (kid is None or key.kid == kid))
        return tuple(key.key for key in found)[:MAX_TRIED_KEYS]

    def fetch_for_unknown_key(self) -> asyncio.Task[None] | None:
        """Return the request to wait for, started if need be; None while the cool-down lasts.

        The task is shared: wait for it with asyncio.wait, which neither cancels it nor raises from it.
        """
        if self._request is None and (self._stopped or self._clock() < self._next_on_demand):
            return None
        if self._request is None:
            self._next_on_demand = self._clock() + self._cool_down
        return self._fetch()

    async def start(self) -> None:
        """Fetch the set, then keep it fresh. Returns after the first fetch, good or not (5 s at most)."""
        await asyncio.wait({self._fetch()})
        if not self._stopped:  # it may have been while this waited
            self._refresher = asyncio.create_task(self._refresh(), name="jwks-refresh")

    async def stop(self) -> None:
        """End the refreshing and a request that is under way. May be called again."""
        self._stopped = True
        tasks = {task for task in (self._refresher, self._request) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self._ttl if self._healthy else self._cool_down)
            await asyncio.wait({self._fetch()})

    def _fetch(self) -> asyncio.Task[None]:
        """Return the request under way, or a new one."""
        if self._request is None:
            self._request = asyncio.create_task(self._fetch_once(), name="jwks-fetch")
            self._request.add_done_callback(self._forget_request)
        return self._request

    def _forget_request(self, _: asyncio.Task[None]) -> None:
        self._request = None

    async def _fetch_once(self) -> None:
        self.fetches += 1
        try:
            body = await self._download()
            keys = parse_key_set(body, self._algorithms)
        except Exception as error:  # noqa: BLE001 - whatever the server did, the last good set stays
            self.failures += 1
            if self._healthy:
                cause = error if isinstance(error, KeySetError) else type(error).__name__
                logger.warning("the JWKS cannot be fetched (%s); %d known keys stay in use", cause, len(self))
            self._healthy = False
            return
        if not self._healthy:
            logger.info("the JWKS was fetched again; %d usable keys", len(keys))
        self._healthy = True
        if body != self._body:
            self._body = body
            self._keys = keys
            self._on_change()

    async def _download(self) -> bytes:
        """Return the body of a 200 answer; no compression, so that what is counted is what is kept."""
        body = bytearray()
        async with (
            asyncio.timeout(self._timeout),
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.get(self._url, headers=_HEADERS, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise KeySetError(f"HTTP status {response.status}")
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise KeySetError(f"more than {MAX_BODY_BYTES} bytes")
        return bytes(body)
