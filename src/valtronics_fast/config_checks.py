"""What values of settings must fulfil beyond their type: each for itself, and in company.

A check of one setting raises ValueError("must be ..."). `find_conflicts` looks at the settings together. None
of them puts a secret, or what could be one, into a text.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from valtronics_fast.backplanes.addresses import parse_address
from valtronics_fast.origins import Origins
from valtronics_fast.producers.mapping import compile_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from valtronics_fast.config import Config

__all__ = [
    "PUBLIC_KEY_ALGORITHMS",
    "SECRET_BYTES",
    "check_admin_key",
    "check_algorithms",
    "check_api_key",
    "check_backplane_url",
    "check_file",
    "check_host",
    "check_jwks_url",
    "check_mqtt_url",
    "check_networks",
    "check_origins",
    "check_prefix",
    "check_secret",
    "check_topics",
    "check_websocket_url",
    "find_conflicts",
]

SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The least size of a shared secret: that of the hash (RFC 7518, section 3.2)."""

PUBLIC_KEY_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "EdDSA")

_PLACEHOLDERS = (
    "changeme", "changethis", "changeit", "changein", "replaceme", "replacethis", "placeholder", "yoursecret",
    "yourjwt", "yourkey", "mysecret", "supersecret", "verysecret", "topsecret", "secretkey", "insertsecret",
)  # fmt: skip
_WEBSOCKET_URL = re.compile(r"(wss?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?)?(/(?!/)[A-Za-z0-9._~/-]*)")
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_ADMIN_KEY_SIZE = 32
"""The least size of an admin key: 128 bits, as hexadecimal digits."""


def check_host(value: str) -> None:
    """Check an address to listen on: a name or an IP address, without port or brackets."""
    if not _is_address(value) and not _HOST_NAME.fullmatch(value):
        raise ValueError("must be a host name or an IP address (0.0.0.0 or :: for all interfaces)")


def check_secret(value: str) -> None:
    """Refuse a shared secret that can be guessed or is a key of another kind; empty is no secret.

    Its length depends on the algorithms: see `find_conflicts`.
    """
    if "-----BEGIN" in value or value.startswith(("ssh-", "ecdsa-")):
        raise ValueError("must be random text, not a key or certificate; those go into auth.public_key_file")
    letters = re.sub(r"[^a-z0-9]", "", value.lower())
    if value and (any(word in letters for word in _PLACEHOLDERS) or len(set(value)) < 8 or _repeats(value)):
        raise ValueError("must be random, not a placeholder or a pattern (try: openssl rand -base64 48)")


def check_api_key(value: str) -> None:
    """Check that a key can stand in an HTTP header as it is; empty is no key."""
    if value and not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("must be printable ASCII without spaces, for it is sent as an HTTP header")


def check_admin_key(value: str) -> None:
    """Check a key that opens the admin functions as an API key, and that it can't be guessed; empty is no key."""
    check_api_key(value)
    check_secret(value)
    if value and len(value) < _ADMIN_KEY_SIZE:
        raise ValueError(f"must be at least {_ADMIN_KEY_SIZE} characters long (try: openssl rand -hex 32)")


def check_algorithms(value: tuple[str, ...]) -> None:
    """Check a list of JWT algorithms; `none` is not one of them."""
    known = (*SECRET_BYTES, *PUBLIC_KEY_ALGORITHMS)
    if not value or not set(value) <= set(known):
        wrong = ", ".join(repr(name) for name in value if name not in known) or "an empty list"
        raise ValueError(f"must be one or more of {', '.join(known)}, not {wrong}")


def check_jwks_url(value: str) -> None:
    """Check the URL of a JWKS; empty is none."""
    url = _split_url(value)
    if value and (url is None or url.scheme not in {"http", "https"} or not url.hostname):
        raise ValueError("must be an https:// or http:// URL")


def check_mqtt_url(value: str) -> None:
    """Check the URL of an MQTT broker; empty is none."""
    url = _split_url(value)
    if not value:
        return
    if url is None or url.scheme not in {"mqtt", "mqtts"} or not url.hostname or url.port == 0:
        raise ValueError("must be mqtt://[user:password@]host[:port] or mqtts://... for TLS")
    if url.path not in {"", "/"} or url.query or url.fragment:
        raise ValueError("must be an address alone; the topics go into mqtt.topics")


def check_backplane_url(value: str) -> None:
    """Check the backplane's URL."""
    parse_address(value)


def check_prefix(value: str) -> None:
    """Check what names on the backplane begin with: nothing in it may mean something there."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", value):
        raise ValueError("must be 1 to 32 letters, digits, - or _")


def check_websocket_url(value: str) -> None:
    """Check where browsers find the WebSocket port; empty is where it is. It goes into a header, as it is."""
    if value and not _WEBSOCKET_URL.fullmatch(value):
        raise ValueError("must be wss://host[:port]/path, ws://..., or a /path of the page's own host")


def check_topics(value: tuple[str, ...]) -> None:
    """Check the rules that map MQTT topics."""
    try:
        compile_topics(value)
    except ValueError as error:
        raise ValueError(f"must be rules such as a/{{device}}/b => telemetry: {error}") from None


def check_origins(value: tuple[str, ...]) -> None:
    """Check the origins (RFC 6454) that web pages may come from."""
    try:
        Origins(value)
    except ValueError as error:
        raise ValueError(f"must be a list of origins: {error}") from None


def check_networks(value: tuple[str, ...]) -> None:
    """Check addresses and networks."""
    for network in value:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            allowed = "such as 10.0.0.5 or 10.0.0.0/8, no bits set beyond the prefix"
            raise ValueError(f"must be IP addresses or networks ({allowed}), not {network!r}") from None


def check_file(value: str) -> None:
    """Check that a file can be read; empty is none."""
    if not value:
        return
    try:
        with Path(value).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ValueError(f"must be a file that can be read ({error.strerror})") from None
    except ValueError:  # a NUL, or text that is no path
        raise ValueError("must be a path") from None


def find_conflicts(config: Config, trusted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Find the settings that do not go together.

    Args:
        config: the settings, each valid by itself or at its default.
        trusted: says whether a setting (`section.name`) had no fault of its own; conflicts with one that had
            are not told, for they may not be there once it is corrected.

    Yields:
        a setting's key, and what is wrong as "must ..." for people.
    """
    for settings, rule in _RULES:
        if all(map(trusted, settings)):
            yield from rule(config)


