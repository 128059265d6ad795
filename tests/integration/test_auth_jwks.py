"""Tokens whose keys are behind a URL: Authenticator and KeySet against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from tokens import EC_KEY, OTHER_RSA_KEY, RSA_KEY, Clock, auth_config, claims, jwk, jwk_set, key_server, token
from valtronics_fast._core.scope import Grant
from valtronics_fast.auth import Authenticator, AuthReason
from valtronics_fast.errors import AuthError

ONE = jwk(RSA_KEY, kid="one")
TWO = jwk(OTHER_RSA_KEY, kid="two")


def by_url(url: str) -> Authenticator:
    return Authenticator(auth_config(jwks_url=url, algorithms=("RS256", "ES256")), clock=Clock())


def verified(auth: Authenticator, value: str) -> Grant:
    grant = auth.verify(value)
    assert isinstance(grant, Grant)
    return grant


def refused(auth: Authenticator, value: str) -> str:
    with pytest.raises(AuthError) as caught:
        auth.verify(value)
    return caught.value.reason


def named(kid: str | None, key: Any = RSA_KEY, **changes: Any) -> str:
    return token(claims(**changes), alg="RS256", key=key, header={} if kid is None else {"kid": kid})


async def reason_of(waiting: Grant | Awaitable[Grant]) -> str:
    assert isinstance(waiting, Awaitable)
    with pytest.raises(AuthError) as caught:
        await waiting
    return caught.value.reason


async def test_keys_at_hand_need_no_waiting() -> None:
    async with key_server(ONE, jwk(EC_KEY)) as server:
        auth = by_url(server.url)
        await auth.start()
        assert verified(auth, named("one")).user == "alice"
        assert verified(auth, named(None)).user == "alice"
        assert verified(auth, token(alg="ES256")).user == "alice"
        assert refused(auth, named("one", OTHER_RSA_KEY)) == AuthReason.BAD_SIGNATURE
        assert refused(auth, named(None, OTHER_RSA_KEY)) == AuthReason.BAD_SIGNATURE
        assert refused(auth, token(alg="HS256")) == AuthReason.BAD_ALGORITHM
        assert server.requests == 1
        await auth.stop()
        assert auth.stats() == {"cached_tokens": 3, "jwks_fetches": 1, "jwks_failures": 0, "jwks_keys": 2}


async def test_rotation() -> None:
    async with key_server(ONE) as server:
        auth = by_url(server.url)
        await auth.start()
        old = named("one")
        verified(auth, old)
        server.body = jwk_set(TWO)
        waiting = auth.verify(named("two", OTHER_RSA_KEY))
        assert isinstance(waiting, Awaitable)
        assert (await waiting).user == "alice"
        assert refused(auth, old) == AuthReason.UNKNOWN_KEY  # its key was withdrawn, so it is not remembered
        assert verified(auth, named("two", OTHER_RSA_KEY, sub="bob")).user == "bob"
        await auth.stop()


async def test_hundred_tokens_with_a_new_key_make_one_request() -> None:
    async with key_server(ONE) as server:
        auth = by_url(server.url)
        results = [auth.verify(named("one", sub=f"user{number}")) for number in range(100)]
        assert all(isinstance(result, Awaitable) for result in results)
        grants = await asyncio.gather(*(result for result in results if isinstance(result, Awaitable)))
        assert [grant.user for grant in grants] == [f"user{number}" for number in range(100)]
        assert server.requests == 1
        await auth.stop()


async def test_unknown_kids_lead_to_one_request_and_never_into_its_path() -> None:
    async with key_server(ONE) as server:
        auth = by_url(server.url)
        await auth.start()
        assert await reason_of(auth.verify(named("../../etc/passwd"))) == AuthReason.UNKNOWN_KEY
        for kid in ("http://127.0.0.1:9/", "", "k" * 4000, "ONE"):
            assert refused(auth, named(kid)) == AuthReason.UNKNOWN_KEY
        assert server.paths == ["/jwks.json"] * 2
        await auth.stop()


async def test_kid_of_another_type_leads_to_no_request() -> None:
    async with key_server(ONE) as server:
        auth = by_url(server.url)
        await auth.start()
        kids: list[object] = [5, True, [], ["one"], {}, 1.5]
        for kid in kids:
            assert refused(auth, token(alg="RS256", header={"kid": kid})) == AuthReason.MALFORMED
        assert server.requests == 1
        await auth.stop()


async def test_a_signature_is_checked_after_the_wait_too() -> None:
    async with key_server(ONE) as server:
        auth = by_url(server.url)
        assert await reason_of(auth.verify(named("one", OTHER_RSA_KEY))) == AuthReason.BAD_SIGNATURE
        await auth.stop()


async def test_no_key_set_to_be_had() -> None:
    async with key_server() as server:
        auth = by_url(server.url)
        await auth.start()
        assert await reason_of(auth.verify(named("one"))) == AuthReason.NO_KEY
        assert refused(auth, named("one")) == AuthReason.NO_KEY
        assert auth.stats()["jwks_failures"] == server.requests == 2
        await auth.stop()
        assert refused(auth, named("one")) == AuthReason.NO_KEY
