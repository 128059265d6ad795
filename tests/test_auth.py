"""Whole tokens, from what a client sent to a Grant or an AuthError."""

from __future__ import annotations

import hmac
import math
import string
from base64 import urlsafe_b64decode
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tokens import (
    EC_KEY,
    ED_KEY,
    NOW,
    OTHER_RSA_KEY,
    RSA_KEY,
    SECRET,
    authenticator,
    b64,
    claims,
    jwk,
    public_pem,
    refused,
    token,
    verified,
)
from valtronics_fast._core.scope import Grant
from valtronics_fast.auth import MAX_TOKEN_BYTES, Authenticator, AuthReason
from valtronics_fast.errors import AuthError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC_KEYS = (RSA_KEY, EC_KEY, ED_KEY)
PUBLIC_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "EdDSA")


@pytest.fixture
def shared() -> Authenticator:
    return authenticator()


@pytest.fixture
def by_file(tmp_path: Path) -> Authenticator:
    path = tmp_path / "keys.pem"
    path.write_bytes(b"".join(public_pem(key) for key in (OTHER_RSA_KEY, *PUBLIC_KEYS)))
    return authenticator(public_key_file=str(path), algorithms=PUBLIC_ALGORITHMS)


# Algorithms and keys


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_shared_secret(alg: str) -> None:
    auth = authenticator(algorithms=("HS256", "HS384", "HS512"))
    assert verified(auth, token(alg=alg)).user == "alice"
    assert refused(auth, token(alg=alg, key=SECRET.encode() + b"x")) == AuthReason.BAD_SIGNATURE


@pytest.mark.parametrize("alg", PUBLIC_ALGORITHMS)
def test_public_keys_from_a_file(by_file: Authenticator, alg: str) -> None:
    assert verified(by_file, token(alg=alg)).user == "alice"
    assert verified(by_file, token(alg=alg, header={"kid": "any"})).user == "alice"
    signed = token(alg=alg)
    forged = signed[:-40] + signed[-40:].swapcase()
    assert refused(by_file, forged) in {AuthReason.BAD_SIGNATURE, AuthReason.MALFORMED}


def test_tokens_of_common_libraries_are_read(shared: Authenticator) -> None:
    assert verified(shared, jwt.encode(claims(), SECRET)).user == "alice"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
def test_none_is_refused(shared: Authenticator, by_file: Authenticator, alg: str) -> None:
    unsigned = token(header={"alg": alg}).rpartition(".")[0] + "."
    for auth in (shared, by_file):
        assert refused(auth, unsigned) == AuthReason.BAD_ALGORITHM
        assert refused(auth, token(header={"alg": alg})) == AuthReason.BAD_ALGORITHM


@pytest.mark.parametrize(
    "alg",
    [..., None, 5, True, [], ["HS256"], {}, "HS257", "hs256", "HS256 ", "HS384", "RS256", "dir", "ES256K"],
)
def test_other_algorithms_are_refused(shared: Authenticator, alg: object) -> None:
    assert refused(shared, token(header={"alg": alg})) == AuthReason.BAD_ALGORITHM


def test_public_key_is_no_shared_secret(by_file: Authenticator) -> None:
    """CVE-2022-29217: a token that is signed with the public key's text as HMAC secret."""
    pem = public_pem(RSA_KEY)
    for alg, reason in (("HS256", AuthReason.BAD_ALGORITHM), ("RS256", AuthReason.BAD_SIGNATURE)):
        signed = token(header={"alg": alg}).rpartition(".")[0].encode()
        forged = signed + b"." + b64(hmac.digest(pem, signed, "sha256"))
        assert refused(by_file, forged.decode()) == reason
    with pytest.raises(ConfigError):
        authenticator(secret=pem.decode())


def test_signature_of_one_algorithm_is_none_of_another(by_file: Authenticator) -> None:
    for claimed, made in (("RS256", "PS256"), ("PS256", "RS256"), ("RS384", "RS256")):
        assert refused(by_file, token(alg=made, header={"alg": claimed})) == AuthReason.BAD_SIGNATURE
    for claimed, made in (("ES256", "EdDSA"), ("EdDSA", "ES256"), ("RS256", "ES256")):
        assert refused(by_file, token(alg=made, header={"alg": claimed})) == AuthReason.BAD_SIGNATURE


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
def test_keys_in_the_token_are_not_used(by_file: Authenticator, member: str) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    header = {member: jwk(stranger) if member == "jwk" else "http://127.0.0.1:9/"}
    assert refused(by_file, token(alg="ES256", key=stranger, header=header)) == AuthReason.BAD_SIGNATURE
    assert verified(by_file, token(alg="ES256", header=header)).user == "alice"


