"""The settings that keep strangers out: the sections `security` and `tls`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from valtronics_fast import config_checks as checks
from valtronics_fast.setting import MAX_COUNT, Count, Duration, Section, setting

__all__ = ["File", "SecurityConfig", "TlsConfig"]

File = Annotated[str, setting(allowed="a file that can be read", check=checks.check_file)]
List = tuple[str, ...]


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
            check=checks.check_proxies,
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
