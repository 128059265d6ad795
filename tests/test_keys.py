"""Which keys are accepted at the start, and which algorithms they serve."""

from __future__ import annotations

import tracemalloc
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tokens import EC_KEY, ED_KEY, OTHER_RSA_KEY, RSA_KEY, SECRET, auth_config, private_pem, public_pem
from valtronics_fast import config_checks
from valtronics_fast.errors import ConfigError
from valtronics_fast.keys import KEY_TYPES, MAX_FILE_BYTES, MAX_FILE_KEYS, load_keys, suits

if TYPE_CHECKING:
    from pathlib import Path

    from valtronics_fast.keys import Key


def problem(**settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_keys(auth_config(**settings))
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def file_problem(path: Path, content: bytes, algorithms: tuple[str, ...] = ("RS256",)) -> str:
    path.write_bytes(content)
    text = problem(public_key_file=str(path), algorithms=algorithms)
    assert text.startswith("auth.public_key_file")
    return text


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return tmp_path / "keys.pem"


def test_each_type_of_key_serves_its_own_algorithms_and_no_other() -> None:
    keys: dict[str, Key] = {
        "secret": SECRET.encode(),
        "rsa": RSA_KEY.public_key(),
        "ec": EC_KEY.public_key(),
        "ed": ED_KEY.public_key(),
    }
    assert {
        name: {algorithm for algorithm in KEY_TYPES if suits(key, algorithm)} for name, key in keys.items()
    } == {
        "secret": {"HS256", "HS384", "HS512"},
        "rsa": {"RS256", "RS384", "RS512", "PS256"},
        "ec": {"ES256"},
        "ed": {"EdDSA"},
    }


@pytest.mark.parametrize("algorithm", ["none", "None", "", "HS257", "ES256K"])
def test_other_algorithms_take_no_key(algorithm: str) -> None:
    assert not suits(SECRET.encode(), algorithm)
    assert not suits(RSA_KEY.public_key(), algorithm)
    assert f"there is none for {algorithm}" in problem(algorithms=("HS256", algorithm))


def test_configuration_knows_the_same_algorithms() -> None:
    assert set(KEY_TYPES) == {*config_checks.SECRET_BYTES, *config_checks.PUBLIC_KEY_ALGORITHMS}


def test_secret_serves_the_configured_algorithms() -> None:
    keys = load_keys(auth_config(algorithms=("HS256", "HS512")))
    assert keys == {"HS256": (SECRET.encode(),), "HS512": (SECRET.encode(),)}


@pytest.mark.parametrize(("algorithm", "least"), config_checks.SECRET_BYTES.items())
def test_secret_is_as_long_as_the_hash(algorithm: str, least: int) -> None:
    assert load_keys(auth_config(secret="s" * least, algorithms=(algorithm,)))
    assert f"as long as the hash of {algorithm}" in problem(secret="s" * (least - 1), algorithms=(algorithm,))


def test_secret_is_counted_in_bytes() -> None:
    assert load_keys(auth_config(secret="é" * 16))
    assert "as long as the hash" in problem(secret="é" * 15)


@pytest.mark.parametrize(
    "secret",
    [
        public_pem(RSA_KEY).decode(),
        private_pem(RSA_KEY).decode(),
        RSA_KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
        '{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}',
        "\udcff" * 32,
    ],
    ids=["public PEM", "private PEM", "SSH", "JWK", "not text"],
)
def test_secret_that_is_something_else(secret: str) -> None:
    text = problem(secret=secret)
    assert text.startswith("auth.secret must be text")
    assert secret[:16] not in text


def test_every_algorithm_needs_a_key(pem: Path) -> None:
    pem.write_bytes(public_pem(RSA_KEY))
    path = str(pem)
    assert "none for HS256" in problem(secret="")
    assert "none for RS256, EdDSA" in problem(algorithms=("RS256", "HS256", "EdDSA"))
    assert "none for HS256" in problem(public_key_file=path, algorithms=("RS256", "HS256"))
    assert "none for ES256, EdDSA" in problem(public_key_file=path, algorithms=("RS256", "ES256", "EdDSA"))


def test_url_brings_no_keys_yet() -> None:
    assert load_keys(auth_config(jwks_url="https://x", algorithms=("RS256", "ES256"))) == {
        "RS256": (),
        "ES256": (),
    }


def test_several_keys_in_one_file(pem: Path) -> None:
    keys = (RSA_KEY, EC_KEY, OTHER_RSA_KEY, ED_KEY)
    pem.write_bytes(b"# a remark\r\n" + b"\n\n".join(map(public_pem, keys)))
    loaded = load_keys(auth_config(public_key_file=str(pem), algorithms=("RS256", "PS256", "ES256", "EdDSA")))
    both = (RSA_KEY.public_key(), OTHER_RSA_KEY.public_key())
    assert loaded == {
        "RS256": both,
        "PS256": both,
        "ES256": (EC_KEY.public_key(),),
        "EdDSA": (ED_KEY.public_key(),),
    }


def test_pkcs1_public_key(pem: Path) -> None:
    pem.write_bytes(RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1))
    assert load_keys(auth_config(public_key_file=str(pem), algorithms=("RS256",))) == {
        "RS256": (RSA_KEY.public_key(),)
    }


