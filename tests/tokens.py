"""Keys, tokens and a key server for the tests of authentication."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.auth import Authenticator, AuthReason
from valtronics_fast.config import AuthConfig
from valtronics_fast.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NOW = 1_800_000_000.0
SECRET = "0123456789abcdef" * 4

RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
SIGNING_KEYS: dict[str, Any] = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), SECRET.encode()),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256"), RSA_KEY),
    "ES256": EC_KEY,
    "EdDSA": ED_KEY,
}


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def auth_config(**settings: Any) -> AuthConfig:
    """Return a section `auth` with a shared secret, unless another source of keys is given."""
    if not {"public_key_file", "jwks_url"} & settings.keys():
        settings = {"secret": SECRET} | settings
    return AuthConfig(**settings)


def claims(**changes: Any) -> dict[str, Any]:
    """Return good claims with some of them changed; `...` takes one out."""
    merged = {"sub": "alice", "exp": NOW + 3600} | changes
    return {name: value for name, value in merged.items() if value is not ...}


def token(payload: object = None, *, alg: str = "HS256", key: Any = None, header: object = None) -> str:
    """Return a token that is signed as `alg` says, whatever stands in its header and payload.

    A dict changes the usual header (`...` takes a member out). Bytes are taken as they are, so that a token
    can hold what no library would write.
    """
    if header is None or isinstance(header, dict):
        merged: dict[str, Any] = {"typ": "JWT", "alg": alg} | (header or {})
        header = {name: value for name, value in merged.items() if value is not ...}
    parts = [header, claims() if payload is None else payload]
    signed = b".".join(b64(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in parts)
    signature = jwt.get_algorithm_by_name(alg).sign(signed, SIGNING_KEYS[alg] if key is None else key)
    return (signed + b"." + b64(signature)).decode()


def b64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def jwk(key: Any, **members: Any) -> dict[str, Any]:
    """Return the public key as a JWK with more members."""
    for name in ("RS256", "ES256", "EdDSA"):
        algorithm = jwt.get_algorithm_by_name(name)
        if isinstance(key, type(SIGNING_KEYS[name])):
            return {**algorithm.to_jwk(key.public_key(), as_dict=True), "key_ops": ["verify"], **members}
    raise TypeError


def jwk_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def authenticator(clock: Clock | None = None, **settings: Any) -> Authenticator:
    """Return an authenticator with a shared secret, unless another source of keys is given."""
    return Authenticator(auth_config(**settings), clock=clock or Clock())


def verified(auth: Authenticator, value: object) -> Grant:
    """Return the grant of a token that is good."""
    grant = auth.verify(value)
    assert isinstance(grant, Grant)
    return grant


def refused(auth: Authenticator, value: object) -> str:
    """Return why a token is refused; the client is told only whether it has expired."""
    with pytest.raises(AuthError) as caught:
        auth.verify(value)
    error = caught.value
    assert isinstance(error.reason, AuthReason)
    expected = ErrorCode.TOKEN_EXPIRED if error.reason == AuthReason.EXPIRED else ErrorCode.INVALID_TOKEN
    assert error.code == expected
    assert str(error) in {"the token is not valid", "the token has expired"}
    return error.reason


class KeyServer:
    """A real HTTP server whose answer can be changed; it counts the requests."""

    def __init__(self) -> None:
        self.port = 0
        self.url = ""
        self.requests = 0
        self.paths: list[str] = []
        self.body = b""
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self.paths.append(request.path)
        if self.answer is not None:
            return await self.answer(request)
        return web.Response(body=self.body, content_type="application/json")


@asynccontextmanager
async def key_server(*keys: dict[str, Any], port: int = 0) -> AsyncIterator[KeyServer]:
    server = KeyServer()
    server.body = jwk_set(*keys)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    server.port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{server.port}/jwks.json"
    try:
        yield server
    finally:
        await runner.cleanup()
