from __future__ import annotations

import json
import re
import time
from typing import Any

import jwt
import msgspec
import pytest

from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import CHANNELS, Channel
from valtronics_fast.auth import Authenticator
from valtronics_fast.config import AuthConfig, Config
from valtronics_fast.errors import ConfigError
from valtronics_fast.tokens import MAX_EXPIRES, mint, with_secret

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"
AUTH = AuthConfig(secret=SECRET)


def claims(token: str, auth: AuthConfig = AUTH) -> dict[str, Any]:
    decoded = jwt.decode(token, auth.secret, auth.algorithms, audience=auth.audience or None)
    assert isinstance(decoded, dict)
    return decoded


def test_a_token_says_what_was_asked_for_and_nothing_else() -> None:
    now = float(int(time.time()))
    assert claims(mint(AUTH, "alice", now=now)) == {"sub": "alice", "iat": now, "exp": now + 3600}
    token = mint(AUTH, "alice", channels=["telemetry"], devices=["7", "pump"], publish=True, expires=59.1, now=now)
    assert claims(token) == {
        "sub": "alice",
        "iat": now,
        "exp": now + 60,
        "channels": ["telemetry"],
        "devices": [7, "pump"],
        "publish": True,
    }


def test_audience_and_issuer_are_those_of_the_configuration() -> None:
    auth = msgspec.structs.replace(AUTH, audience="dashboards", issuer="https://id.example")
    found = claims(mint(auth, "alice"), auth)
    assert (found["aud"], found["iss"]) == ("dashboards", "https://id.example")


@pytest.mark.parametrize(
    ("devices", "claim"), [("*", "*"), (["*"], ["*"]), ([1, "1", "01"], [1, 1, "01"]), (["°C"], ["°C"])]
)
def test_devices(devices: Any, claim: object) -> None:
    assert claims(mint(AUTH, "alice", devices=devices))["devices"] == claim


def test_administration() -> None:
    assert claims(mint(AUTH, "alice", admin=True))["admin"] is True
    assert "admin" not in claims(mint(AUTH, "alice"))
    for accepted in (True, False):
        auth = msgspec.structs.replace(AUTH, admin_tokens=accepted)
        grant = Authenticator(auth).verify(mint(auth, "alice", admin=True))
        assert isinstance(grant, Grant)
        assert grant.admin is accepted


def test_publishing_may_be_for_some_channels() -> None:
    assert claims(mint(AUTH, "alice", publish=["alerts"]))["publish"] == ["alerts"]
    assert "publish" not in claims(mint(AUTH, "alice", publish=False))


def test_a_rate_is_lowered_by_a_claim() -> None:
    assert claims(mint(AUTH, "alice", min_interval=0.5))["min_interval"] == 0.5
    assert "min_interval" not in claims(mint(AUTH, "alice"))


def test_monitor_stands_in_a_token_that_may() -> None:
    assert claims(mint(AUTH, "alice", monitor=True))["monitor"] is True
    assert "monitor" not in claims(mint(AUTH, "alice"))


def test_the_first_algorithm_with_a_secret_is_used() -> None:
    auth = AuthConfig(secret=SECRET * 2, algorithms=("HS512", "HS256"))
    assert jwt.get_unverified_header(mint(auth, "alice"))["alg"] == "HS512"


def test_the_server_takes_what_is_minted() -> None:
    auth = AuthConfig(secret=SECRET, audience="dashboards", issuer="https://id.example", default_scope="none")
    authenticator = Authenticator(auth)
    token = mint(auth, "älice", channels=["telemetry", "alerts"], devices=["7"], publish=["alerts"], expires=90.5)
    grant = authenticator.verify(token)
    assert isinstance(grant, Grant)
    assert grant.user == "älice"
    assert grant.channels == 1 << Channel.TELEMETRY | 1 << Channel.ALERTS
    assert grant.publish == 1 << Channel.ALERTS
    assert grant.devices == frozenset({7})
    assert time.time() + 30 < grant.expires_at < time.time() + 92
    everything = authenticator.verify(mint(auth, "root", channels=CHANNELS, devices="*", publish=True))
    assert isinstance(everything, Grant)
    assert (everything.channels, everything.publish, everything.devices) == (15, 15, None)


@pytest.mark.parametrize("secret", ["", SECRET])
def test_without_a_secret_for_the_algorithms_nothing_is_signed(secret: str) -> None:
    with pytest.raises(ConfigError, match=r"auth\.algorithms has RS256, ES256"):
        mint(AuthConfig(secret=secret, algorithms=("RS256", "ES256")), "alice")


def test_without_a_secret_nothing_is_signed() -> None:
    with pytest.raises(ConfigError, match=r"auth\.secret is not set"):
        mint(AuthConfig(), "alice")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"user": ""}, "sub: must be 1 to 256 bytes"),
        ({"user": "a\nb"}, "sub: must be 1 to 256 bytes"),
        ({"user": "é" * 129}, "sub: must be 1 to 256 bytes"),
        ({"user": "\udc80"}, "sub: must be 1 to 256 bytes"),
        (
            {"channels": ["telemetry", "alarms"]},
            "channels: must be of telemetry, alerts, devices, system, not 'alarms'",
        ),
        ({"channels": []}, "channels: must be of telemetry, alerts, devices, system, not nothing"),
        ({"publish": ["x"]}, "publish: must be of telemetry"),
        ({"publish": []}, "publish: must be of telemetry"),
        ({"devices": ["a" * 65]}, "devices: must be integers or up to 64 bytes of text, not 'aaa"),
        ({"devices": [""]}, "devices: must be integers"),
        ({"devices": [True]}, "devices: must be integers"),
        ({"devices": []}, 'devices: must be "*" or 1 to 10000 ids, not 0'),
        ({"devices": range(10_001)}, "devices: must be .* not 10001"),
        ({"min_interval": -1}, "min-interval: must be from 0 to a day"),
        ({"min_interval": 86_401}, "min-interval: must be from 0 to a day"),
        ({"min_interval": float("nan")}, "min-interval: must be from 0 to a day"),
        ({"expires": 0}, "expires: must be above 0"),
        ({"expires": -1}, "expires: must be above 0"),
        ({"expires": float("nan")}, "expires: must be above 0"),
        ({"expires": MAX_EXPIRES + 1}, "expires: must be above 0 and at most ten years"),
    ],
)
def test_what_the_server_would_refuse_is_not_signed(arguments: dict[str, Any], told: str) -> None:
    arguments = {"user": "alice", **arguments}
    with pytest.raises(ValueError, match=told.replace('*"', '\\*"')):
        mint(AUTH, **arguments)


def test_a_token_is_ascii() -> None:
    token = mint(AUTH, "älice", devices=["°C"])
    assert token.isascii()
    header = json.loads(jwt.utils.base64url_decode(token.split(".")[0]))
    assert header == {"alg": "HS256", "typ": "JWT"}


def test_a_secret_is_made_up_only_when_there_is_no_key() -> None:
    made_up = with_secret(Config())
    assert re.fullmatch(r"[A-Za-z0-9_-]{64}", made_up.auth.secret)
    assert with_secret(Config()).auth.secret != made_up.auth.secret
    assert made_up.server == Config().server
    for auth in (
        {"secret": SECRET},
        {"algorithms": ["RS256"], "jwks_url": "https://id.example/keys"},
        {"algorithms": ["RS256"], "public_key_file": __file__},
    ):
        config = Config.load({"auth": auth}, environ={})
        assert with_secret(config) is config
