"""The keys that tokens are verified with: which algorithm takes which, and how each is read.

An algorithm is tied to its type of key here, once: a key is never offered to an algorithm of another family,
so a public key cannot be taken for a shared secret (CVE-2022-29217 and its kin).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from valtronics_fast.config_checks import PUBLIC_KEY_ALGORITHMS, SECRET_BYTES
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valtronics_fast.config import AuthConfig

__all__ = ["KEY_TYPES", "Key", "PublicKey", "as_public_key", "load_keys", "suits"]

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
Key: TypeAlias = bytes | PublicKey

_FAMILIES: Final[Mapping[str, type[Key]]] = {
    "HS": bytes,
    "RS": RSAPublicKey,
    "PS": RSAPublicKey,
    "ES": EllipticCurvePublicKey,
    "Ed": Ed25519PublicKey,
}
KEY_TYPES: Final[Mapping[str, type[Key]]] = {
    name: _FAMILIES[name[:2]] for name in (*SECRET_BYTES, *PUBLIC_KEY_ALGORITHMS)
}
"""Every algorithm that may be configured, with the type of key that it takes; `none` is not among them."""

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
"""Verifying takes time that grows with the square of the size; nobody signs tokens with more."""
MAX_FILE_BYTES: Final = 65_536
MAX_FILE_KEYS: Final = 8
"""Keys of a file have no names, so each token may be tried with all of them."""

_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def suits(key: Key, algorithm: str) -> bool:
    """Say whether the algorithm takes a key of this type; an unknown algorithm takes none."""
    taken = KEY_TYPES.get(algorithm)
    return taken is not None and isinstance(key, taken)


def as_public_key(key: object) -> PublicKey:
    """Return the key when it is one that tokens may be verified with; raise ValueError that says why not."""
    if isinstance(key, RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise ValueError(f"must be an RSA key of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    if isinstance(key, Ed25519PublicKey):
        return key
    raise ValueError("must be an RSA, P-256 or Ed25519 key")


def load_keys(config: AuthConfig) -> dict[str, tuple[Key, ...]]:
    """Read the configured secret or file, and return the keys that each accepted algorithm takes.

    The tuples are empty when the keys come from a JWKS URL. What of the settings goes with what was checked
    when they were loaded (`config_checks`); here it is the keys themselves that are looked at.

    Raises:
        ConfigError: a secret that is too short or is a key of another kind, a file that cannot be read or
            holds something else, a weak key, an algorithm without a key.
    """
    problems: list[str] = []
    keys: list[Key] = []
    if config.secret:
        keys.append(_load_secret(config, problems))
    if config.public_key_file:
        keys += _load_file(config.public_key_file, problems)
    by_algorithm = {name: tuple(key for key in keys if suits(key, name)) for name in config.algorithms}
    unserved = [name for name, found in by_algorithm.items() if not found]
    if unserved and not config.jwks_url and not problems:
        problems.append(f"auth.algorithms must have a key each, but there is none for {', '.join(unserved)}")
    if problems:
        raise ConfigError(problems)
    return by_algorithm


def _load_secret(config: AuthConfig, problems: list[str]) -> bytes:
    """Return the shared secret; it must be text, no public key, and at least as long as the hash."""
    raw = config.secret.encode(errors="replace")
    for name in config.algorithms:
        if suits(raw, name):
            algorithm = jwt.get_algorithm_by_name(name)
            try:
                algorithm.prepare_key(config.secret)
            except (UnicodeEncodeError, jwt.InvalidKeyError):
                problems.append("auth.secret must be text, and not a key or certificate (PEM, DER, SSH, JWK)")
                break
            if algorithm.check_key_length(raw):
                problems.append(f"auth.secret must be as long as the hash of {name} (RFC 7518, section 3.2)")
    return raw


def _load_file(path: str, problems: list[str]) -> list[PublicKey]:
    """Return the public keys of a PEM file."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        problems.append(f"auth.public_key_file must be a file that can be read ({type(error).__name__})")
        return []
    blocks = list(_PEM_BLOCK.finditer(text))
    if len(text) > MAX_FILE_BYTES or not 1 <= len(blocks) <= MAX_FILE_KEYS:
        limits = f"1 to {MAX_FILE_KEYS} public keys in PEM, {MAX_FILE_BYTES} bytes in all"
        problems.append(f"auth.public_key_file must hold {limits}")
        return []
    keys = []
    for number, block in enumerate(blocks, 1):
        try:
            keys.append(_load_pem(block))
        except ValueError as error:
            problems.append(f"auth.public_key_file, key {number}: {error}")
    return keys


def _load_pem(block: re.Match[bytes]) -> PublicKey:
    """Return the public key in a PEM block; raise ValueError, without any of the block's text, for others."""
    if block[1] not in {b"PUBLIC KEY", b"RSA PUBLIC KEY"}:
        raise ValueError("must be a public key (BEGIN PUBLIC KEY), not a private key or a certificate")
    try:
        key = load_pem_public_key(block[0])
    except Exception:  # noqa: BLE001 - the library's text may quote the file
        raise ValueError("cannot be parsed") from None
    return as_public_key(key)
