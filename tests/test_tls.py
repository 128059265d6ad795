from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certificates import tls_config, trusting, write_authority, write_certificate
from harness import Site, running, telemetry
from valtronics_fast.config_security import TlsConfig
from valtronics_fast.errors import ConfigError
from valtronics_fast.tls import ServerTls, load_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OLD, NEW = trustme.CA(), trustme.CA()


def fault(config: TlsConfig) -> str:
    """Return the one fault of the files."""
    with pytest.raises(ConfigError) as caught:
        load_context(config)
    (problem,) = caught.value.problems
    return problem


# What is offered


def test_it_is_told_when_the_certificate_expires(tmp_path: Path) -> None:
    config = tls_config(OLD, tmp_path)
    certificate = x509.load_pem_x509_certificate(Path(config.certfile).read_bytes())
    tls = ServerTls(config, 2.0)
    assert tls.expires_at == certificate.not_valid_after_utc.timestamp()
    tls.take(load_context(config)._replace(expires_at=7.0))
    assert tls.expires_at == 7.0


def test_modern_defaults(tmp_path: Path) -> None:
    context, problem, _ = load_context(tls_config(OLD, tmp_path))
    assert problem == ""
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE
    for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION, ssl.OP_CIPHER_SERVER_PREFERENCE):
        assert option in context.options
    old = [cipher for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    assert old
    assert all(cipher["aead"] and cipher["kea"] == "kx-ecdhe" for cipher in old)


@pytest.mark.parametrize(("client_auth", "mode"), [("optional", ssl.CERT_OPTIONAL), ("required", ssl.CERT_REQUIRED)])
def test_certificates_of_clients_are_asked_for(tmp_path: Path, client_auth: str, mode: ssl.VerifyMode) -> None:
    settings = {"client_ca": write_authority(NEW, tmp_path), "client_auth": client_auth}
    context, _, _ = load_context(tls_config(OLD, tmp_path, **settings))
    assert context.verify_mode == mode
    assert context.cert_store_stats()["x509_ca"] == 1  # theirs, and none of the system's


@asynccontextmanager
async def connected(site: Site, context: ssl.SSLContext) -> AsyncIterator[ssl.SSLObject]:
    _, writer = await asyncio.open_connection("127.0.0.1", site.server.port, ssl=context)
    yield writer.get_extra_info("ssl_object")
    writer.close()


async def test_versions_and_ciphers_of_a_connection(tmp_path: Path) -> None:
    async with running(tls=write_certificate(OLD, tmp_path)) as site:
        client = trusting(OLD)
        client.set_alpn_protocols(["h2", "http/1.1"])
        async with connected(site, client) as one:
            assert (one.version(), one.selected_alpn_protocol(), one.compression()) == ("TLSv1.3", "http/1.1", None)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        async with connected(site, client) as one:
            assert one.version() == "TLSv1.2"
        client.set_ciphers("AES128-GCM-SHA256")  # no forward secrecy
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            async with connected(site, client):
                pass
        assert site.server.stats()["refused"]["tls_failed"] == 1  # type: ignore[index]


# Files that can't be used


def test_faults_are_told_with_the_setting(tmp_path: Path) -> None:
    good = tls_config(OLD, tmp_path)
    other = write_certificate(OLD, tmp_path, prefix="other-")
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    missing = str(tmp_path / "missing.pem")
    for path in (str(rubbish), str(empty), good.keyfile):
        assert fault(TlsConfig(certfile=path, keyfile=good.keyfile)).startswith("tls.certfile must hold a certificate")
    for path in (str(rubbish), str(empty), good.certfile):
        assert fault(TlsConfig(certfile=good.certfile, keyfile=path)).startswith("tls.keyfile must be a private key")
    mismatch = fault(TlsConfig(certfile=good.certfile, keyfile=other["keyfile"]))
    assert mismatch == "tls.keyfile must be the key of the certificate in tls.certfile"
    assert fault(TlsConfig(certfile=missing, keyfile=good.keyfile)).startswith("tls.certfile cannot be read")
    assert fault(TlsConfig(certfile=good.certfile, keyfile=missing)).startswith("tls.keyfile cannot be read")
    for path, problem in ((str(rubbish), "must hold"), (str(empty), "must hold"), (missing, "cannot be read")):
        config = TlsConfig(certfile=good.certfile, keyfile=good.keyfile, client_ca=path, client_auth="required")
        assert fault(config).startswith(f"tls.client_ca {problem}")


def test_the_password_of_a_key_is_not_asked_for_on_the_terminal(tmp_path: Path) -> None:
    config = tls_config(OLD, tmp_path)
    path = Path(config.keyfile)
    encrypted = ["openssl", "pkey", "-in", config.keyfile, "-aes256", "-passout", "pass:x"]
    path.write_bytes(subprocess.run(encrypted, capture_output=True, check=True).stdout)
    with pytest.raises(TypeError):
        load_pem_private_key(path.read_bytes(), None)
    assert fault(config) == "tls.keyfile must not be encrypted"


@pytest.mark.parametrize(("valid", "text"), [((-3, -2), "must not have expired"), ((2, 3), "must be valid already")])
def test_a_certificate_out_of_its_time_is_told_at_the_start(
    tmp_path: Path, valid: tuple[float, float], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = TlsConfig(**write_certificate(OLD, tmp_path, valid=valid))
    assert text in load_context(config)[1]
    ServerTls(config, 2.0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_the_time_for_closing_is_never_0(tmp_path: Path) -> None:
    config = tls_config(OLD, tmp_path)
    assert ServerTls(config, 1.5).shutdown_timeout == 1.5
    assert 0 < ServerTls(config, 0.0).shutdown_timeout < 0.1


# Reading them again


async def says_hello(site: Site, context: ssl.SSLContext) -> bool:
    try:
        async with site.connect(ssl=context) as client:
            await client.authenticate(site.token())
    except ssl.SSLCertVerificationError:
        return False
    return True


async def test_a_new_certificate_is_taken_and_nobody_is_dropped(tmp_path: Path) -> None:
    async with running(tls=write_certificate(OLD, tmp_path)) as site, site.connect(ssl=trusting(OLD)) as client:
        await client.authenticate(site.token())
        await client.subscribe("telemetry")
        write_certificate(NEW, tmp_path)
        assert await says_hello(site, trusting(OLD))  # the files alone change nothing
        assert await site.server.reload(site.server.config) == []
        assert [await says_hello(site, trusting(each)) for each in (OLD, NEW)] == [False, True]
        assert site.server.publish(telemetry(7, t=1.5)) == 1
        assert (await client.receive())["device_id"] == 7
        await client.nothing_more()


@pytest.mark.parametrize("broken", ["certfile", "keyfile", "pair", "expired"])
async def test_a_bad_one_is_told_and_the_old_one_stays(tmp_path: Path, broken: str) -> None:
    async with running(tls=write_certificate(OLD, tmp_path)) as site:
        files = site.server.config.tls
        if broken == "expired":
            write_certificate(NEW, tmp_path, valid=(-3, -2))
        elif broken == "pair":
            Path(files.keyfile).write_bytes(Path(write_certificate(NEW, tmp_path, prefix="x")["keyfile"]).read_bytes())
        else:
            Path(getattr(files, broken)).write_text("no such thing")
        with pytest.raises(ConfigError, match=r"tls\."):
            await site.server.reload(site.server.config)
        assert await says_hello(site, trusting(OLD))
        write_certificate(NEW, tmp_path)
        await site.server.reload(site.server.config)
        assert await says_hello(site, trusting(NEW))
