"""Tokens that nobody should be let in with, and key servers that do not play along (edge cases 38 to 41).

Each token is tried in every place where one may stand; the answers tell nothing about why it was refused.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from harness import SECRET, Site, configuration, http, running, text, until
from test_jwks import BAD_ANSWERS, redirect, silent, slow
from tokens import OTHER_RSA_KEY, RSA_KEY, b64, jwk, jwk_set, key_server, public_pem, token
from valtronics_fast import Server
from valtronics_fast import jwks as jwks_module
from valtronics_fast._core.wire import CloseCode
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = SECRET.encode()
LATER = 3600
REFUSED = {
    "type": "auth_response", "success": False, "error": "invalid_token", "message": "the token is not valid",
}  # fmt: skip


def claims(**changes: Any) -> dict[str, Any]:
    """Return good claims of the present with some of them changed; `...` takes one out."""
    merged = {"sub": "mallory", "exp": time.time() + LATER} | changes
    return {name: value for name, value in merged.items() if value is not ...}


def signed(header: object = None, payload: object = None, **changes: Any) -> str:
    """Return a token with a good signature of the server's secret."""
    return token(claims(**changes) if payload is None else payload, key=KEY, header=header)


def unsigned(alg: str) -> str:
    return signed({"alg": alg}).rpartition(".")[0] + "."


def with_claim(name: str, written: bytes) -> str:
    """Return a token with a claim that no library would write."""
    rest = {"sub": "mallory", "exp": int(time.time()) + LATER}
    rest.pop(name, None)
    return signed(payload=json.dumps(rest).encode()[:-1] + b',"' + name.encode() + b'":' + written + b"}")


ROW_38: dict[str, Callable[[], str]] = {
    "none": lambda: unsigned("none"),
    "None": lambda: unsigned("None"),
    "none, signed": lambda: signed({"alg": "none"}),
    "another algorithm": lambda: signed({"alg": "HS512"}),
    "a family of other keys": lambda: token(claims(), alg="RS256"),
    "the algorithm is missing": lambda: signed({"alg": ...}),
    "the algorithm is a list": lambda: signed({"alg": ["HS256"]}),
    "an unknown algorithm": lambda: signed({"alg": "XS256"}),
    "critical": lambda: signed({"crit": ["exp"]}),
    "payload not encoded": lambda: signed({"b64": False}),
    "kid is a number": lambda: signed({"kid": 7}),
    "kid is an object": lambda: signed({"kid": {"a": 1}}),
    "kid with a lone surrogate": lambda: signed(b'{"alg":"HS256","kid":"\\ud800"}'),
    "another secret": lambda: token(claims(), key=b"x" * 48),
    "the empty secret": lambda: token(claims(), key=b""),
    "no exp": lambda: signed(exp=...),
    "exp is null": lambda: signed(exp=None),
    "exp is text": lambda: signed(exp=str(time.time() + LATER)),
    "exp is true": lambda: signed(exp=True),
    "exp is 1e308": lambda: signed(exp=1e308),
    "exp is 10^30": lambda: signed(exp=10**30),
    "exp is 2^64": lambda: signed(exp=2**64),
    "exp is 1e400": lambda: with_claim("exp", b"1e400"),
    "exp is NaN": lambda: with_claim("exp", b"NaN"),
    "exp is Infinity": lambda: with_claim("exp", b"Infinity"),
    "exp is negative": lambda: signed(exp=-1),
    "exp in milliseconds": lambda: signed(exp=(time.time() + LATER) * 1000),
    "expired": lambda: signed(exp=time.time() - 31),
    "nbf in the future": lambda: signed(nbf=time.time() + 60),
    "nbf is text": lambda: signed(nbf="0"),
    "no sub": lambda: signed(sub=...),
    "sub is a number": lambda: signed(sub=7),
    "sub is empty": lambda: signed(sub=""),
    "sub with a line end": lambda: signed(sub="a\nb"),
    "sub with a lone surrogate": lambda: with_claim("sub", b'"\\ud800"'),
    "sub is too long": lambda: signed(sub="x" * 257),
    "another audience": lambda: signed(aud="elsewhere"),
    "another issuer": lambda: signed(aud="here", iss="somebody"),
    "channels is text": lambda: signed(aud="here", iss="us", channels="alerts"),
    "not a list of devices": lambda: signed(aud="here", iss="us", devices={"1": 1}),
}


