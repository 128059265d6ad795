"""Ways to reach NATS, with real ones: TLS, a password, a token; and servers that have no streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
import trustme

from backplanes.nodes import cluster, hear, number
from certificates import write_authority, write_certificate
from nats_server import Nats
from valtronics_fast.backplanes.log import LogError
from valtronics_fast.backplanes.nats_log import NatsLog
from valtronics_fast.config import BackplaneConfig

if TYPE_CHECKING:
    from pathlib import Path

NOBODY: Any = Mock()
"""Gets what comes from a log that nothing comes from."""


async def test_tls_and_a_password(tmp_path: Path) -> None:
    authority = trustme.CA()
    files = write_certificate(authority, tmp_path)
    ca = write_authority(authority, tmp_path)
    settings = (
        f'tls {{ cert_file: "{files["certfile"]}", key_file: "{files["keyfile"]}" }}\n'
        'authorization { user: me, password: "s3cret@" }'
    )
    with Nats(tmp_path, settings=settings) as server:
        place = f"127.0.0.1:{server.port}"
        async with cluster(f"tls://me:s3cret%40@127.0.0.1:1,{place}?ssl_ca_certs={ca}") as (first, second):
            client = await second.subscribed()
            first.publish(1, 7)
            assert [number(message) for message in await hear(client, 1)] == [7]
        for url in (f"tls://me:s3cret%40@{place}", f"tls://me:wr0ng@{place}?ssl_ca_certs={ca}"):
            log = NatsLog(BackplaneConfig(url=url))
            with pytest.raises(LogError) as caught:
                await log.open("1", NOBODY, "", 0)
            assert "wr0ng" not in str(caught.value)
            await log.close()


async def test_a_token(tmp_path: Path) -> None:
    with Nats(tmp_path, settings="authorization { token: s3cret }") as server:
        log = NatsLog(BackplaneConfig(url=f"nats://s3cret@127.0.0.1:{server.port}"))
        await log.open("1", NOBODY, "", 0)
        await log.close()


async def test_without_jetstream_there_is_no_log(tmp_path: Path) -> None:
    with Nats(tmp_path, settings="jetstream: disabled") as server:
        log = NatsLog(BackplaneConfig(url=server.url))
        with pytest.raises(LogError):
            await log.open("1", NOBODY, "", 0)
        await log.close()