# Headers


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], None, "exp", 5, ["unknown", "exp"]])
def test_critical_headers_are_refused(shared: Authenticator, crit: object) -> None:
    """CVE-2026-32597."""
    header = {"crit": crit, "b64": True, "unknown": 1}
    assert refused(shared, token(header=header)) == AuthReason.CRITICAL_HEADER


def test_detached_payload_is_refused(shared: Authenticator) -> None:
    assert refused(shared, token(header={"b64": False})) == AuthReason.MALFORMED
    assert refused(shared, token(b"", header={"b64": False})) == AuthReason.MALFORMED


@pytest.mark.parametrize("kid", [None, 5, True, [], ["a"], {}, 1.5])
def test_kid_is_a_string(shared: Authenticator, kid: object) -> None:
    assert refused(shared, token(header={"kid": kid})) == AuthReason.MALFORMED


@pytest.mark.parametrize(
    "kid", ["", "../../x", "/dev/null", "http://127.0.0.1:9/", "'; DROP TABLE keys", "\0", "k" * 5000]
)
def test_kid_is_only_a_name(shared: Authenticator, kid: str) -> None:
    assert verified(shared, token(header={"kid": kid})).user == "alice"
    assert refused(shared, token(header={"kid": kid}, key=b"")) == AuthReason.BAD_SIGNATURE


# Form


@pytest.mark.parametrize(
    "value", [None, 0, 1.5, True, b"abc", bytearray(b"a.b.c"), [], {}, ["a.b.c"], object(), math.nan]
)
def test_what_is_not_a_string(shared: Authenticator, value: object) -> None:
    assert refused(shared, value) == AuthReason.NOT_A_STRING


def test_bytes_of_a_good_token_are_not_a_string(shared: Authenticator) -> None:
    assert refused(shared, token().encode()) == AuthReason.NOT_A_STRING


@pytest.mark.parametrize("text", ["\ud800", "é", "\u202e", "\U0001f511", "\uff0e"])
def test_text_outside_ascii(shared: Authenticator, text: str) -> None:
    assert refused(shared, text) == AuthReason.MALFORMED
    assert refused(shared, token() + text) == AuthReason.MALFORMED
    assert refused(shared, text + token()) == AuthReason.MALFORMED


def test_size_limit(shared: Authenticator) -> None:
    by_size = {len(text): text for size in range(5900, 6100) if (text := token(claims(pad="x" * size)))}
    longest = max(size for size in by_size if size <= MAX_TOKEN_BYTES)
    assert longest > MAX_TOKEN_BYTES - 4
    assert verified(shared, by_size[longest]).user == "alice"
    assert refused(shared, by_size[min(size for size in by_size if size > longest)]) == AuthReason.TOO_LONG
    assert refused(shared, "x" * (MAX_TOKEN_BYTES + 1)) == AuthReason.TOO_LONG
    assert refused(shared, token(header={"kid": "k" * 10_240})) == AuthReason.TOO_LONG


NOT_TOKENS = (
    "", ".", "..", "...", "a", "a.b", "a.b.c", "a.b.c.d.e", "e30.e30.", "bnVsbA.e30.e30", "W10.e30.e30", "\n",
    " " * 100, "." * 8192, "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9.", "eyJhbGciOiJIUzI1NiJ9..",
    "eyJhbGciOiJIUzI1NiJ9.e30.A",
)  # fmt: skip


@pytest.mark.parametrize("text", NOT_TOKENS, ids=range(len(NOT_TOKENS)))
def test_what_is_not_a_token(shared: Authenticator, text: str) -> None:
    assert refused(shared, text) in {AuthReason.MALFORMED, AuthReason.BAD_ALGORITHM, AuthReason.BAD_SIGNATURE}


@pytest.mark.parametrize(
    "form",
    ["{}\n", " {}", "{}.", ".{}", "{}=", "{}==", "{}AAAA", "Bearer {}", "{0}{0}", "{0}.{0}", '"{}"'],
)
def test_good_token_with_something_around_it(shared: Authenticator, form: str) -> None:
    good = token()
    verified(shared, good)  # being remembered does not help the others
    assert refused(shared, form.format(good)) in {AuthReason.MALFORMED, AuthReason.BAD_SIGNATURE}


def test_a_signature_has_one_text_only(shared: Authenticator) -> None:
    """Its last character has two bits to spare; another text of it would be another token to the cache."""
    good = token()
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    for bits in (1, 2, 3):
        other = good[:-1] + alphabet[alphabet.index(good[-1]) ^ bits]
        assert urlsafe_b64decode(other.rpartition(".")[2] + "=") == urlsafe_b64decode(good.rpartition(".")[2] + "=")
        assert refused(shared, other) == AuthReason.MALFORMED