async def is_refused(site: Site, bad: str, *, expired: bool = False) -> None:
    """Assert that a token opens nothing, wherever it stands."""
    async with site.connect() as client:
        assert await client.ask(type="auth", token=bad) == REFUSED
        assert (await client.ask(type="subscribe", channel="telemetry"))["error"] == "not_authenticated"
    bearer = {"Authorization": f"Bearer {bad}"}
    for options in ({"additional_headers": bearer}, {"subprotocols": ["valtronics.v1", f"bearer.{bad}"]}):
        answer = await site.refusal(**options)
        assert answer.status_code == 401
        assert answer.body == (b"the token has expired\n" if expired else b"the token is not valid\n")
    status, answer, _ = await http("POST", site.http_url("/api/v1/publish"), json={}, headers=bearer)
    assert (status, answer["error"]) == (401, "token_expired" if expired else "invalid_token")


@pytest.mark.parametrize("name", ROW_38)
async def test_row_38(name: str) -> None:
    names_us = name.startswith(("another audience", "another issuer", "channels", "not a list"))
    async with running(auth={"audience": "here", "issuer": "us"} if names_us else {}) as site:
        await is_refused(site, ROW_38[name](), expired=name == "expired")
        assert site.server.stats()["total_connections"] == 1


@pytest.mark.parametrize(
    "changes", [{"exp": 29.0}, {"nbf": 29.0}, {"exp": 29.0, "nbf": 29.0}], ids=["exp", "nbf", "both"]
)
async def test_row_38_the_leeway_works_both_ways(changes: dict[str, float]) -> None:
    now = time.time()
    near = {name: now + (-seconds if name == "exp" else seconds) for name, seconds in changes.items()}
    async with running() as site, site.connect() as client:
        assert (await client.ask(type="auth", token=signed(**near)))["success"]
    async with running(auth={"leeway": 0}) as site, site.connect() as client:
        assert not (await client.ask(type="auth", token=signed(**near)))["success"]


@pytest.mark.parametrize("kid", ["../../../../dev/null", "/etc/passwd", "http://127.0.0.1:9/key", "' OR 1=1 --", "\0"])
async def test_row_38_a_kid_is_no_path_and_no_url(kid: str) -> None:
    async with running() as site, site.connect() as client:
        assert await client.ask(type="auth", token=token(claims(), key=b"", header={"kid": kid})) == REFUSED
        assert (await client.ask(type="auth", token=signed({"kid": kid})))["success"]


async def test_row_38_a_public_key_is_no_secret(tmp_path: Path) -> None:
    """CVE-2022-29217: HS256 with the text of the public key, which everybody may know."""
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(RSA_KEY))
    async with running(auth={"secret": "", "public_key_file": str(path), "algorithms": ["RS256"]}) as site:
        for header in ({"alg": "HS256"}, {"alg": "RS256"}):
            start = token(claims(), header=header).rpartition(".")[0].encode()
            for key in (path.read_bytes(), path.read_bytes().strip()):
                forged = start + b"." + b64(hmac.digest(key, start, "sha256"))
                await is_refused(site, forged.decode())
        async with site.connect() as client:
            assert (await client.ask(type="auth", token=token(claims(), alg="RS256")))["success"]


@pytest.mark.parametrize("bad", [None, 7, True, [], {}, ["a.b.c"], "", ".", "a.b.c", "é", "x" * 8100], ids=repr)
async def test_row_39_what_is_no_token(bad: object) -> None:
    async with running() as site, site.connect() as client:
        assert await client.ask(type="auth", token=bad) == REFUSED


