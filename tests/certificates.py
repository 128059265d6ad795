"""Certificates for tests, made by an authority of their own."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from valtronics_fast.config_security import TlsConfig

if TYPE_CHECKING:
    from pathlib import Path

    import trustme


def write_certificate(
    authority: trustme.CA, directory: Path, *names: str, prefix: str = "", valid: tuple[float, float] = (-1, 1)
) -> dict[str, str]:
    """Write a certificate with its chain and its key to files, and return them as a section `tls`.

    Args:
        authority: who signs it.
        directory: where to.
        names: host names and addresses; 127.0.0.1 and localhost when there are none.
        prefix: begins the names of the files.
        valid: from when to when, in days from now.
    """
    now = datetime.now(UTC)
    issued = authority.issue_cert(
        *(names or ("127.0.0.1", "localhost")),
        not_before=now + timedelta(days=valid[0]),
        not_after=now + timedelta(days=valid[1]),
    )
    chain, key = directory / f"{prefix}chain.pem", directory / f"{prefix}key.pem"
    for number, pem in enumerate(issued.cert_chain_pems):
        pem.write_to_path(str(chain), append=number > 0)
    issued.private_key_pem.write_to_path(str(key))
    return {"certfile": str(chain), "keyfile": str(key)}


def write_authority(authority: trustme.CA, directory: Path) -> str:
    """Write an authority's own certificate to a file, and return its path."""
    path = directory / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def tls_config(authority: trustme.CA, directory: Path, **settings: Any) -> TlsConfig:
    """Return a section `tls` with a certificate for this host."""
    return TlsConfig(**{**write_certificate(authority, directory), **settings})


def trusting(authority: trustme.CA, known_as: trustme.CA | None = None) -> ssl.SSLContext:
    """Return the settings of a client that trusts an authority, and shows a certificate of another, if one is given."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if known_as is not None:
        known_as.issue_cert("client@example.org").configure_cert(context)
    return context
