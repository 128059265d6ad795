from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tokens import EC_KEY as KEY
from tokens import SECRET, auth_config, claims, jwk, key_server, token
from valtronics_fast.claims import AuthReason
from valtronics_fast.commands.verdict import EXIT_CODES, REASONS, judge
from valtronics_fast.errors import ConfigError

LATER = time.time() + 3600


def test_every_reason_is_explained() -> None:
    assert set(REASONS) == set(AuthReason)
    assert EXIT_CODES == {True: 0, False: 1}


async def test_a_good_token_and_what_it_permits() -> None:
    may = {"devices": ["pump-3", 1], "publish": ["alerts"], "min_interval": 2.5, "channels": ["telemetry"]}
    given = token(claims(exp=LATER, **may))
    found = await judge(auth_config(), given)
    assert found.good
    lines = found.as_text("a test").splitlines()
    assert lines[0] == "valid: the server takes this token (from a test)"
    assert lines[-3:] == [
        "  sees telemetry, devices 1, pump-3",
        "  publishes on alerts",
        "  an update of a device every 2.5 s at most",
    ]
    assert json.loads(found.as_json())["refused"] is None
    assert given.rpartition(".")[2] not in found.as_text("a test") + found.as_json()


async def test_what_operators_tokens_permit() -> None:
    given = token(claims(exp=LATER, monitor=True, admin=True))
    figures, functions = "  reads the server's figures", "  administers the server"
    found = await judge(auth_config(admin_tokens=True), given)
    assert found.as_text("a test").splitlines()[-2:] == [figures, functions]
    found = await judge(auth_config(), given)
    assert found.as_text("a test").splitlines()[-1] == figures


@pytest.mark.parametrize(
    ("given", "reason", "shown"),
    [
        (token(claims(exp=LATER), key=b"x" * 32), AuthReason.BAD_SIGNATURE, "alice"),
        (token(claims(exp=0)), AuthReason.EXPIRED, "days ago"),
        (token(claims(exp=LATER, nbf=LATER)), AuthReason.NOT_YET_VALID, " UTC, in "),
        (token(claims(exp=...)), AuthReason.MISSING_EXP, "alice"),
        (token(claims(exp=1e300)), AuthReason.BAD_EXP, "1e+300"),
        (token(claims(exp=LATER, sub=...)), AuthReason.MISSING_SUB, "exp"),
        (token(claims(exp=LATER), alg="HS512"), AuthReason.BAD_ALGORITHM, "HS512"),
        (token(claims(exp=LATER), header={"crit": ["x"]}), AuthReason.CRITICAL_HEADER, "crit"),
        ("not a token", AuthReason.MALFORMED, ""),
        ("a" * 9000, AuthReason.TOO_LONG, ""),
        ("\udcff.b.c", AuthReason.MALFORMED, ""),
    ],
)
async def test_refusals(given: str, reason: AuthReason, shown: str) -> None:
    found = await judge(auth_config(), given)
    assert (found.good, found.reason) == (False, reason)
    text = found.as_text("a test")
    assert text.startswith(f"refused: {REASONS[reason]} ({reason}; from a test)")
    assert shown in text
    assert json.loads(found.as_json())["refused"]["reason"] == reason


async def test_what_a_token_holds_does_nothing_to_a_terminal() -> None:
    nasty: Any = {"\x1b[2J": "\x1b[2J\u202e", "sub": "\ud800"}
    found = await judge(auth_config(), token(claims(exp=LATER, **nasty)))
    assert all(line.isprintable() for line in found.as_text("a test").splitlines())
    assert found.as_json().isascii()


async def test_keys_are_fetched() -> None:
    async with key_server(jwk(KEY, kid="k")) as server:
        config = auth_config(jwks_url=server.url, algorithms=("ES256",))
        assert (await judge(config, token(claims(exp=LATER), alg="ES256", header={"kid": "k"}))).good
        found = await judge(config, token(claims(exp=LATER), alg="ES256", header={"kid": "other"}))
        assert found.reason == AuthReason.UNKNOWN_KEY


async def test_without_keys_there_is_nothing_to_judge_by() -> None:
    with pytest.raises(ConfigError):
        await judge(auth_config(secret="", public_key_file="/nonexistent"), SECRET)
