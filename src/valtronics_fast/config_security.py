"""The settings that keep strangers out: the sections `auth`, `security` and `tls`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from valtronics_fast import config_checks as checks
from valtronics_fast.setting import MAX_COUNT, Count, Duration, Section, setting

__all__ = ["AuthConfig", "SecurityConfig", "TlsConfig"]

File = Annotated[str, setting(allowed="a file that can be read", check=checks.check_file)]
List = tuple[str, ...]


class AuthConfig(Section, frozen=True, kw_only=True):
    """Who may connect: how tokens are verified, and what they permit by default."""

    secret: Annotated[
        str,
        setting(
            "Secret that tokens of the HS algorithms are signed with. It has no flag, since the users of a "
            "machine see each other's command lines.",
            zero="when no other key is configured, a random one for this run",
            allowed="random text of at least 32 bytes (48 for HS384, 64 for HS512)",
            sensitive="all",
            check=checks.check_secret,
        ),
    ] = ""
    algorithms: Annotated[
        List,
        setting(
            "JWT algorithms that are accepted; a token's own header never chooses.",
            allowed=f"{', '.join(checks.SECRET_BYTES)}, or else {', '.join(checks.PUBLIC_KEY_ALGORITHMS)}",
            check=checks.check_algorithms,
        ),
    ] = ("HS256",)
    public_key_file: Annotated[
        File, setting("PEM file of the public keys that verify the other algorithms.", zero="none")
    ] = ""
    jwks_url: Annotated[
        str,
        setting(
            "JWKS with the public keys, in place of a file.",
            zero="none",
            allowed="an https:// or http:// URL",
            sensitive="url",
            check=checks.check_jwks_url,
        ),
    ] = ""
    audience: Annotated[str, setting("What the claim `aud` of a token must name.", zero="not checked")] = ""
    issuer: Annotated[str, setting("What the claim `iss` of a token must be.", zero="not checked")] = ""
    leeway: Annotated[
        Duration, setting("How far this clock and that of the token's issuer may differ.", zero="not at all")
    ] = 30.0
    default_scope: Annotated[
        Literal["all", "none"],
        setting("Channels and devices that a token permits which has no claims `channels` or `devices`."),
    ] = "all"
    admin_tokens: Annotated[
        bool,
        setting(
            "Whether tokens with the claim `admin` open the admin functions over HTTP (docs/http-api.md). Else the "
            "claim means nothing."
        ),
    ] = False
    timeout: Annotated[
        Duration, setting("Time for a connection to authenticate, then close 4002.", zero="no limit")
    ] = 10.0
    query_token: Annotated[
        bool, setting("Whether a token may stand in the query string (`?token=`); proxies tend to log that.")
    ] = False
    attempts: Annotated[
        Count, setting("Failed authentications of a connection until close 4001.", zero="no limit")
    ] = 3
    grace: Annotated[
        Duration, setting("Time that an expired token may be renewed in, then close 4010.", zero="none")
    ] = 25.0
    renewal_notice: Annotated[
        Duration, setting("How long before the expiry clients are told that asked for it.", zero="never")
    ] = 60.0
    token_cache: Annotated[
        Count, setting("Verified tokens that are remembered.", unit="tokens", zero="none")
    ] = 10_000


class SecurityConfig(Section, frozen=True, kw_only=True):
    """Which web pages may connect, which proxies are believed, and who is banned (docs/security.md)."""

    origins: Annotated[
        List,
        setting(
            "Origins of the web pages that may connect. Clients without the header Origin are no browsers.",
            zero="all, which is safe as long as no cookie is a credential",
            allowed='https://host[:port], https://*.host, "null", "*"',
            check=checks.check_origins,
        ),
    ] = ()
    require_origin: Annotated[
        bool, setting("Whether a handshake without the header Origin is refused, and with it all that is no browser.")
    ] = False
    trusted_proxies: Annotated[
        List,
        setting(
            "Reverse proxies that are believed what they say about the client's address.",
            zero="none",
            allowed="IP addresses and networks",
            check=checks.check_networks,
        ),
    ] = ()
    ban_after: Annotated[
        Count,
        setting(
            "Failures of one client address, less than `ban_for` apart, until it is banned: refused credentials and "
            "violations of the protocol. Trusted proxies never are.",
            unit="failures",
            zero="nobody is banned",
        ),
    ] = 0
    ban_for: Annotated[
        Duration,
        setting(
            "How long an address is banned, and after how long without a failure the earlier ones are forgotten.",
            zero="nobody is banned, and they are not",
        ),
    ] = 600.0
    suspects: Annotated[
        int,
        msgspec.Meta(ge=1, le=MAX_COUNT),
        setting("Client addresses whose failures are remembered, and as many that are banned.", unit="addresses"),
    ] = 10_000


class TlsConfig(Section, frozen=True, kw_only=True):
    """TLS on the WebSocket port. It can't be turned on or off by SIGHUP."""

    certfile: Annotated[File, setting("PEM file of the certificate with its chain.", zero="no TLS")] = ""
    keyfile: Annotated[File, setting("PEM file of the certificate's private key.", zero="no TLS")] = ""
    client_ca: Annotated[
        File, setting("PEM file of the authorities whose client certificates are accepted.", zero="none")
    ] = ""
    client_auth: Annotated[
        Literal["none", "optional", "required"],
        setting("Whether clients show a certificate; one that is shown must be valid. Tokens are needed all the same."),
    ] = "none"
