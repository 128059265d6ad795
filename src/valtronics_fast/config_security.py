"""The settings that keep strangers out: the sections `security` and `tls`."""

from __future__ import annotations

from typing import Annotated, Literal

from valtronics_fast import config_checks as checks
from valtronics_fast.setting import Section, setting

__all__ = ["File", "SecurityConfig", "TlsConfig"]

File = Annotated[str, setting(allowed="a file that can be read", check=checks.check_file)]
List = tuple[str, ...]


class SecurityConfig(Section, frozen=True, kw_only=True):
    """Which web pages may connect, and which proxies are believed."""

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


class TlsConfig(Section, frozen=True, kw_only=True):
    """TLS on the WebSocket port. The files are read again on SIGHUP."""

    certfile: Annotated[File, setting("PEM file of the certificate with its chain.", zero="no TLS")] = ""
    keyfile: Annotated[File, setting("PEM file of the certificate's private key.", zero="no TLS")] = ""
    client_ca: Annotated[
        File, setting("PEM file of the authorities whose client certificates are accepted.", zero="none")
    ] = ""
    client_auth: Annotated[
        Literal["none", "optional", "required"],
        setting("Whether clients show a certificate; one that is shown must be valid. Tokens are needed all the same."),
    ] = "none"