def _find_key_conflicts(config: Config) -> Iterator[tuple[str, str]]:
    """The algorithms go with each other and with the one source of keys; a secret is as long as a hash."""
    auth = config.auth
    hashes = [name for name in auth.algorithms if name in SECRET_BYTES]
    signatures = [name for name in auth.algorithms if name not in SECRET_BYTES]
    sources = [name for name in ("secret", "public_key_file", "jwks_url") if getattr(auth, name)]
    if hashes and signatures:
        text = f"must be either of one secret or of public keys, not both ({', '.join(auth.algorithms)})"
        yield "auth.algorithms", text
    elif len(sources) > 1:
        named = " and ".join(f"auth.{name}" for name in sources)
        yield f"auth.{sources[-1]}", f"must be the only source of keys, but {named} are set"
    elif signatures and sources in ([], ["secret"]):
        named = ", ".join(signatures)
        yield "auth.algorithms", f"must go with auth.public_key_file or auth.jwks_url when it has {named}"
    elif hashes and sources not in ([], ["secret"]):
        named = ", ".join(hashes)
        yield "auth.algorithms", f"must name what auth.{sources[0]} verifies (RS256, ES256, ...), not {named}"
    elif hashes and auth.secret:
        size, least = len(auth.secret.encode()), max(SECRET_BYTES[name] for name in hashes)
        if size < least:
            named = ", ".join(hashes)
            yield "auth.secret", f"must be at least {least} bytes long for {named}; it is {size}"


def _find_tls_conflicts(config: Config) -> Iterator[tuple[str, str]]:
    """A certificate needs its key, and the other way round; clients' certificates need both, and their authority."""
    tls = config.tls
    for given, missing in (("certfile", "keyfile"), ("keyfile", "certfile"), ("client_ca", "certfile")):
        if getattr(tls, given) and not getattr(tls, missing):
            yield f"tls.{given}", f"must go with tls.{missing}, which is not set"
    if tls.client_auth != "none" and not tls.client_ca:
        yield "tls.client_auth", "must go with tls.client_ca, which is not set"
    elif tls.client_ca and tls.client_auth == "none":
        yield "tls.client_ca", 'must go with tls.client_auth, which is "none"'


def _find_proxy_conflicts(config: Config) -> Iterator[tuple[str, str]]:
    """Somebody has to send the header of the PROXY protocol, and nobody else may."""
    if config.server.proxy_protocol and not config.security.trusted_proxies:
        yield "server.proxy_protocol", "must go with security.trusted_proxies, which is not set: nobody could connect"


def _find_http_key_conflicts(config: Config) -> Iterator[tuple[str, str]]:
    """Who may publish is not to have the key of the administration."""
    if config.http.admin_key and config.http.admin_key == config.http.api_key:
        yield "http.admin_key", "must differ from http.api_key, which does not open the admin functions"


def _find_port_conflicts(config: Config) -> Iterator[tuple[str, str]]:
    """Two servers cannot listen on one port, nor on one socket that was passed on."""
    hosts = {config.server.host, config.http.host}
    if config.server.fd or config.http.fd:
        if config.server.fd == config.http.fd:
            yield "http.fd", f"must differ from server.fd, which is {config.server.fd} as well"
    elif config.server.port == config.http.port != 0 and (len(hosts) == 1 or hosts & {"0.0.0.0", "::"}):  # noqa: S104
        yield "http.port", f"must differ from server.port, which is {config.server.port} as well"


_RULES: tuple[tuple[tuple[str, ...], Callable[[Config], Iterator[tuple[str, str]]]], ...] = (
    (("auth.algorithms", "auth.secret", "auth.public_key_file", "auth.jwks_url"), _find_key_conflicts),
    (("tls.certfile", "tls.keyfile", "tls.client_ca", "tls.client_auth"), _find_tls_conflicts),
    (("http.admin_key", "http.api_key"), _find_http_key_conflicts),
    (("server.proxy_protocol", "security.trusted_proxies"), _find_proxy_conflicts),
    (
        ("server.host", "server.port", "server.fd", "http.host", "http.port", "http.fd"),
        _find_port_conflicts,
    ),
)


def _repeats(text: str) -> bool:
    """Say whether a text is three times or more the same pattern of up to 64 characters."""
    return any(text[period:] == text[:-period] for period in range(1, min(len(text) // 3, 64) + 1))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _split_url(text: str) -> SplitResult | None:
    """Split a URL; None when it is none. urlsplit drops line ends and blanks that others would read."""
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        return None
    try:
        url = urlsplit(text)
        _ = url.port  # parsed when asked for
    except ValueError:
        return None
    return url
