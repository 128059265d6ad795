"""TLS on the WebSocket port: what is offered, whose certificates are accepted, and reading the files again.

TLS 1.2 and later; with 1.2 only cipher suites with forward secrecy and authenticated encryption (RFC 9325, section
4.2). A connection keeps the context that it began with, so that new files never touch one that is there.
"""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509

from valtronics_fast.errors import ConfigError
from valtronics_fast.logging import fields

if TYPE_CHECKING:
    from valtronics_fast.config_security import TlsConfig

__all__ = ["Loaded", "ServerTls", "load_context"]

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; all of 1.3 are good
_VERIFY: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

_AT_ONCE: Final = 0.001
"""Seconds that stand for a `close_timeout` of 0: uvloop takes no 0, and None would be 30 s."""

_log = logging.getLogger(__name__)


class Loaded(NamedTuple):
    """What was made of the files.

    Attributes:
        context: for a connection.
        fault: why clients will refuse the certificate at this time; "": they will not.
        expires_at: when it expires, in Unix seconds.
    """

    context: ssl.SSLContext
    fault: str
    expires_at: float


class ServerTls:
    """The TLS of a server: the context of each new connection, which may be replaced by another one.

    Args:
        config: the section `tls`, with a certificate.
        close_timeout: seconds for the end of a TLS connection.

    Attributes:
        context: for the next connection.
        expires_at: when its certificate expires, in Unix seconds.
        shutdown_timeout: the seconds in the form that uvloop takes.

    Raises:
        ConfigError: the files can't be used.
    """

    def __init__(self, config: TlsConfig, close_timeout: float) -> None:
        self.shutdown_timeout = close_timeout or _AT_ONCE
        loaded = load_context(config)
        self.take(loaded)
        if loaded.fault:
            _log.warning("clients will refuse the certificate", extra=fields(problem=loaded.fault))

    def take(self, loaded: Loaded) -> None:
        """Have the next connection begin with other files."""
        self.context, self.expires_at = loaded.context, loaded.expires_at


def load_context(config: TlsConfig) -> Loaded:
    """Make a context of the files.

    Raises:
        ConfigError: a file can't be read or holds something else, or key and certificate are not one pair.
    """
    certificate = _read_certificate(config.certfile)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(config.certfile, config.keyfile, password=_refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            text = "must be the key of the certificate in tls.certfile"
        else:
            text = f"must be a private key in PEM, and one for tls.certfile ({error.reason or 'unreadable'})"
        raise ConfigError([f"tls.keyfile {text}"]) from None
    except (OSError, ValueError) as error:
        text = "must not be encrypted" if isinstance(error, ValueError) else f"cannot be read ({error.strerror})"
        raise ConfigError([f"tls.keyfile {text}"]) from None
    if config.client_ca:
        _load_authorities(context, config)
    return Loaded(context, _find_time_fault(certificate), certificate.not_valid_after_utc.timestamp())


def _load_authorities(context: ssl.SSLContext, config: TlsConfig) -> None:
    """Ask clients for certificates of these authorities."""
    try:
        context.load_verify_locations(config.client_ca)
    except ssl.SSLError:
        raise ConfigError(["tls.client_ca must hold certificates in PEM"]) from None
    except OSError as error:
        raise ConfigError([f"tls.client_ca cannot be read ({error.strerror})"]) from None
    context.verify_mode = _VERIFY[config.client_auth]


def _read_certificate(path: str) -> x509.Certificate:
    """Return the server's certificate: the first one in the file, behind which its chain follows."""
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())[0]
    except OSError as error:
        raise ConfigError([f"tls.certfile cannot be read ({error.strerror})"]) from None
    except ValueError:
        raise ConfigError(["tls.certfile must hold a certificate in PEM, with its chain behind it"]) from None


def _find_time_fault(certificate: x509.Certificate) -> str:
    """Say what is wrong with the time in which a certificate is valid; "" when nothing is."""
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        return f"tls.certfile must not have expired; it did on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now < certificate.not_valid_before_utc:
        return f"tls.certfile must be valid already; it will be from {certificate.not_valid_before_utc:%Y-%m-%d} on"
    return ""


def _refuse_password() -> str:
    """Keep OpenSSL from asking for the password of a key on the terminal, where nobody may be."""
    raise ValueError("encrypted")