def test_whatever_a_library_raises_at_a_signature_is_a_refusal(shared: Authenticator) -> None:
    class Raising(jwt.algorithms.HMACAlgorithm):
        def verify(self, msg: bytes, key: bytes, sig: bytes) -> bool:
            raise OverflowError("what no signature should lead to")

    shared._algorithms["HS256"] = Raising(Raising.SHA256)
    assert refused(shared, token()) == AuthReason.MALFORMED


BAD_PAYLOADS = (
    b"", b"null", b"[]", b"5", b'"sub"', b"\xff", b"{", b"[" * 3000, b'{"sub":"alice","exp":NaN}',
    b'{"sub":"alice","exp":Infinity}', b'{"sub":"alice","exp":1e400}', b'{"sub":"\\ud800","exp":1900000000}',
    b'\xef\xbb\xbf{"sub":"alice","exp":1900000000}',
)  # fmt: skip


@pytest.mark.parametrize("payload", BAD_PAYLOADS, ids=range(len(BAD_PAYLOADS)))
def test_payload_that_is_no_json_object(shared: Authenticator, payload: bytes) -> None:
    assert refused(shared, token(payload)) == AuthReason.MALFORMED


@pytest.mark.parametrize(
    "header", [b"", b"null", b"[]", b'"HS256"', b"\xff", b"{", b"[" * 3000, b'{"alg":NaN}']
)
def test_header_that_is_no_json_object(shared: Authenticator, header: bytes) -> None:
    assert refused(shared, token(header=header)) == AuthReason.MALFORMED


# Claims reach the judge (the rules themselves: test_claims.py)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": ...}, AuthReason.MISSING_EXP),
        ({"exp": True}, AuthReason.BAD_EXP),
        ({"exp": 1e308}, AuthReason.BAD_EXP),
        ({"exp": 10**30}, AuthReason.BAD_EXP),
        ({"exp": "1900000000"}, AuthReason.BAD_EXP),
        ({"exp": NOW - 30}, AuthReason.EXPIRED),
        ({"nbf": NOW + 31}, AuthReason.NOT_YET_VALID),
        ({"sub": ...}, AuthReason.MISSING_SUB),
        ({"sub": 7}, AuthReason.BAD_SUB),
        ({"channels": "telemetry"}, AuthReason.BAD_CHANNELS),
        ({"devices": {"1": True}}, AuthReason.BAD_DEVICES),
        ({"devices": [2**64]}, AuthReason.BAD_DEVICES),
        ({"publish": 1}, AuthReason.BAD_PUBLISH),
        ({"aud": "elsewhere"}, AuthReason.WRONG_AUDIENCE),
        ({"iss": "somebody"}, AuthReason.WRONG_ISSUER),
    ],
)
def test_claims_are_judged(changes: dict[str, Any], reason: AuthReason) -> None:
    auth = authenticator(audience="here", issuer="us")
    assert verified(auth, token(claims(aud="here", iss="us"))).user == "alice"
    assert refused(auth, token(claims(**{"aud": "here", "iss": "us"} | changes))) == reason


def test_signature_comes_before_the_claims(shared: Authenticator) -> None:
    assert refused(shared, token(claims(exp=1), key=b"x" * 32)) == AuthReason.BAD_SIGNATURE


# Anything at all


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.text(st.characters(categories=["Cs", "Cc", "L"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=5,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SEGMENT = st.text("ABCabc019-_=", max_size=12) | st.binary(max_size=12).map(lambda data: b64(data).decode())


def only_auth_errors(auth: Authenticator, value: object) -> None:
    with suppress(AuthError):
        assert isinstance(auth.verify(value), Grant)


@given(ANYTHING | st.lists(SEGMENT, max_size=5).map(".".join))
def test_anything_gives_an_auth_error(value: object) -> None:
    only_auth_errors(authenticator(), value)


@given(
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "zip"]), JSON)
    | JSON
    | st.binary(),
    st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "channels", "devices", "publish"]), JSON)
    | JSON
    | st.binary(),
)
def test_any_signed_token_gives_a_grant_or_an_auth_error(header: object, payload: object) -> None:
    only_auth_errors(authenticator(), token(payload, header=header))


async def test_start_and_stop_do_nothing_without_a_url(shared: Authenticator) -> None:
    await shared.start()
    await shared.stop()
    await shared.stop()
    assert verified(shared, token()).user == "alice"