async def test_row_39_a_lone_surrogate_is_no_json_and_too_much_is_too_much() -> None:
    async with running() as site, site.connect() as client:
        client.write(text('{"type":"auth","token":"\\ud800"}'))
        assert (await client.receive())["error"] == "invalid_json"
        assert (await client.ask(type="auth", token="x" * 8200))["error"] == "message_too_large"
        assert site.server.stats()["auth_failures"] == {}
        await client.authenticate(site.token())


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        ({"secret": SECRET[:31]}, "auth.secret must be at least 32 bytes"),
        ({"secret": public_pem(RSA_KEY).decode()}, "auth.secret must be random text, not a key"),
        ({"algorithms": ["HS256", "RS256"]}, "auth.algorithms must be either of one secret or of public keys"),
        ({"algorithms": ["none"]}, "auth.algorithms must be one or more of HS256"),
        ({"algorithms": ["HS512"]}, "auth.secret must be at least 64 bytes"),
    ],
)
def test_row_40_keys_that_do_not_go_together_keep_it_from_starting(auth: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Server(configuration(auth=auth))
    assert told in str(caught.value)


async def test_row_41_a_token_that_expires_is_announced_and_then_over() -> None:
    settings = {"leeway": 0, "renewal_notice": 60, "grace": 0.3}
    async with running(auth=settings) as site, site.connect() as client:
        answer = await client.ask(type="auth", token=signed(exp=time.time() + 1.5), renew=True)
        assert answer["success"]
        assert (await client.receive())["type"] == "token_expiring"
        assert (await client.closed())[0] == CloseCode.CLOSE_TOKEN_EXPIRED


# Key servers


def named(kid: str, key: Any = RSA_KEY) -> str:
    return token(claims(sub="alice"), alg="RS256", key=key, header={"kid": kid})


def by_url(url: str) -> dict[str, Any]:
    return {"secret": "", "algorithms": ["RS256"], "jwks_url": url}


async def succeeds(site: Site, value: str) -> bool:
    async with site.connect() as client:
        return bool((await client.ask(type="auth", token=value))["success"])


async def test_rotation_lets_new_tokens_in_and_old_ones_no_more() -> None:
    async with key_server(jwk(RSA_KEY, kid="one")) as keys, running(auth=by_url(keys.url)) as site:
        assert await succeeds(site, named("one"))
        keys.body = jwk_set(jwk(OTHER_RSA_KEY, kid="two"))
        assert await succeeds(site, named("two", OTHER_RSA_KEY))
        assert not await succeeds(site, named("one"))
        assert keys.requests == 2


async def test_a_flood_of_unknown_keys_is_one_request_a_cool_down() -> None:
    async with key_server(jwk(RSA_KEY, kid="one")) as keys, running(auth=by_url(keys.url)) as site:
        for number in range(20):
            assert not await succeeds(site, named(f"unknown-{number}"))
        assert keys.requests == 2
        assert keys.paths == ["/jwks.json"] * 2
        assert await succeeds(site, named("one"))


async def test_many_who_come_at_once_share_one_request() -> None:
    let_go = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        if keys.requests > 1:
            await let_go.wait()
        return web.Response(body=keys.body)

    async with key_server(jwk(RSA_KEY, kid="one")) as keys:
        keys.answer = answer
        async with running(auth=by_url(keys.url)) as site:
            keys.body = jwk_set(jwk(RSA_KEY, kid="one"), jwk(OTHER_RSA_KEY, kid="two"))
            waiting = [asyncio.create_task(succeeds(site, named("two", OTHER_RSA_KEY))) for _ in range(30)]
            await until(lambda: keys.requests == 2)
            assert await succeeds(site, named("one"))  # nobody else waits
            let_go.set()
            assert await asyncio.gather(*waiting) == [True] * 30
            assert keys.requests == 2


@pytest.mark.parametrize("answer", BAD_ANSWERS)
async def test_a_hostile_key_server_changes_nothing(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with key_server(jwk(RSA_KEY, kid="one")) as keys:
        if answer in {slow, silent}:
            monkeypatch.setattr(jwks_module.KeySet.__init__, "__kwdefaults__", DEFAULTS | {"timeout": 0.3})
        async with running(auth=by_url(keys.url)) as site:
            keys.answer = answer
            assert not await succeeds(site, named("two", OTHER_RSA_KEY))
            assert await succeeds(site, named("one"))
            assert keys.requests == 2
            assert "/elsewhere" not in keys.paths or answer is not redirect


DEFAULTS: dict[str, Any] = dict(jwks_module.KeySet.__init__.__kwdefaults__ or {})


async def test_without_its_key_server_it_starts_refuses_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_module.KeySet.__init__, "__kwdefaults__", DEFAULTS | {"cool_down": 0.05})
    async with key_server() as gone:
        port = gone.port
    async with running(auth=by_url(f"http://127.0.0.1:{port}/jwks.json"), security={"ban_after": 1}) as site:
        assert not await succeeds(site, named("one"))
        assert set(site.server.stats()["auth_failures"]) == {"no_key"}  # type: ignore[call-overload]
        async with key_server(jwk(RSA_KEY, kid="one"), port=port):
            await until(lambda: len(site.server._authenticator._key_set or ()))
            assert await succeeds(site, named("one"))  # and for that nobody was banned
