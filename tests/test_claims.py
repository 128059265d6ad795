"""What the claims of a verified token permit, and which are refused."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokens import NOW, auth_config, claims
from valtronics_fast._core.wire import Channel, ErrorCode
from valtronics_fast.claims import MAX_DEVICES, MAX_INTERVAL, MAX_TIME, AuthReason, grant_from_claims
from valtronics_fast.errors import AuthError

if TYPE_CHECKING:
    from valtronics_fast._core.scope import Grant

TELEMETRY, ALERTS, DEVICES, SYSTEM = (1 << channel for channel in Channel)
ALL = TELEMETRY | ALERTS | DEVICES | SYSTEM


def judge(changes: dict[str, Any] | None = None, *, now: float = NOW, **settings: Any) -> Grant:
    return grant_from_claims(claims(**(changes or {})), auth_config(**settings), now)


def refused(changes: dict[str, Any], *, now: float = NOW, **settings: Any) -> AuthError:
    with pytest.raises(AuthError) as caught:
        judge(changes, now=now, **settings)
    assert isinstance(caught.value.reason, AuthReason)
    return caught.value


def test_plain_claims_permit_everything_but_publishing() -> None:
    grant = judge()
    assert (grant.user, grant.expires_at) == ("alice", NOW + 3600)
    assert (grant.channels, grant.publish, grant.devices) == (ALL, 0, None)


def test_default_scope_none_turns_absent_claims_around() -> None:
    grant = judge(default_scope="none")
    assert (grant.channels, grant.publish, grant.devices) == (0, 0, frozenset())


def test_default_scope_none_leaves_given_claims_alone() -> None:
    grant = judge({"channels": ["system"], "devices": "*"}, default_scope="none")
    assert (grant.channels, grant.devices) == (SYSTEM, None)


@pytest.mark.parametrize(
    ("names", "mask"),
    [
        ([], 0),
        (["telemetry"], TELEMETRY),
        (["alerts", "devices", "alerts"], ALERTS | DEVICES),
        (["telemetry", "from_the_future", "TELEMETRY", "*", ""], TELEMETRY),
        (["from_the_future"], 0),
    ],
)
def test_lists_of_channels(names: list[str], mask: int) -> None:
    grant = judge({"channels": names, "publish": names})
    assert (grant.channels, grant.publish) == (mask, mask)


@pytest.mark.parametrize(("value", "mask"), [(True, ALL), (False, 0)])
def test_publish_may_be_a_boolean(value: bool, mask: int) -> None:
    assert judge({"publish": value}).publish == mask


WRONG_LISTS = [
    None,
    0,
    1,
    1.5,
    "telemetry",
    "*",
    "",
    {},
    {"telemetry": True},
    [1],
    [None],
    [["telemetry"]],
    ["telemetry", {}],
]


@pytest.mark.parametrize("value", [*WRONG_LISTS, True, False])
def test_channels_of_a_wrong_type(value: object) -> None:
    assert refused({"channels": value}).reason == AuthReason.BAD_CHANNELS


@pytest.mark.parametrize("value", WRONG_LISTS)
def test_publish_of_a_wrong_type(value: object) -> None:
    assert refused({"publish": value}).reason == AuthReason.BAD_PUBLISH


def test_admin_is_a_boolean_and_permits_nothing_else() -> None:
    for value in (True, False):
        grant = judge({"admin": value}, admin_tokens=True, default_scope="none")
        assert (grant.admin, grant.channels, grant.publish) == (value, 0, 0)
    assert not judge(admin_tokens=True).admin


@pytest.mark.parametrize("value", [1, "true", None, [], ["all"], {}, 1.0])
def test_admin_of_a_wrong_type(value: object) -> None:
    assert refused({"admin": value}, admin_tokens=True).reason == AuthReason.BAD_ADMIN


@pytest.mark.parametrize("value", [True, "bob", None])
def test_admin_means_nothing_where_no_token_is_to_permit_it(value: object) -> None:
    assert not judge({"admin": value}).admin


@pytest.mark.parametrize("value", [0, 0.25, 1, MAX_INTERVAL])
def test_min_interval_is_seconds(value: float) -> None:
    assert judge({"min_interval": value}).min_interval == value


@pytest.mark.parametrize(
    "value", ["1s", True, None, -1, MAX_INTERVAL + 1, float("nan"), float("inf"), 10**400, [1], {}]
)
def test_min_interval_of_a_wrong_type_or_size(value: object) -> None:
    assert refused({"min_interval": value}).reason == AuthReason.BAD_MIN_INTERVAL


def test_monitor_has_to_be_said() -> None:
    assert [judge(claims).monitor for claims in ({}, {"monitor": False}, {"monitor": True})] == [False, False, True]


@pytest.mark.parametrize("value", ["true", 1, None, ["telemetry"]])
def test_monitor_of_a_wrong_type(value: object) -> None:
    assert refused({"monitor": value}).reason == AuthReason.BAD_MONITOR


def test_devices_are_canonical() -> None:
    grant = judge({"devices": [1, "1", "2", "02", -3, "-3", "pump", "é"]})
    assert grant.devices == frozenset([1, 2, "02", -3, "pump", "é"])


@pytest.mark.parametrize(("value", "devices"), [("*", None), ([], frozenset()), (["*"], frozenset("*"))])
def test_all_devices_and_none(value: object, devices: frozenset[str] | None) -> None:
    assert judge({"devices": value}).devices == devices


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        "1",
        "",
        "**",
        {},
        {"1": 1},
        [True],
        [None],
        [1.0],
        [2**63],
        [""],
        ["x" * 65],
        [[1]],
        ["\ud800"],
    ],
)
def test_devices_of_a_wrong_type(value: object) -> None:
    assert refused({"devices": value}).reason == AuthReason.BAD_DEVICES


def test_number_of_devices_is_bounded() -> None:
    devices = judge({"devices": list(range(MAX_DEVICES))}).devices
    assert devices is not None
    assert len(devices) == MAX_DEVICES
    assert refused({"devices": [1] * (MAX_DEVICES + 1)}).reason == AuthReason.BAD_DEVICES


@pytest.mark.parametrize("sub", ["a", "ü", "a b", "x" * 256, "é" * 128, "user@example.org", "7"])
def test_good_subjects(sub: str) -> None:
    assert judge({"sub": sub}).user == sub


@pytest.mark.parametrize(
    "sub",
    [
        None,
        0,
        7,
        True,
        1.5,
        [],
        ["alice"],
        {},
        "",
        "x" * 257,
        "é" * 129,
        "a\nb",
        "\r",
        "\x00",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "a\u2028b",
        "a\u2029",
        "\ud800",
    ],
)
def test_bad_subjects(sub: object) -> None:
    assert refused({"sub": sub}).reason == AuthReason.BAD_SUB


def test_exp_and_sub_are_required() -> None:
    assert refused({"exp": ...}).reason == AuthReason.MISSING_EXP
    assert refused({"sub": ...}).reason == AuthReason.MISSING_SUB


BAD_TIMES: list[object] = [
    None,
    True,
    False,
    "1900000000",
    [],
    {},
    math.nan,
    math.inf,
    -math.inf,
    1e308,
    -1,
    -0.5,
    10**400,
    MAX_TIME + 1,
]


@pytest.mark.parametrize("value", BAD_TIMES)
def test_bad_times(value: object) -> None:
    error = refused({"exp": value})
    assert (error.reason, error.code) == (AuthReason.BAD_EXP, ErrorCode.INVALID_TOKEN)
    assert refused({"nbf": value}).reason == AuthReason.BAD_NBF


@pytest.mark.parametrize("exp", [NOW + 1, NOW + 0.5, MAX_TIME, int(NOW) + 1])
def test_good_expiries(exp: float) -> None:
    assert judge({"exp": exp}).expires_at == exp


def test_exp_counts_with_leeway() -> None:
    assert judge({"exp": NOW}, now=NOW + 29.5).expires_at == NOW
    error = refused({"exp": NOW}, now=NOW + 30)
    assert (error.reason, error.code, str(error)) == (
        AuthReason.EXPIRED,
        ErrorCode.TOKEN_EXPIRED,
        "the token has expired",
    )
    assert refused({"exp": NOW}, leeway=0.0).reason == AuthReason.EXPIRED
    assert refused({"exp": 0}).reason == AuthReason.EXPIRED


def test_nbf_counts_with_leeway() -> None:
    assert judge({"nbf": NOW + 30}).user == "alice"
    error = refused({"nbf": NOW + 30.5})
    assert (error.reason, error.code) == (AuthReason.NOT_YET_VALID, ErrorCode.INVALID_TOKEN)
    assert refused({"nbf": NOW + 1}, leeway=0.0).reason == AuthReason.NOT_YET_VALID


def test_token_expired_is_told_only_when_nothing_else_is_wrong() -> None:
    assert refused({"exp": 1, "devices": 5}).code == ErrorCode.INVALID_TOKEN
    assert refused({"exp": 1, "aud": "other"}, audience="here").code == ErrorCode.INVALID_TOKEN


@pytest.mark.parametrize("aud", ["here", ["here"], ["elsewhere", "here"]])
def test_audience_that_names_us(aud: object) -> None:
    assert judge({"aud": aud}, audience="here").user == "alice"


@pytest.mark.parametrize(
    "aud", [..., None, "", "her", "here2", "HERE", [], ["elsewhere"], ["here", 5], [["here"]], {"here": 1}, 5]
)
def test_audience_that_does_not(aud: object) -> None:
    assert refused({"aud": aud}, audience="here").reason == AuthReason.WRONG_AUDIENCE


@pytest.mark.parametrize("iss", [..., None, "", "me2", "ME", ["me"], {"me": 1}, 5])
def test_wrong_issuer(iss: object) -> None:
    assert refused({"iss": iss}, issuer="me").reason == AuthReason.WRONG_ISSUER


def test_audience_and_issuer_are_looked_at_only_when_configured() -> None:
    assert judge({"iss": "me", "aud": "here"}).user == "alice"
    assert judge({"iss": "me", "aud": "here"}, issuer="me", audience="here").user == "alice"


@pytest.mark.parametrize(
    "changes", [{"iat": "x"}, {"iat": 1e308}, {"iat": NOW + 1e6}, {"jti": 5}, {"scope": [1]}]
)
def test_other_claims_are_not_looked_at(changes: dict[str, Any]) -> None:
    assert judge(changes).user == "alice"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(["sub", "exp", "nbf", "aud", "iss", "channels", "devices", "publish", "admin"])


@given(st.dictionaries(NAMES, JSON), st.sampled_from(["all", "none"]), st.booleans())
def test_any_claims_give_a_grant_or_an_auth_error(changes: dict[str, Any], scope: str, named: bool) -> None:
    name = "here" if named else ""
    with suppress(AuthError):
        grant = judge(changes, default_scope=scope, audience=name, issuer=name, admin_tokens=named)
        assert grant.user == changes.get("sub", "alice")
