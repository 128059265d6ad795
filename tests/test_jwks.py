"""The key set behind a URL, against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from harness import TIMEOUT
from tokens import EC_KEY, ED_KEY, OTHER_RSA_KEY, RSA_KEY, Clock, KeyServer, b64, jwk, jwk_set, key_server
from valtronics_fast.jwks import MAX_BODY_BYTES, MAX_KEYS, MAX_TRIED_KEYS, KeySet, KeySetError, parse_key_set
from valtronics_fast.keys import KEY_TYPES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ONE = jwk(RSA_KEY, kid="one")
TWO = jwk(OTHER_RSA_KEY, kid="two")
ALL = frozenset(KEY_TYPES)
PUBLIC = RSA_KEY.public_key()
OTHER = OTHER_RSA_KEY.public_key()


def ignore() -> None:
    pass


@asynccontextmanager
async def running(server: KeyServer, **settings: Any) -> AsyncIterator[KeySet]:
    """Run a key set that refreshes itself only when a test shortens the pauses."""
    arguments: dict[str, Any] = {"on_change": ignore, "ttl": 1e6, "cool_down": 1e6} | settings
    key_set = KeySet(server.url, ["RS256"], **arguments)
    await key_set.start()
    try:
        yield key_set
    finally:
        await key_set.stop()


async def until(condition: Any) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.002)


async def fetch(key_set: KeySet) -> bool:
    """Do what a token with an unknown key does; say whether it led to a request."""
    request = key_set.fetch_for_unknown_key()
    if request is not None:
        await asyncio.wait({request})
    return request is not None


# What a key set may hold


def kids(*keys: Any) -> list[str | None]:
    return [key.kid for key in parse_key_set(jwk_set(*keys), ALL)]


def test_keys_of_each_type_with_their_algorithms() -> None:
    keys = parse_key_set(jwk_set(ONE, jwk(EC_KEY), jwk(ED_KEY, use="sig")), ALL)
    assert [(key.kid, key.key) for key in keys] == [
        ("one", PUBLIC),
        (None, EC_KEY.public_key()),
        (None, ED_KEY.public_key()),
    ]
    assert [key.algorithms for key in keys] == [{"RS256", "RS384", "RS512", "PS256"}, {"ES256"}, {"EdDSA"}]


def test_algorithms_are_the_accepted_ones_narrowed_by_the_key() -> None:
    accepted = ["RS256", "PS256", "HS256"]
    keys = parse_key_set(jwk_set(ONE, jwk(RSA_KEY, alg="PS256"), jwk(EC_KEY)), accepted)
    assert [key.algorithms for key in keys] == [{"RS256", "PS256"}, {"PS256"}]


OTHER_USES: tuple[dict[str, object], ...] = (
    {"use": "enc"}, {"use": None}, {"alg": "RSA-OAEP"}, {"alg": "HS256"}, {"alg": "none"}, {"alg": None},
    {"alg": ["RS256"]}, {"key_ops": ["sign"]}, {"key_ops": "verify"}, {"kid": 5}, {"kty": "EC"},
    {"kty": "oct"}, {"kty": ["RSA"]}, {"n": 5}, {"n": ""}, {"e": None}, {"e": "AA"}, {"n": "é"},
)  # fmt: skip


@pytest.mark.parametrize("members", OTHER_USES, ids=str)
def test_keys_for_something_else_are_left_out(members: dict[str, object]) -> None:
    assert kids({**ONE, **members}, TWO) == ["two"]


@pytest.mark.parametrize(
    "entry", [None, 5, "key", [], {}, {"kty": "RSA"}, {"kty": "oct", "k": "c2VjcmV0" * 8, "alg": "HS256"}]
)
def test_entries_that_are_no_public_keys_are_left_out(entry: object) -> None:
    assert kids(entry, TWO) == ["two"]


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP384R1())],
    ids=["RSA 1024", "P-384"],
)
def test_weak_keys_and_other_curves_are_left_out(key: Any) -> None:
    assert kids(jwk(key), TWO) == ["two"]


def test_huge_rsa_key_is_left_out() -> None:
    modulus = b64(b"\xff" * 1025).decode()
    assert kids({**ONE, "n": modulus}, TWO) == ["two"]
    assert kids({**ONE, "n": b64(b"\xff" * 1024).decode()}, TWO) == ["one", "two"]


def test_private_part_that_was_published_is_not_read() -> None:
    entry = {**ONE, "d": "not even base64!"}
    assert parse_key_set(jwk_set(entry), ["RS256"])[0].key == PUBLIC


RUBBISH = (
    b"", b"<html>", b"\xff\xfe", b"null", b"[]", b"5", b"{}", b'{"keys":5}', b'{"keys":{}}', b'{"keys":[]}',
    b'{"keys":[{}]}', jwk_set(jwk(EC_KEY)), b"[" * 100_000, jwk_set(*[ONE] * (MAX_KEYS + 1)),
)  # fmt: skip


@pytest.mark.parametrize("body", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_is_no_key_set(body: bytes) -> None:
    with pytest.raises(KeySetError):
        parse_key_set(body, ["RS256"])


def test_hundred_keys_are_a_key_set() -> None:
    assert len(kids(*[ONE] * MAX_KEYS)) == MAX_KEYS


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["RSA", "EC", "OKP", "P-256", "AQAB"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["keys", *ONE, "crv", "x", "y"]), inner)
    ),
    max_leaves=8,
)


@given(st.binary() | JSON.map(lambda value: json.dumps({"keys": [value]}).encode()))
def test_any_body_gives_keys_or_a_key_set_error(body: bytes) -> None:
    with suppress(KeySetError):
        assert parse_key_set(body, ALL)


# Looking up


async def test_find() -> None:
    same = jwk(EC_KEY, kid="one")
    async with key_server(ONE, TWO, same, jwk(RSA_KEY)) as server, running(server) as key_set:
        assert key_set.find("RS256", "one") == (PUBLIC,)
        assert key_set.find("RS256", "two") == (OTHER,)
        assert key_set.find("RS256", None) == (PUBLIC, OTHER, PUBLIC)
        for algorithm, kid in (
            ("RS256", ""),
            ("RS256", "ONE"),
            ("RS256", "../one"),
            ("ES256", "one"),
            ("HS256", "one"),
        ):
            assert key_set.find(algorithm, kid) == ()


async def test_a_token_without_kid_is_tried_with_few_keys() -> None:
    async with key_server(*[ONE] * (MAX_TRIED_KEYS + 1)) as server, running(server) as key_set:
        assert len(key_set) == MAX_TRIED_KEYS + 1
        assert len(key_set.find("RS256", None)) == MAX_TRIED_KEYS


# Fetching


async def test_refresh_brings_new_keys_and_drops_old_ones(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "valtronics_fast.jwks")
    changes: list[int] = []
    async with (
        key_server(ONE) as server,
        running(server, ttl=0.01, on_change=lambda: changes.append(1)) as key_set,
    ):
        await until(lambda: key_set.fetches >= 3)
        assert len(changes) == 1  # the same set again is no change
        server.body = jwk_set(TWO)
        await until(lambda: key_set.find("RS256", "two"))
        assert key_set.find("RS256", "one") == ()
        assert len(changes) == 2
        assert key_set.failures == 0
        assert not caplog.records  # what goes well is not news


@pytest.mark.parametrize("body", [jwk_set(ONE), b"no set"])
async def test_the_server_is_not_asked_again_before_its_time(body: bytes) -> None:
    async with key_server() as server:
        server.body = body
        async with running(server) as key_set:
            for _ in range(50):
                await asyncio.sleep(0.001)
            assert key_set.fetches == server.requests == 1


async def test_unknown_keys_lead_to_one_request_a_cool_down() -> None:
    clock = Clock()
    async with key_server(ONE) as server, running(server, cool_down=30.0, clock=clock) as key_set:
        assert await fetch(key_set)  # the first one at once
        assert not await fetch(key_set)
        clock.now += 29.9
        assert not await fetch(key_set)
        clock.now += 0.2
        server.body = jwk_set(TWO)
        assert await fetch(key_set)
        assert key_set.find("RS256", "two") == (OTHER,)
        assert not await fetch(key_set)
        assert server.requests == key_set.fetches == 3


async def test_requests_are_shared() -> None:
    release = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response(body=jwk_set(ONE))

    async with key_server() as server:
        server.answer = answer
        key_set = KeySet(server.url, ["RS256"], ignore)
        starting = asyncio.create_task(key_set.start())
        waiting = [asyncio.create_task(fetch(key_set)) for _ in range(100)]
        await until(lambda: server.requests)
        waiting[0].cancel()  # one that leaves does not take the request along
        release.set()
        results = await asyncio.gather(*waiting[1:], starting)
        await key_set.stop()
        assert results == [True] * 99 + [None]
        assert server.requests == key_set.fetches == 1
        assert key_set.find("RS256", "one") == (PUBLIC,)


async def redirect(request: web.Request) -> web.Response:
    elsewhere = request.path == "/elsewhere"
    return web.Response(
        status=200 if elsewhere else 302, headers={"Location": "/elsewhere"}, body=jwk_set(TWO)
    )


async def huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()  # chunked: no Content-Length gives it away
    await response.prepare(request)
    await response.write(jwk_set(TWO)[:-1])
    while True:
        await response.write(b" " * 65_536)


async def too_long(_: web.Request) -> web.Response:
    return web.Response(body=jwk_set(TWO).ljust(MAX_BODY_BYTES + 1))


async def compressed(_: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(jwk_set(TWO)), headers={"Content-Encoding": "gzip"})


async def error_page(_: web.Request) -> web.Response:
    return web.Response(status=500, body=jwk_set(TWO))


async def not_json(_: web.Request) -> web.Response:
    return web.Response(text="<html>keys</html>")


async def slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:  # never silent for long: only a total limit ends this
        await response.write(b" ")
        await asyncio.sleep(0.01)


async def silent(_: web.Request) -> web.Response:
    await asyncio.sleep(3600)
    return web.Response()


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    assert request.transport is not None
    request.transport.abort()
    return response


BAD_ANSWERS = [redirect, huge, too_long, compressed, error_page, not_json, slow, silent, cut_off]


@pytest.mark.parametrize("answer", BAD_ANSWERS)
async def test_last_good_set_stays(answer: Any) -> None:
    timeout = 0.2 if answer in {slow, silent} else 20.0
    async with key_server(ONE) as server, running(server, timeout=timeout) as key_set:
        server.answer = answer
        assert await fetch(key_set)
        assert (key_set.fetches, key_set.failures, server.requests) == (2, 1, 2)
        assert key_set.find("RS256", "one") == (PUBLIC,)
        assert key_set.find("RS256", "two") == ()


async def test_body_of_the_greatest_size() -> None:
    async with key_server() as server:
        server.body = jwk_set(ONE).ljust(MAX_BODY_BYTES)
        async with running(server) as key_set:
            assert len(key_set) == 1


async def test_unreachable_server_and_its_return(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "valtronics_fast.jwks")
    async with key_server() as server:
        port = server.port  # nobody listens there once the server has ended
    url = f"http://127.0.0.1:{port}/token-in-the-path"
    key_set = KeySet(url, ["RS256"], ignore, cool_down=0.01)
    await key_set.start()  # does not fail
    await until(lambda: key_set.failures >= 3)
    assert len(key_set) == 0
    async with key_server(ONE, port=port):
        await until(lambda: len(key_set))
        await key_set.stop()
    assert key_set.fetches == key_set.failures + 1
    texts = [record.getMessage() for record in caplog.records]
    assert [text.split(" (")[0] for text in texts] == [
        "the JWKS cannot be fetched",
        "the JWKS was fetched again; 1 usable keys",
    ]
    assert "token-in-the-path" not in caplog.text


# Stopping


async def test_stop_ends_a_request_under_way_and_those_who_wait() -> None:
    async with key_server() as server:
        server.answer = silent
        key_set = KeySet(server.url, ["RS256"], ignore, timeout=60.0)
        starting = asyncio.create_task(key_set.start())
        await until(lambda: server.requests)
        waiting = asyncio.create_task(fetch(key_set))
        await asyncio.sleep(0)
        await key_set.stop()
        await starting
        assert await waiting
        assert not await fetch(key_set)
        assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"jwks-fetch", "jwks-refresh"})


async def test_stop_without_start_and_twice() -> None:
    key_set = KeySet("http://127.0.0.1:9/", ["RS256"], ignore)
    await key_set.stop()
    await key_set.stop()
