"""A NATS that does not answer, or not with what it was asked for: nobody waits for it without end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import nats
import pytest

from core.harness import until
from harness import TIMEOUT
from nats_server import Nats
from valtronics_fast.backplanes import nats_log, nats_servers
from valtronics_fast.backplanes.addresses import parse_address
from valtronics_fast.backplanes.log import Batch, LogError
from valtronics_fast.backplanes.nats_log import NatsLog
from valtronics_fast.backplanes.nats_servers import OrderedClient
from valtronics_fast.config import BackplaneConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator
    from pathlib import Path

    from nats.aio.client import Client

INFO = b'INFO {"server_id":"x","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576}\r\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nats]:
    with Nats(tmp_path) as running:
        yield running


@pytest.fixture
async def log(server: Nats, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NatsLog]:
    monkeypatch.setattr(nats_log, "TIMEOUT", 1.0)
    log = NatsLog(BackplaneConfig(url=server.url))
    receiver: Any = Mock()
    await log.open("1", receiver, "", 0)
    await log.follow([1])
    yield log
    await log.close()


@pytest.fixture
async def admin(server: Nats) -> AsyncIterator[Client]:
    client = await nats.connect(server.url)
    yield client
    await client.close()


async def fails(work: Awaitable[object], match: str | None = None) -> None:
    """Have something end with an error of the log, in time."""
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(LogError, match=match):
            await work


@pytest.mark.parametrize("what", ["follow", "unfollow", "read", "append"])
async def test_what_is_not_answered(server: Nats, log: NatsLog, what: str) -> None:
    calls = {
        "follow": lambda: log.follow([2]), "unfollow": lambda: log.unfollow([1]), "read": lambda: log.read([1], None),
        "append": lambda: log.append([Batch(1, 1, b"x")]),
    }  # fmt: skip
    server.freeze()
    try:
        await fails(calls[what]())
    finally:
        server.thaw()


async def test_a_mark_that_does_not_come_back(log: NatsLog) -> None:
    log._ordering.add = lambda *_: None  # type: ignore[method-assign]
    await fails(log.sync(), "has not come")
    assert not log._syncs


async def test_a_lane_that_does_not_come(log: NatsLog) -> None:
    await log.append([Batch(1, 1, b"x")])
    log._read_one = lambda *_: None  # type: ignore[method-assign]
    await fails(log.read([1], None), "could not be read")
    assert not log._readings


async def test_what_the_stream_refuses_is_an_error(log: NatsLog, admin: Client) -> None:
    js = admin.jetstream()
    config = (await js.stream_info("valtronics-log")).config
    config.max_msg_size = 100
    await js.update_stream(config)
    await fails(log.append([Batch(1, 1, b"x" * 200)]), "size")


async def test_what_cannot_be_read_is_the_loss_of_the_log(log: NatsLog, admin: Client) -> None:
    receiver: Any = log._receiver
    await admin.publish("valtronics.r.all", b"without a number")
    await until(lambda: receiver.lost.called)


async def test_a_stream_that_cannot_be_made_is_an_error(server: Nats) -> None:
    """As many replicas need as many servers."""
    log = NatsLog(BackplaneConfig(url=f"{server.url}?replicas=3"))
    receiver: Any = Mock()
    await fails(log.open("1", receiver, "", 0))
    await log.close()


async def test_a_server_that_is_not_heard_of_any_more_while_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_servers, "TIMEOUT", 1.0)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        await reader.read()
        writer.close()

    async def closed() -> None:
        """Nobody has to know."""

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        address = parse_address(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await fails(nats_servers.connect(address, lambda *_: True, closed), "does not answer")


async def test_a_connection_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_servers, "TIMEOUT", 0.1)
    client = OrderedClient(lambda *_: True)
    monkeypatch.setattr(client, "close", asyncio.Event().wait)
    async with asyncio.timeout(TIMEOUT):
        await nats_servers.end(client)