def test_weak_rsa_key(pem: Path) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    assert "2048 to 8192 bits" in file_problem(pem, public_pem(weak))


def test_an_rsa_key_that_takes_too_long_to_verify_with(pem: Path) -> None:
    for size, told in ((8192, False), (8193, True)):
        numbers = rsa.RSAPublicNumbers(65537, (1 << size - 1) + 1)
        pem.write_bytes(numbers.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        settings = auth_config(public_key_file=str(pem), algorithms=("RS256",))
        with pytest.raises(ConfigError, match="2048 to 8192 bits") if told else nullcontext():
            load_keys(settings)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed448.Ed448PrivateKey.generate(),
        x25519.X25519PrivateKey.generate(),
        dsa.generate_private_key(2048),
    ],
    ids=["P-384", "Ed448", "X25519", "DSA"],
)
def test_keys_of_other_types(pem: Path, key: Any) -> None:
    assert "key 1: must be an RSA, P-256 or Ed25519 key" in file_problem(pem, public_pem(key))


def test_private_key_does_not_belong_here(pem: Path) -> None:
    text = file_problem(pem, public_pem(RSA_KEY) + private_pem(RSA_KEY))
    assert "key 2: must be a public key" in text


def test_file_that_holds_something_else(pem: Path) -> None:
    good = public_pem(RSA_KEY)
    assert "1 to 8 public keys" in file_problem(pem, b"")
    assert "1 to 8 public keys" in file_problem(pem, b"-----BEGIN PUBLIC KEY-----\nAAAA")
    assert "1 to 8 public keys" in file_problem(pem, good * (MAX_FILE_KEYS + 1))
    assert "1 to 8 public keys" in file_problem(pem, good + b"#" * MAX_FILE_BYTES)
    assert "cannot be parsed" in file_problem(pem, good.replace(b"MII", b"!!!"))


def test_no_more_of_a_file_is_read_than_it_may_have(pem: Path) -> None:
    with pem.open("wb") as file:
        file.truncate(64 * 1024 * 1024)  # without taking room
    tracemalloc.start()
    try:
        assert "1 to 8 public keys" in problem(public_key_file=str(pem), algorithms=("RS256",))
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_every_bad_key_of_a_file_is_told(pem: Path) -> None:
    pem.write_bytes(private_pem(EC_KEY) + public_pem(RSA_KEY) + private_pem(ED_KEY))
    with pytest.raises(ConfigError) as caught:
        load_keys(auth_config(public_key_file=str(pem), algorithms=("RS256",)))
    assert [text.split(":")[0][-5:] for text in caught.value.problems] == ["key 1", "key 3"]


@pytest.mark.parametrize("name", ["missing.pem", ".", "a\0b"])
def test_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    assert "can be read" in problem(public_key_file=f"{tmp_path}/{name}", algorithms=("RS256",))
