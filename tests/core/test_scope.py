"""Device ids and grants (protocol.md, sections 2 and 3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import oracle
from valtronics_fast._core.scope import Grant, device_key

# Texts around the decimals: digits of several scripts, signs, zeros in front, fractions, spaces.
ALMOST_DECIMALS = st.text(st.sampled_from("0123456789-+._ e\u0661\uff11\0"), max_size=22)
VALUES = st.one_of(
    st.integers(-(2**64), 2**64),
    st.integers(-(2**64), 2**64).map(str),
    ALMOST_DECIMALS,
    st.text(max_size=70),
    st.builds(str.__mul__, st.sampled_from(["x", "\u00e9", "7"]), st.sampled_from([19, 32, 33, 64, 65])),
    st.from_regex(r"-?0{0,2}[0-9]{1,19}", fullmatch=True),
    st.booleans(),
    st.none(),
    st.floats(),
    st.binary(max_size=3),
)


@settings(max_examples=500)
@given(VALUES)
def test_it_agrees_with_the_oracle(value: object) -> None:
    expected = oracle.device_key(value)
    if expected is None:
        with pytest.raises(ValueError, match="device id"):
            device_key(value)
    else:
        key = device_key(value)
        assert (key, type(key)) == (expected, type(expected))


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_and_its_decimal_are_one_device(number: int) -> None:
    assert device_key(number) == number
    assert device_key(str(number)) == number


@pytest.mark.parametrize(
    "number", [0, 7, -7, 10**17, 10**18 - 1, 10**18, 2**63 - 1, -(10**18), -(2**63)], ids=str
)
def test_long_decimals_are_integers_too(number: int) -> None:
    key = device_key(str(number))
    assert (key, type(key)) == (number, int)


@pytest.mark.parametrize(
    "name",
    ["00", "01", "-0", "-01", "+1", "1.0", "1e3", " 1", "1 ", "1\n", "1_0", "0x1", "-", "--1", "\u0661",
     "\uff11", "9" * 19, "9" * 64, "sensor-7", "\u00b0C", "a\u0301"],
)  # fmt: skip
def test_other_texts_are_names(name: str) -> None:
    assert device_key(name) == name


@pytest.mark.parametrize("name", ["x" * 64, "\u00e9" * 32, "\U0001f321" * 16])
def test_a_name_has_up_to_64_bytes(name: str) -> None:
    assert device_key(name) == name
    with pytest.raises(ValueError, match="64 bytes"):
        device_key(name + "x")


@pytest.mark.parametrize(
    "value",
    ["", "\ud800", "a\udfff", True, False, None, 1.0, b"1", 2**63, -(2**63) - 1, 10**400, [1], (1,)],
    ids=repr,
)
def test_anything_else_is_no_device(value: object) -> None:
    with pytest.raises(ValueError, match="device id"):
        device_key(value)


def test_a_grant_permits_everything_but_publishing_unless_told_otherwise() -> None:
    grant = Grant("user-1", 1_704_110_400)
    assert (grant.user, grant.expires_at) == ("user-1", 1_704_110_400.0)
    assert (grant.channels, grant.publish, grant.devices) == (0b1111, 0, None)


def test_a_grant_holds_what_it_was_given() -> None:
    devices: frozenset[int | str] = frozenset({1, "x"})
    grant = Grant("u", 0.5, channels=0b0101, publish=0b0010, devices=devices)
    assert (grant.channels, grant.publish, grant.devices, grant.expires_at) == (0b0101, 0b0010, devices, 0.5)


@pytest.mark.parametrize("name", ["user", "expires_at", "channels", "publish", "devices", "other"])
def test_a_grant_is_immutable(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Grant("u", 0), name, 1)


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((None, 0), {}),
        ((5, 0), {}),
        (("u", None), {}),
        (("u", 0), {"devices": {1, 2}}),
        (("u", 0), {"devices": [1]}),
        (("u", 0), {"channels": "telemetry"}),
        (("u",), {}),
        (("u", 0, 15), {}),
    ],
)
def test_a_grant_of_the_wrong_types_is_refused(args: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Grant(*args, **options)


@pytest.mark.parametrize("mask", [-1, 256])
def test_a_mask_has_eight_bits(mask: int) -> None:
    with pytest.raises(OverflowError):
        Grant("u", 0, channels=mask)
    with pytest.raises(OverflowError):
        Grant("u", 0, publish=mask)
